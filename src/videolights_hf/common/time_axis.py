"""The two time scales of a sample, and the only place that converts between them.

A model sees clips; annotations are in seconds. The released code trains on fractions of the *features'* seconds
(clips times clip length), and reads its outputs as fractions of the *annotated* duration. The published numbers
depend on that, and where the features cover the video to within one clip the two agree closely, so it stays. Where
they do not (a video longer than the model sees, a sound track that ends early, a duration that belongs to another
file), a moment would come out at another place than it was learned at: there everything counts in the features'
seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Quotients such as 2.4 / 0.8 miss the whole number by the last bits.
_ROUNDING_DUST = 1e-6


class QueryWindow(NamedTuple):
    """A window of a long video, seen with one of its queries.

    Attributes:
        row: Number of the query among the annotations.
        first_clip: Where in the video the window begins.
        num_clips: How many clips it holds.
    """

    row: int
    first_clip: int
    num_clips: int


def count_clips(duration: float, clip_length: float) -> int:
    """How many clips a video of `duration` seconds has: the last, shorter one counts, and there is at least one."""
    return max(1, math.ceil(duration / clip_length - _ROUNDING_DUST))


@dataclass(frozen=True)
class TimeAxis:
    """Where the clips of one sample lie in its video.

    Attributes:
        duration: Annotated seconds of the video, from the first clip that the model sees on.
        num_clips: Clips that the model sees.
        clip_length: Seconds per clip.
        first_clip: Index in the video of the first clip that the model sees; not 0 for the later windows of a video.
    """

    duration: float
    num_clips: int
    clip_length: float
    first_clip: int = 0

    @classmethod
    def of_query(cls, row: Mapping[str, Any], num_clips: int, clip_length: float, first_clip: int = 0) -> TimeAxis:
        """The axis of a query whose model input has `num_clips` clips, from `first_clip` of the video on.

        Where a row scores every clip in `label`, these count the video: TVSum gives the number of clips as duration,
        and YouTube Highlights has clips of 100 frames, whatever `clip_length` says.

        Args:
            row: An annotation with `duration` (seconds) or `label`.
            num_clips: Clips that the model sees.
            clip_length: Seconds per clip.
            first_clip: Index in the video of the first of them.
        """
        duration = len(row["label"]) * clip_length if row.get("label") else row["duration"]
        return cls(duration - first_clip * clip_length, num_clips, clip_length, first_clip)

    @property
    def start(self) -> float:
        """Seconds of the video at which the first clip begins."""
        return self.first_clip * self.clip_length

    @property
    def covered(self) -> float:
        """Seconds that the clips cover."""
        return self.num_clips * self.clip_length

    @property
    def is_covered(self) -> bool:
        """Whether the clips cover the whole video to within one clip; a later window of a video does not."""
        return self.first_clip == 0 and abs(self.covered - self.duration) <= self.clip_length * (1 + _ROUNDING_DUST)

    @property
    def seconds(self) -> float:
        """What a model's output of 1 means in seconds: the duration, or what is covered where that differs."""
        return self.duration if self.is_covered else self.covered

    def to_spans(self, moments: np.ndarray) -> np.ndarray:
        """Moments (K, 2), seconds of the video, as training targets (K, 2): center and width, fractions of `covered`.

        They are not clipped: where features are a clip short of the video, a moment that lasts to its end passes 1.
        """
        start, end = ((np.asarray(moments, dtype=np.float64) - self.start) / self.covered).reshape(-1, 2).T
        return np.stack([(start + end) / 2, end - start], axis=-1)

    def to_seconds(self, fractions: np.ndarray) -> np.ndarray:
        """Outputs (..., 2) of start and end fractions as seconds of the video."""
        return self.start + np.asarray(fractions, dtype=np.float64) * self.seconds

    def visible(self, moments: np.ndarray) -> np.ndarray:
        """What of moments (K, 2) the clips show: (K', 2), those wholly outside left out, the others cut to the clips.

        Where the clips cover the whole video, moments are returned as they are.
        """
        moments = np.asarray(moments, dtype=np.float64).reshape(-1, 2)
        if self.is_covered:
            return moments
        end = self.start + self.covered
        inside = (moments[:, 1] > self.start) & (moments[:, 0] < end)
        return np.clip(moments[inside], self.start, end)

    def clips_of(self, moment: Sequence[float]) -> tuple[int, int]:
        """First and last clip (inclusive, counted from `first_clip`) of a moment in seconds of the video.

        Clips last `seconds / num_clips`, which differs a little from `clip_length` where features are short.
        """
        length = self.seconds / self.num_clips
        last = max(0, min(int((moment[1] - self.start) / length), self.num_clips) - 1)
        return min(max(0, int((moment[0] - self.start) / length)), last), last
