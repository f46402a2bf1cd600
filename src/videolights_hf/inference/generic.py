"""Highlights of a video without a sentence, and its summary, by a rule over a list of generic sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..common.time_axis import count_clips
from .moments import Moment, MomentResult

GENERIC_QUERIES = (
    "the most exciting moment",
    "something surprising happens",
    "people are having fun and laughing",
    "people are celebrating",
    "fast action and movement",
    "a beautiful view",
    "a close look at something interesting",
)
GENERIC_NAME = "highlights"
# This part of a video is highlights.
HIGHLIGHT_SHARE = 0.2
_DECIMALS = 4


def answer_or_highlight(
    ask: Callable[[list[str]], list[MomentResult]], sentences: Sequence[str], top_k: int | None = None
) -> list[MomentResult]:
    """The results for each sentence; without one, the highlights by the generic sentences.

    Args:
        ask: Gives the results of a video for sentences.
        sentences: What to look for.
        top_k: Keep at most this many highlights.
    """
    if sentences:
        return ask(list(sentences))
    return [combine_generic(ask(list(GENERIC_QUERIES)), top_k)]


def combine_generic(results: Sequence[MomentResult], top_k: int | None = None) -> MomentResult:
    """The highlights of a video from its results for `GENERIC_QUERIES`.

    The saliency of each sentence is scaled to its own range, lowest 0 and highest 1, since curves of different
    sentences do not compare; a curve without a range is 0. The mean over the sentences is the saliency. Stretches of
    clips among the fifth with the highest saliency are the moments, and their mean saliency is their score.

    Args:
        results: What the pipeline returned for each sentence.
        top_k: Keep at most this many moments.
    """
    length, duration = results[0]["clip_length"], results[0]["duration"]
    num_clips = min(len(results[0]["saliency"]), count_clips(duration, length))
    curves = np.array([result["saliency"][:num_clips] for result in results], dtype=np.float64)
    ranges = np.ptp(curves, axis=1, keepdims=True)
    scaled = np.where(ranges > 0, (curves - curves.min(axis=1, keepdims=True)) / np.where(ranges > 0, ranges, 1), 0)
    saliency = scaled.mean(axis=0)
    moments = _upper_stretches(saliency, length, duration)
    return {
        "query": GENERIC_NAME,
        "moments": moments[:top_k],
        "saliency": [round(value, _DECIMALS) for value in saliency.tolist()],
        "clip_length": length,
        "duration": duration,
    }


def _upper_stretches(saliency: np.ndarray, clip_length: float, duration: float) -> list[Moment]:
    if len(saliency) == 0 or np.ptp(saliency) == 0:
        return []
    lowest = np.quantile(saliency, 1 - HIGHLIGHT_SHARE, method="lower")
    upper = np.flatnonzero((saliency >= lowest) & (saliency > saliency.min()))
    stretches = np.split(upper, np.flatnonzero(np.diff(upper) > 1) + 1)
    moments: list[Moment] = [
        {
            "start": float(clips[0] * clip_length),
            "end": float(min((clips[-1] + 1) * clip_length, duration)),
            "score": round(float(saliency[clips].mean()), _DECIMALS),
        }
        for clips in stretches
    ]
    return sorted(moments, key=lambda moment: -moment["score"])


def choose_summary(result: MomentResult, length: float) -> list[tuple[float, float]]:
    """The pieces of a video that make a summary, in the order of the video.

    Clips are taken by the mean saliency of themselves and their two neighbors, highest first, so that pieces are
    longer than a clip as a rule, for as long as they fit into `length`; the first one is always taken. Clips that
    touch are one piece. A video that is no longer than `length` is its own summary.

    Args:
        result: What the pipeline returned for one sentence, or `combine_generic`.
        length: Seconds.

    Returns:
        (start, end) of each piece in seconds.

    Raises:
        ValueError: The length is not positive.
    """
    if not length > 0:
        raise ValueError(f"A summary needs a positive number of seconds, got {length}.")
    duration, clip_length = result["duration"], result["clip_length"]
    if duration <= length:
        return [(0.0, duration)]
    saliency = np.asarray(result["saliency"][: count_clips(duration, clip_length)], dtype=np.float64)
    padded = np.pad(saliency, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    chosen: list[int] = []
    total = 0.0
    for clip in np.argsort(-smooth, kind="stable").tolist():
        seconds = min((clip + 1) * clip_length, duration) - clip * clip_length
        if not chosen or total + seconds <= length:
            chosen.append(clip)
            total += seconds
    pieces: list[tuple[float, float]] = []
    for clip in sorted(chosen):
        start, end = clip * clip_length, min((clip + 1) * clip_length, duration)
        if pieces and pieces[-1][1] == start:
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces.append((start, end))
    return pieces


__all__ = ["GENERIC_NAME", "GENERIC_QUERIES", "answer_or_highlight", "choose_summary", "combine_generic"]
