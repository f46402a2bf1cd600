"""From the model's output to moments in seconds: the forms of a result, and the rules that select moments.

A *window* in these arrays is a row (start, end, score), in seconds. The rules and their order are those of the
released evaluation, from which the published numbers come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np

from ..common.intervals import temporal_iou
from ..video.reader import clip_grid

# Predictions are written with this many decimals.
DECIMALS = 4

# A score is the probability that the moment shows what the sentence says. What a video does not show scores less.
LOW_SCORE = 0.2


class Moment(TypedDict):
    """A piece of a video: start and end in seconds, and a score in [0, 1]."""

    start: float
    end: float
    score: float


class MomentPrediction(TypedDict):
    """What a model says about one video and one sentence: moments, best first, and a saliency score per clip."""

    moments: list[Moment]
    saliency: list[float]


class MomentResult(MomentPrediction):
    """What the pipeline returns for one video and one sentence; `clip_length` and `duration` are in seconds."""

    query: str
    clip_length: float
    duration: float


@dataclass(frozen=True)
class MomentSelection:
    """Which of the predicted moments are kept, and what becomes of their times.

    Attributes:
        score_threshold: Drop moments with a lower score, in [0, 1].
        top_k: Keep at most this many moments; `None` keeps all.
        nms_threshold: Of two moments with a larger temporal IoU keep the better one; `None` turns NMS off.
        max_after_nms: Keep at most this many moments after NMS; `None` keeps all.
        round_to_clips: Round times to multiples of the clip length, halves to the even multiple.
        bounds: Clamp times to these seconds, or to nothing (`None`). `"duration"` stands for the ends of the video,
            which hold after rounding too; a moment that rounding leaves empty becomes the clip at its center.
        min_length: Stretch shorter moments to this many seconds.
        max_length: Cut longer moments to this many seconds.
        keep: What of a stretched or cut moment stays in place.

    Raises:
        ValueError: A value is out of range.
    """

    score_threshold: float = 0.0
    top_k: int | None = None
    nms_threshold: float | None = None
    max_after_nms: int | None = 10
    round_to_clips: bool = True
    bounds: Literal["duration"] | tuple[float, float] | None = "duration"
    min_length: float | None = None
    max_length: float | None = None
    keep: Literal["left", "right", "center"] = "left"

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"`score_threshold` must be between 0 and 1, got {self.score_threshold}.")
        if self.nms_threshold is not None and not 0 <= self.nms_threshold <= 1:
            raise ValueError(f"`nms_threshold` is a temporal IoU, from 0 to 1, got {self.nms_threshold}.")
        for name in ("top_k", "max_after_nms"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, or None for all moments, got {value}.")
        if self.keep not in ("left", "right", "center"):
            raise ValueError(f"`keep` must be 'left', 'right' or 'center', got {self.keep!r}.")
        self._check_times()

    def _check_times(self) -> None:
        if isinstance(self.bounds, str) and self.bounds != "duration":
            raise ValueError(f"Bounds must be 'duration', a pair of times in seconds, or None, got {self.bounds!r}.")
        if self.bounds is not None and not isinstance(self.bounds, str):
            low, high = self.bounds
            if not low <= high:
                raise ValueError(f"Bounds are two times in seconds, low and high, got {self.bounds}.")
        if self.min_length is not None and self.max_length is not None and not self.min_length <= self.max_length:
            raise ValueError(f"`min_length` ({self.min_length}) is larger than `max_length` ({self.max_length}).")


def post_process_outputs(
    outputs: Any,
    durations: float | Sequence[float],
    clip_length: float,
    selection: MomentSelection,
    video_attention_mask: Any = None,
) -> list[MomentPrediction]:
    """Moments in seconds and saliency of a batch; `post_process_moment_retrieval` of the processor calls it.

    Args:
        outputs: The model's output, with `logits` (B, M, 2), class 0 the foreground, `pred_spans` (B, M, 2) as
            (center, width) fractions, and `saliency_scores` (B, L).
        durations: Length of each video in seconds, or one for all.
        clip_length: Nominal length of a clip in seconds.
        selection: Which moments are kept.
        video_attention_mask: (B, L) mask of the inputs. Without it a video has as many clips as its duration implies,
            at most L.

    Returns:
        One prediction for each sample, with one saliency score for each valid clip.

    Raises:
        ValueError: Durations or mask do not fit the outputs, or the outputs are not finite.
    """
    scores = outputs.logits.detach().float().softmax(dim=-1)[..., 0].cpu().numpy()
    spans = outputs.pred_spans.detach().float().cpu().numpy()
    saliency = outputs.saliency_scores.detach().float().cpu().numpy()
    seconds = np.asarray(durations, dtype=np.float64)
    seconds = np.full(len(scores), seconds) if seconds.ndim == 0 else seconds
    if seconds.shape != (len(scores),):
        raise ValueError(f"{len(scores)} samples came with durations of the shape {seconds.shape}.")
    if not (np.isfinite(seconds).all() and (seconds > 0).all()):
        raise ValueError(f"Durations are positive numbers of seconds, got {seconds.tolist()}.")
    lengths = _valid_clips(saliency, seconds, clip_length, video_attention_mask)

    results: list[MomentPrediction] = []
    for index, duration in enumerate(seconds.tolist()):
        curve = saliency[index, : lengths[index]]
        check_finite(scores[index], spans[index], curve)
        windows = windows_in_seconds(spans[index], scores[index], duration)
        moments = select_moments(windows, duration, clip_grid(duration, clip_length)[1], selection)
        results.append({"moments": moments, "saliency": curve.tolist()})
    return results


def windows_in_seconds(spans: np.ndarray, scores: np.ndarray, duration: float) -> np.ndarray:
    """Windows of one video.

    Args:
        spans: (M, 2) center and width as fractions of the video.
        scores: (M,) foreground probabilities.
        duration: Length of the video in seconds.

    Returns:
        (M', 3) start, end (seconds) and score, in the order given. A span of zero width is not a moment.
    """
    has_width = spans[:, 1] > 0
    (center, width), scores = spans[has_width].T, scores[has_width]
    start_end = np.stack([center - 0.5 * width, center + 0.5 * width], axis=1)
    return np.concatenate([start_end * float(duration), scores[:, None]], axis=1)


def select_moments(
    windows: np.ndarray, duration: float, clip_length: float, selection: MomentSelection
) -> list[Moment]:
    """From the windows of one video to its moments.

    In the order of the released evaluation: sort by score, round to four decimals, adjust the times, drop low scores,
    temporal NMS, keep the best.

    Args:
        windows: (N, 3) start, end (seconds) and score, in any order.
        duration: Length of the video in seconds.
        clip_length: Length of a clip in seconds.
        selection: Which moments are kept.

    Returns:
        The moments by score, highest first; equal scores in the given order.

    Raises:
        ValueError: The windows have another shape, or `clip_length` is not positive.
    """
    windows = _as_windows(windows)
    ranked = round_decimals(windows[np.argsort(-windows[:, 2], kind="stable")])
    chosen = adjust_times(ranked, duration, clip_length, selection)
    chosen = chosen[chosen[:, 2] >= selection.score_threshold]
    if selection.bounds == "duration":
        # In a video of less than a ten-thousandth of a second all times are equal.
        chosen = chosen[chosen[:, 1] > chosen[:, 0]]
    if selection.nms_threshold is not None:
        chosen = temporal_nms(chosen, selection.nms_threshold, selection.max_after_nms)
    return [{"start": start, "end": end, "score": score} for start, end, score in chosen[: selection.top_k].tolist()]


def adjust_times(windows: np.ndarray, duration: float, clip_length: float, selection: MomentSelection) -> np.ndarray:
    """Stretch or cut the windows to the allowed lengths, clamp their times, and round these to clips, in this order.

    Args:
        windows: (N, 3) start, end (seconds) and score. Not changed.
        duration: Length of the video in seconds.
        clip_length: Length of a clip in seconds.
        selection: Lengths, bounds and rounding.

    Returns:
        (N, 3) float64 with four decimals, in the order given.

    Raises:
        ValueError: The windows have another shape, or `clip_length` is not positive.
    """
    windows = _as_windows(windows)
    if not clip_length > 0:
        raise ValueError(f"`clip_length` must be positive, got {clip_length}.")
    times = windows[:, :2]
    if selection.min_length is not None or selection.max_length is not None:
        times = _clip_lengths(times, selection)
    if selection.bounds is not None:
        times = np.clip(times, *((0, duration) if selection.bounds == "duration" else selection.bounds))
    if selection.round_to_clips:
        times = np.round(times / clip_length) * clip_length
    adjusted = round_decimals(np.concatenate([times, windows[:, 2:]], axis=1))
    if selection.bounds == "duration" and selection.round_to_clips:
        adjusted = _keep_inside(adjusted, windows, duration, clip_length)
    return adjusted


def temporal_nms(windows: np.ndarray, nms_threshold: float, max_after_nms: int | None = None) -> np.ndarray:
    """Greedy temporal non-maximum suppression.

    The best window stays and removes those whose temporal IoU with it exceeds the threshold; then the best of the
    rest, and so on.

    Args:
        windows: (N, 3) start, end (seconds) and score.
        nms_threshold: Temporal IoU in [0, 1].
        max_after_nms: Keep at most this many windows; `None` keeps all.

    Returns:
        (K, 3) the windows that stay, by score, highest first; equal scores in the order given.

    Raises:
        ValueError: The windows have another shape.
    """
    windows = _as_windows(windows)
    rest = windows[np.argsort(-windows[:, 2], kind="stable")]
    kept: list[np.ndarray] = []
    while len(rest) and (max_after_nms is None or len(kept) < max_after_nms):
        best, rest = rest[:1], rest[1:]
        kept.append(best)
        rest = rest[temporal_iou(best, rest)[0] <= nms_threshold]
    return np.concatenate(kept) if kept else windows


def round_decimals(values: np.ndarray) -> np.ndarray:
    """Round to four decimals as Python prints them, which numpy's scaling by 10,000 does not always."""
    return np.array([round(value, DECIMALS) for value in values.ravel().tolist()]).reshape(values.shape)


def low_score_note(moments: Sequence[Moment]) -> str | None:
    """A note for the user if every score is so low that the video hardly shows what was asked for, else `None`."""
    if not moments or max(moment["score"] for moment in moments) >= LOW_SCORE:
        return None
    return f"All scores are below {LOW_SCORE:.2f}: the video probably does not show this."


def check_finite(*predictions: np.ndarray) -> None:
    """Refuse predictions that are NaN or infinite.

    Raises:
        ValueError: One of them is not finite.
    """
    if not all(np.isfinite(array).all() for array in predictions):
        raise ValueError(
            "The model's outputs hold NaN or infinite numbers: its weights are damaged, or the precision is too low. "
            "Load the checkpoint again, or run in float32."
        )


def _valid_clips(saliency: np.ndarray, durations: np.ndarray, clip_length: float, mask: Any) -> list[int]:
    if mask is None:
        clips = [clip_grid(duration, clip_length)[0] for duration in durations.tolist()]
        return [min(count, saliency.shape[1]) for count in clips]
    mask = np.asarray(mask.cpu() if hasattr(mask, "cpu") else mask)
    if mask.shape != saliency.shape:
        raise ValueError(
            f"`video_attention_mask` has the shape {mask.shape}, the saliency scores have {saliency.shape}."
        )
    return mask.astype(bool).sum(axis=1).tolist()


def _as_windows(windows: Any) -> np.ndarray:
    array = np.asarray(windows, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 3)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"Windows are rows (start, end, score), shape (N, 3), got {array.shape}.")
    return array


