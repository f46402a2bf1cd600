"""How much of the annotated moments a model sees."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.time_axis import TimeAxis

logger = logging.getLogger(__name__)

COVERAGE_COLUMNS = ("duration", "label", "relevant_windows", "clip_length", "num_clips")
"""Columns of a table of queries that `MomentCoverage.of` reads."""


@dataclass(frozen=True)
class MomentCoverage:
    """What is left of the moments of a split when the model sees only the first clips of a video.

    Attributes:
        moments: Annotated moments.
        cut: Moments that end or begin outside the clips that the model sees, and are cut to them.
        outside: Moments that lie wholly outside, and are dropped.
        unseen: Row numbers of the queries of which no moment is left.
        longest_video: Clips of the longest video.
        max_video_length: Clips that the model sees.
    """

    moments: int
    cut: int
    outside: int
    unseen: tuple[int, ...]
    longest_video: int
    max_video_length: int

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], max_video_length: int) -> MomentCoverage:
        """Count the moments of a split.

        Args:
            rows: Queries with the columns of `COVERAGE_COLUMNS`.
            max_video_length: Clips that the model sees.
        """
        moments = cut = outside = longest = 0
        unseen = []
        for number, row in enumerate(rows):
            longest = max(longest, row["num_clips"])
            windows = row["relevant_windows"]
            if not windows:
                continue
            moments += len(windows)
            axis = TimeAxis.of_query(row, min(row["num_clips"], max_video_length), row["clip_length"])
            if axis.is_covered:
                continue
            visible = axis.visible(np.asarray(windows, dtype=np.float64))
            outside += len(windows) - len(visible)
            cut += sum(axis.visible(np.asarray([window])).tolist() not in ([], [window]) for window in windows)
            if len(visible) == 0:
                unseen.append(number)
        return cls(moments, cut, outside, tuple(unseen), longest, max_video_length)


def describe_coverage(coverage: Mapping[str, MomentCoverage]) -> str | None:
    """What a model does not see of the moments of some splits, and what to do; `None` if it sees everything."""
    reduced = {split: seen for split, seen in coverage.items() if seen.cut or seen.outside}
    if not reduced:
        return None
    max_length = next(iter(reduced.values())).max_video_length
    longest = max(seen.longest_video for seen in reduced.values())
    lost = "; ".join(
        f"of {seen.moments} moments of split {split!r}, {seen.cut} are cut and {seen.outside} lie outside and are dropped"
        for split, seen in reduced.items()
    )
    sentence = f"The model sees at most {max_length} clips of a video (max_video_length): {lost}."
    if longest > max_length:
        return (
            f"{sentence} The longest video has {longest} clips: train with --set max_video_length={longest}, or in "
            "windows with --set windows=true."
        )
    return (
        f"{sentence} No video is longer, but features end before the annotated duration does: check that features and "
        "annotations are of the same videos and clip length."
    )


def warn_of_coverage(coverage: Mapping[str, MomentCoverage]) -> None:
    """Log in one warning the moments of some splits that a model does not see, if there are any."""
    sentence = describe_coverage(coverage)
    if sentence:
        logger.warning(sentence)
