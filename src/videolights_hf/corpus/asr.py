"""The ASR corpus of the baseline (Table V): what is said in a video as queries, when it is said as moments."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.failures import Failure
from ..common.json_lines import iterate_json_lines, write_json_lines
from ..data.annotations import AnnotationError
from ..extraction.sources import find_videos
from ..video.reader import VideoSource
from .exclusion import LeftOut, leave_out, part_of, read_vids, source_of
from .subtitles import SUBTITLE_ENDINGS, Cue, SubtitleError, is_seconds, merge_rolling, read_subtitles

_TIME_DIGITS = 3


@dataclass(frozen=True)
class SubtitleSummary:
    """What became of subtitles.

    Attributes:
        num_videos: Videos with at least one query.
        num_queries: Lines of the corpus.
        num_empty: Cues without words.
        num_outside: Cues outside their video.
        unmatched: Vids of subtitles without a video, sorted.
    """

    num_videos: int
    num_queries: int
    num_empty: int
    num_outside: int
    unmatched: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.num_queries} queries of {self.num_videos} videos; dropped {self.num_empty} empty cues and "
            f"{self.num_outside} outside their video; ignored the subtitles of {len(self.unmatched)} other videos"
        )


def find_subtitles(source: str | os.PathLike) -> list[Path]:
    """Subtitle files: one file, all in a folder and its subfolders, or those of a pattern.

    Raises:
        FileNotFoundError: The file or folder does not exist.
        ValueError: There are no subtitle files.
        OSError: The folder cannot be read.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        os.listdir(path)  # raises if the folder cannot be read
        found = (file for file in path.rglob("*") if file.is_file())
    elif glob.has_magic(os.fspath(source)):
        found = (Path(match) for match in glob.glob(os.fspath(source), recursive=True))
    else:
        raise FileNotFoundError(f"There is no file or folder of subtitles {path}.")
    files = sorted(file for file in found if file.suffix.lower() in SUBTITLE_ENDINGS)
    if not files:
        raise ValueError(f"No subtitles found in {source}: their extensions are {', '.join(SUBTITLE_ENDINGS)}.")
    return files


def read_durations(videos: Mapping[str, VideoSource]) -> tuple[dict[str, float], list[Failure]]:
    """Lengths of videos, in seconds, and the videos that cannot be read."""
    durations, failed = {}, []
    for vid, video in videos.items():
        try:
            durations[vid] = video.open().metadata.duration
        except (ValueError, OSError) as error:
            failed.append(Failure.of(vid, video.video, error))
    return durations, failed


def annotated_durations(path: str | os.PathLike) -> dict[str, float]:
    """Lengths of videos, in seconds, as an annotation file gives them; its other fields are ignored.

    Raises:
        AnnotationError: Naming file and line, for a line that is not a JSON object with a `vid` and a positive
            `duration`; for a file without any.
        OSError: The file cannot be read.
    """
    durations: dict[str, float] = {}
    problems = []
    for line in iterate_json_lines(path):
        vid, duration = line.row.get("vid"), line.row.get("duration")
        if line.fault:
            problems.append(f"{path}:{line.number}: {line.fault}")
        elif not (isinstance(vid, str) and vid.strip()):
            problems.append(f"{path}:{line.number}: expected a video id as `vid`, found {vid!r}")
        elif not is_seconds(duration) or duration <= 0:
            problems.append(f"{path}:{line.number}: `duration` must be a positive number of seconds")
        else:
            durations[vid] = float(duration)
    if problems or not durations:
        raise AnnotationError(problems or [f"{path}: names no videos"])
    return durations


