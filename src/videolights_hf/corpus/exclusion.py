"""Videos that must not be learned from, because the model will be evaluated on them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..common.json_lines import iterate_json_lines
from ..data.annotations import AnnotationError
from ..video.reader import VideoSource

Video = TypeVar("Video")

# As QVHighlights names its parts: the 11 characters of a YouTube id, start and end in seconds with a decimal point.
_PART = re.compile(r"([\w-]{11})_(\d+\.\d+)_(\d+\.\d+)", re.ASCII)


@dataclass(frozen=True)
class LeftOut:
    """Videos that are left out.

    Attributes:
        named: Vids that an evaluation split names.
        same_source: Vids of other parts of a video that an evaluation split has a part of, or of the whole video.
    """

    named: list[str]
    same_source: list[str]

    def __len__(self) -> int:
        return len(self.named) + len(self.same_source)

    def __str__(self) -> str:
        return f"{len(self)} left out: {len(self.named)} in evaluation splits, {len(self.same_source)} of their source"


@dataclass(frozen=True)
class VideoPart:
    """A part of a longer video.

    Attributes:
        vid: The longer video.
        start: In seconds of the longer video.
        end: In seconds of the longer video.
    """

    vid: str
    start: float
    end: float


def part_of(vid: str) -> VideoPart | None:
    """The part of a video that a vid such as `j7rJstUseKg_360.0_510.0` names; `None` for other vids."""
    found = _PART.fullmatch(vid)
    return VideoPart(found[1], float(found[2]), float(found[3])) if found else None


def source_of(vid: str) -> str:
    """The longer video that a vid is a part of, or the vid itself."""
    part = part_of(vid)
    return part.vid if part else vid


def candidate_videos(files: Mapping[str, VideoSource], annotated: Mapping[str, VideoSource]) -> dict[str, VideoSource]:
    """Videos that may be captioned, before any is left out.

    Args:
        files: Every video of a folder, by `find_videos`.
        annotated: The annotated ones, which may be parts of longer files.

    Returns:
        All of them; where parts of a file are annotated, these parts instead of the file.
    """
    in_parts = {video.video for video in annotated.values() if video.end is not None}
    whole = {vid: video for vid, video in files.items() if video.video not in in_parts}
    return dict(sorted({**whole, **annotated}.items()))


def read_vids(path: str | os.PathLike) -> set[str]:
    """The videos that an annotation file of any dataset names; its other fields are ignored.

    Raises:
        AnnotationError: Naming file and line, for a line that is not a JSON object with a `vid`; for a file without any.
        OSError: The file cannot be read.
    """
    vids: set[str] = set()
    problems = []
    for line in iterate_json_lines(path):
        vid = line.row.get("vid")
        if isinstance(vid, str) and vid.strip():
            vids.add(vid)
        else:
            problems.append(f"{path}:{line.number}: {line.fault or f'expected a video id as `vid`, found {vid!r}'}")
    if problems or not vids:
        raise AnnotationError(problems or [f"{path}: names no videos"])
    return vids


def leave_out(videos: Mapping[str, Video], evaluation_vids: Iterable[str]) -> tuple[dict[str, Video], LeftOut]:
    """Separate the videos that may be learned from.

    A part of a video is left out if any part of it is evaluated on, overlapping or not: scenes, people and captions
    recur within a video. (No source of QVHighlights is in two of its splits, so there this costs nothing.)

    Args:
        videos: Vid to whatever stands for the video; if that is a `VideoSource`, parts of the same file are found
            whatever their names are.
        evaluation_vids: The vids of validation and test splits.

    Returns:
        The videos that are left, and what is left out.
    """
    named = set(evaluation_vids)
    sources = {source_of(vid) for vid in named}
    files = {_file_of(videos[vid]) for vid in named if vid in videos} - {None}
    same_source = sorted(
        vid
        for vid, video in videos.items()
        if vid not in named and (source_of(vid) in sources or _file_of(video) in files)
    )
    left_out = LeftOut(sorted(vid for vid in videos if vid in named), same_source)
    gone = {*left_out.named, *left_out.same_source}
    return {vid: video for vid, video in videos.items() if vid not in gone}, left_out


def _file_of(video: object) -> str | None:
    if isinstance(video, VideoSource) and isinstance(video.video, (str, os.PathLike)):
        return os.fspath(video.video)
    return None
