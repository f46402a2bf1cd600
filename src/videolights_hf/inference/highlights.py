"""From a saliency curve to the clips that stand out, for people to look at."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from ..common.time_axis import count_clips
from .moments import MomentResult

# Training asks for this difference between the saliency of good and bad clips: a flatter curve says nothing.
SALIENCY_MARGIN = 0.2


class Highlight(TypedDict):
    """A clip that stands out: start and end in seconds, and its saliency, which has no fixed scale."""

    start: float
    end: float
    saliency: float


def find_highlights(result: MomentResult, top_k: int = 3) -> list[Highlight]:
    """The clips of a video that stand out, best first.

    Where the saliency curve rises into the upper half of its range, the best clip of the rise is a highlight. A curve
    that hardly changes has none.

    Args:
        result: What the pipeline returned for one sentence.
        top_k: At most this many highlights.

    Returns:
        The highlights by saliency, highest first.
    """
    saliency = np.asarray(result["saliency"], dtype=np.float64)
    # A last clip may begin after the end of the video: there is nothing to show.
    saliency = saliency[: count_clips(result["duration"], result["clip_length"])]
    if len(saliency) == 0 or np.ptp(saliency) < SALIENCY_MARGIN:
        return []
    upper = np.flatnonzero(saliency >= saliency.min() + np.ptp(saliency) / 2)
    rises = np.split(upper, np.flatnonzero(np.diff(upper) > 1) + 1)
    best = np.array([rise[saliency[rise].argmax()] for rise in rises])
    ranked = best[np.argsort(-saliency[best], kind="stable")][:top_k].tolist()
    length, duration = result["clip_length"], result["duration"]
    return [
        {"start": clip * length, "end": min((clip + 1) * length, duration), "saliency": float(saliency[clip])}
        for clip in ranked
    ]


__all__ = ["SALIENCY_MARGIN", "Highlight", "find_highlights"]