def _clip_lengths(times: np.ndarray, selection: MomentSelection) -> np.ndarray:
    start, end = times[:, 0], times[:, 1]
    length = end - start
    wanted = np.clip(length, selection.min_length, selection.max_length)
    # Windows of an allowed length keep their exact times.
    changed = wanted != length
    center = (start + end) / 2
    new_start = {"left": start, "right": end - wanted, "center": center - wanted / 2}[selection.keep]
    new_end = {"left": start + wanted, "right": end, "center": center + wanted / 2}[selection.keep]
    return np.stack([np.where(changed, new_start, start), np.where(changed, new_end, end)], axis=1)


def _keep_inside(windows: np.ndarray, originals: np.ndarray, duration: float, clip_length: float) -> np.ndarray:
    """Give windows that rounding emptied the clip at their center, and end all with the video."""
    centers = originals[:, :2].mean(axis=1).clip(0, duration)
    last_clip = max(np.ceil(duration / clip_length) - 1, 0)
    clip_starts = np.minimum(centers // clip_length, last_clip) * clip_length
    empty = windows[:, 0] >= np.minimum(windows[:, 1], duration)
    starts = np.where(empty, clip_starts, windows[:, 0])
    ends = np.minimum(np.where(empty, clip_starts + clip_length, windows[:, 1]), duration)
    return round_decimals(np.stack([starts, ends, windows[:, 2]], axis=1))


__all__ = [
    "LOW_SCORE",
    "Moment",
    "MomentPrediction",
    "MomentResult",
    "MomentSelection",
    "adjust_times",
    "check_finite",
    "low_score_note",
    "post_process_outputs",
    "round_decimals",
    "select_moments",
    "temporal_nms",
    "windows_in_seconds",
]