def convert_subtitles(
    files: Sequence[str | os.PathLike],
    durations: Mapping[str, float],
    output: str | os.PathLike,
    others: Iterable[str] = (),
) -> SubtitleSummary:
    """Write the ASR corpus of subtitle files: `qid`, `query`, `vid`, `duration` and one moment per line.

    Moments are cut to the video; cues without words or outside the video are dropped, and rolling captions merged
    (`merge_rolling`). A vid `{id}_{start}_{end}` without subtitles of its own gets those of `{id}`, shifted.

    Args:
        files: Subtitle files (`read_subtitles`).
        durations: Vid to length in seconds, of the videos that are wanted.
        output: JSON Lines file to write; it appears whole or not at all.
        others: Videos that are not wanted. Subtitles named after them are not assigned to other videos.

    Raises:
        SubtitleError: Naming file and line of every fault in every file; two files are of the same video.
        ValueError: None of the videos has a query.
        OSError: A file cannot be read or written.
    """
    cues = _read_all(files, {*durations, *map(source_of, durations), *others})
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
            # Most subtitles of a longer video lie outside by design.
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


def _read_all(files: Sequence[str | os.PathLike], vids: Collection[str]) -> dict[str, list[Cue]]:
    cues: dict[str, list[Cue]] = {}
    origin: dict[str, str | os.PathLike] = {}
    problems: list[str] = []
    for file in files:
        try:
            read = read_subtitles(file, vids)
        except SubtitleError as error:
            problems += error.problems
            continue
        for vid, found in read.items():
            if vid in cues:
                problems.append(
                    f"{origin[vid]} and {file} are both subtitles of {vid!r}: leave out one of them (another language?)"
                )
            cues[vid], origin[vid] = found, file
    if problems:
        raise SubtitleError(problems)
    return cues


@dataclass(frozen=True)
class AsrCorpus:
    """An ASR corpus, and the videos that are not in it.

    Attributes:
        path: The corpus, in the annotation format.
        num_videos: Videos whose length is known.
        left_out: Those of them that the model will be evaluated on.
        failed: Videos that could not be read.
        summary: What became of the subtitles.
    """

    path: Path
    num_videos: int
    left_out: LeftOut
    failed: tuple[Failure, ...]
    summary: SubtitleSummary

    def __str__(self) -> str:
        return f"{self.num_videos} videos; {self.left_out}; {self.path}: {self.summary}"


def generate_asr_corpus(
    subtitles: str | os.PathLike,
    output: str | os.PathLike,
    *,
    videos: str | os.PathLike | None = None,
    durations: Iterable[str | os.PathLike] = (),
    exclude: Iterable[str | os.PathLike] = (),
) -> AsrCorpus:
    """Make the ASR corpus of subtitles, without videos that the model will be evaluated on.

    Args:
        subtitles: Folder, pattern or file (`find_subtitles`).
        output: JSON Lines file to write.
        videos: Folder, pattern or list of the videos, whose lengths are read (`find_videos`).
        durations: Annotation files that give the lengths instead.
        exclude: Annotation files whose videos are left out.

    Raises:
        ValueError: Neither videos nor durations are given, or both; see also `convert_subtitles`.
        OSError: A file cannot be read or written.
    """
    durations = list(durations)
    if (videos is None) == (not durations):
        raise ValueError("Give either the videos or annotation files with their durations.")
    # The result of an earlier run is not among the subtitles, though it may lie there.
    files = [file for file in find_subtitles(subtitles) if os.path.realpath(file) != os.path.realpath(output)]
    excluded = {vid for path in exclude for vid in read_vids(path)}
    failed: list[Failure] = []
    if videos is not None:
        known, failed = read_durations(find_videos(videos))
    else:
        known = {vid: seconds for path in durations for vid, seconds in annotated_durations(path).items()}
    kept, left_out = leave_out(known, excluded)
    summary = convert_subtitles(files, kept, output, others=known)
    return AsrCorpus(Path(output), len(known), left_out, tuple(failed), summary)


def subtitle_rows(vid: str, cues: Sequence[Cue], duration: float, offset: float = 0.0) -> list[dict[str, Any]]:
    """Annotations of a video's cues.

    Args:
        vid: The video.
        cues: What is said in it.
        duration: Its length in seconds.
        offset: Its start in the video that the cues belong to, in seconds.

    Returns:
        A row for each cue that overlaps the video; `qid` is `{vid}_{number}`.
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
