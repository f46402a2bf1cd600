"""Videos that must not be learnt from, because the model will be evaluated on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Video = TypeVar("Video")

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


def leave_out(videos: Mapping[str, Video], evaluation_vids: Iterable[str]) -> tuple[dict[str, Video], LeftOut]:
    """Separate the videos that may be learnt from.

    A cut is left out if any cut of the same source video is evaluated on, overlapping or not: scenes, people and
    captions recur within a video. (No source of QVHighlights is in two of its splits.)

    Args:
        videos: Vid to video.
        evaluation_vids: The vids of validation and test splits.

    Returns:
        The videos that are left, and what is left out.
    """
    named = set(evaluation_vids)
    sources = {source_of(vid) for vid in named}
    same_source = sorted(vid for vid in videos if vid not in named and source_of(vid) in sources)
    left_out = LeftOut(sorted(vid for vid in videos if vid in named), same_source)
    gone = {*left_out.named, *left_out.same_source}
    return {vid: video for vid, video in videos.items() if vid not in gone}, left_out
