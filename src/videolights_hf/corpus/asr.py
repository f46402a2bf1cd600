"""The ASR corpus of the baseline (Table V): what is said in a video as queries, when it is said as moments."""

from __future__ import annotations

import glob
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.failures import Failure
from ..data.annotations import AnnotationError
from ..video.reader import VideoSource
from .exclusion import part_of
from .journal import write_json_lines
from .subtitles import SUBTITLE_ENDINGS, Cue, merge_rolling, read_subtitles

_TIME_DIGITS = 3


@dataclass(frozen=True)
class SubtitleSummary:
    """What became of subtitles.

    Attributes:
        num_videos: Videos with at least one query.
        num_queries: Lines of the corpus.
        num_empty: Cues without words.
        num_outside: Cues outside their video.
        unmatched: Vids of subtitles for which there is no video, sorted.
    """

    num_videos: int
    num_queries: int
    num_empty: int
    num_outside: int
    unmatched: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.num_queries} queries of {self.num_videos} videos; dropped {self.num_empty} empty cues and "
            f"{self.num_outside} outside their video; subtitles of {len(self.unmatched)} videos that are not wanted"
        )


def find_subtitles(source: str | os.PathLike) -> list[Path]:
    """Subtitle files: one file, all in a folder and its sub-folders, or those of a pattern.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If there are no subtitle files.
        OSError: If the folder cannot be read.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        os.listdir(path)  # what cannot be read is no empty folder
        found = (file for file in path.rglob("*") if file.is_file())
    elif glob.has_magic(os.fspath(source)):
        found = (Path(match) for match in glob.glob(os.fspath(source), recursive=True))
    else:
        raise FileNotFoundError(f"There is no file or folder of subtitles {path}.")
    files = sorted(file for file in found if file.suffix.lower() in SUBTITLE_ENDINGS)
    if not files:
        raise ValueError(f"No subtitles found in {source}: the endings are {', '.join(SUBTITLE_ENDINGS)}.")
    return files


def read_durations(videos: Mapping[str, VideoSource]) -> tuple[dict[str, float], list[Failure]]:
    """Lengths of videos, in seconds, and the videos that cannot be read."""
    durations, failed = {}, []
    for vid, video in videos.items():
        try:
            durations[vid] = video.open().metadata.duration
        except (ValueError, OSError) as error:
            failed.append(Failure(vid, str(video.video), str(error)))
    return durations, failed


def annotated_durations(path: str | os.PathLike) -> dict[str, float]:
    """Lengths of videos, in seconds, as a file of annotations gives them; nothing else of it is looked at.

    Raises:
        AnnotationError: Naming file and line, for a line that is no JSON object with a `vid` and a positive `duration`.
        FileNotFoundError: If there is no such file.
    """
    durations: dict[str, float] = {}
    problems = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line.decode("utf-8-sig"))
                durations[row["vid"]] = float(row["duration"])
                is_length = 0 < durations[row["vid"]] < math.inf
            except (ValueError, KeyError, TypeError):
                is_length = False
            if not is_length:
                problems.append(f"{path}:{number}: no JSON object with a 'vid' and a positive 'duration'")
    if problems:
        raise AnnotationError(problems)
    return durations


def convert_subtitles(
    files: Sequence[str | os.PathLike], durations: Mapping[str, float], output: str | os.PathLike
) -> SubtitleSummary:
    """Write the ASR corpus of subtitle files: `qid`, `query`, `vid`, `duration` and one window a line.

    Windows are cut to the video; cues without words or outside the video are dropped, and rolling captions merged
    (`merge_rolling`). A vid `{id}_{start}_{end}` without subtitles of its own gets those of `{id}`, shifted.

    Args:
        files: Subtitle files (`read_subtitles`).
        durations: Vid to length in seconds, of the videos that are wanted.
        output: JSON Lines file to write; it appears whole or not at all.

    Raises:
        SubtitleError: Naming file and line, see `read_subtitles`.
        ValueError: Two files are of the same video, or there is no query for any of the videos.
        OSError: A file cannot be read or written.
    """
    cues: dict[str, list[Cue]] = {}
    origin: dict[str, str | os.PathLike] = {}
    for file in files:
        for vid, found in read_subtitles(file).items():
            if vid in cues:
                raise ValueError(
                    f"{origin[vid]} and {file} are both subtitles of {vid!r}: leave out one of them (another language?)."
                )
            cues[vid], origin[vid] = found, file
    merged = {vid: merge_rolling(found) for vid, found in cues.items()}

    rows: list[dict[str, Any]] = []
    used: set[str] = set()
    num_outside = 0
    for vid in sorted(durations):
        part = part_of(vid) if vid not in merged else None
        owner, offset = (part.vid, part.start) if part else (vid, 0.0)
        if owner in merged:
            used.add(owner)
            found = subtitle_rows(vid, merged[owner], durations[vid], offset)
            # Of a longer video's subtitles most lie outside by design.
            num_outside += 0 if part else len(merged[owner]) - len(found)
            rows += found
    if not rows:
        raise ValueError(
            f"None of {len(merged)} videos with subtitles has a query in the {len(durations)} videos that are wanted. A "
            "subtitle file is named by its video's vid."
        )
    write_json_lines(output, rows)
    return SubtitleSummary(
        num_videos=len({row["vid"] for row in rows}),
        num_queries=len(rows),
        num_empty=sum(not cue.lines for vid in used for cue in cues[vid]),
        num_outside=num_outside,
        unmatched=tuple(sorted(merged.keys() - used)),
    )


def subtitle_rows(vid: str, cues: Sequence[Cue], duration: float, offset: float = 0.0) -> list[dict[str, Any]]:
    """Annotations of a video's cues.

    Args:
        vid: The video.
        cues: What is said in it.
        duration: Its length in seconds.
        offset: When it starts in the video that the cues are of, in seconds.

    Returns:
        A row for each cue of which something lies in the video; `qid` is `{vid}_{number}`.
    """
    rows: list[dict[str, Any]] = []
    for cue in cues:
        start = round(max(0.0, cue.start - offset), _TIME_DIGITS)
        end = round(min(duration, cue.end - offset), _TIME_DIGITS)
        if start < end:
            rows.append(
                {
                    "qid": f"{vid}_{len(rows)}",
                    "query": cue.text,
                    "duration": duration,
                    "vid": vid,
                    "relevant_windows": [[start, end]],
                }
            )
    return rows
