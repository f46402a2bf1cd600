"""Videos that must not be learnt from, because the model will be evaluated on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..models.video_videolights import VideoSource

# As QVHighlights names its cuts: the 11 characters of a YouTube id, start and end in seconds with a decimal point.
_CUT = re.compile(r"([\w-]{11})_\d+\.\d+_\d+\.\d+", re.ASCII)


@dataclass(frozen=True)
class LeftOut:
    """Videos that are left out.

    Attributes:
        named: Vids that an evaluation split names.
        same_source: Vids of another cut of a video that an evaluation split has a cut of, or of the whole of it.
    """

    named: list[str]
    same_source: list[str]

    def __len__(self) -> int:
        return len(self.named) + len(self.same_source)

    def __str__(self) -> str:
        return f"{len(self)} left out: {len(self.named)} in evaluation splits, {len(self.same_source)} of their source"


def source_of(vid: str) -> str:
    """The YouTube id of a cut `{youtube_id}_{start}_{end}` such as `j7rJstUseKg_360.0_510.0`; another vid as it is."""
    cut = _CUT.fullmatch(vid)
    return cut[1] if cut else vid


def candidate_videos(files: Mapping[str, VideoSource], annotated: Mapping[str, VideoSource]) -> dict[str, VideoSource]:
    """Videos that may be captioned, before any is left out.

    Args:
        files: Every video of a folder, by `find_videos`.
        annotated: The annotated ones, which may be parts of longer files.

    Returns:
        All of them; a file of which parts are annotated gives way to these parts.
    """
    in_parts = {video.video for video in annotated.values() if video.end is not None}
    whole = {vid: video for vid, video in files.items() if video.video not in in_parts}
    return dict(sorted({**whole, **annotated}.items()))


def leave_out(
    videos: Mapping[str, VideoSource], evaluation_vids: Iterable[str]
) -> tuple[dict[str, VideoSource], LeftOut]:
    """Separate the videos that may be learnt from.

    A part of a video is left out if any part of it is evaluated on, overlapping or not: scenes, people and captions
    recur within a video. (No source of QVHighlights is in two of its splits, so there this costs nothing.)

    Args:
        videos: Vid to video.
        evaluation_vids: The vids of validation and test splits.

    Returns:
        The videos that are left, and what is left out.
    """
    named = set(evaluation_vids)
    sources = {source_of(vid) for vid in named}
    paths = {videos[vid].video for vid in named if vid in videos}
    same_source = sorted(
        vid
        for vid, video in videos.items()
        if vid not in named and (source_of(vid) in sources or video.video in paths)
    )
    left_out = LeftOut(sorted(vid for vid in videos if vid in named), same_source)
    gone = {*left_out.named, *left_out.same_source}
    return {vid: video for vid, video in videos.items() if vid not in gone}, left_out
