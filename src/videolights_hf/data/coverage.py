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
    """What is left of the moments of a split where the model sees the first clips of a video alone.

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

    def describe(self, split: str) -> str | None:
        """One sentence that says what is lost and what to do; `None` if nothing is."""
        if not self.cut and not self.outside:
            return None
        lost = (
            f"Split {split!r}: the model sees at most {self.max_video_length} clips of a video (max_video_length), so "
            f"of {self.moments} moments {self.cut} are cut and {self.outside} lie outside and are dropped"
        )
        if self.longest_video > self.max_video_length:
            return (
                f"{lost}. The longest video has {self.longest_video} clips: train with --set "
                f"max_video_length={self.longest_video}, or in windows with --set windows=true."
            )
        return (
            f"{lost}, as features end before the annotated duration does. Check that features and annotations are of "
            "the same videos and clip length."
        )


def warn_of_coverage(coverage: Mapping[str, MomentCoverage]) -> None:
    """Log the moments of each split that a model does not see, if there are any."""
    for split, seen in coverage.items():
        sentence = seen.describe(split)
        if sentence:
            logger.warning(sentence)
