"""Post-processing of predicted windows: length clipping, clamping, rounding to clips, and temporal NMS.

A window is a row (start, end, score), in seconds. The rules are those of the released evaluation, from which the
published numbers come.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

# Predictions are written with this many decimals.
DECIMALS = 4


def post_process_windows(
    windows: np.ndarray,
    *,
    clip_length: float | None = None,
    min_timestamp: float | None = None,
    max_timestamp: float | None = None,
    min_length: float | None = None,
    max_length: float | None = None,
    keep: Literal["left", "right", "center"] = "left",
) -> np.ndarray:
    """Clip the windows' lengths, clamp their times, and round these to clips, in this order.

    Args:
        windows: (N, 3) start, end (seconds) and score. Not changed.
        clip_length: Round starts and ends to multiples of this many seconds, halves to the even multiple. `None`:
            no rounding.
        min_timestamp: Earlier times become this one. `None`: no lower bound.
        max_timestamp: Later times become this one. `None`: no upper bound.
        min_length: Shorter windows are stretched to this many seconds. `None`: no lower bound.
        max_length: Longer windows are cut to this many seconds. `None`: no upper bound.
        keep: What of a stretched or cut window stays in place: its start (`left`), end (`right`) or centre.

    Returns:
        (N, 3) float64 with four decimals, in the order given.

    Raises:
        ValueError: The windows have another shape, bounds are reversed, `clip_length` is not positive, or `keep` is
            unknown.
    """
    windows = _as_windows(windows)
    if clip_length is not None and not clip_length > 0:
        raise ValueError(f"`clip_length` must be positive, got {clip_length}.")
    _check_bounds("timestamp", min_timestamp, max_timestamp)
    _check_bounds("length", min_length, max_length)
    if keep not in ("left", "right", "center"):
        raise ValueError(f"`keep` must be 'left', 'right' or 'center', got {keep!r}.")

    times = windows[:, :2]
    if min_length is not None or max_length is not None:
        times = _clip_lengths(times, min_length, max_length, keep)
    if min_timestamp is not None or max_timestamp is not None:
        times = np.clip(times, min_timestamp, max_timestamp)
    if clip_length is not None:
        times = np.round(times / clip_length) * clip_length
    return round_decimals(np.concatenate([times, windows[:, 2:]], axis=1))


def temporal_nms(windows: np.ndarray, nms_threshold: float, max_after_nms: int = 100) -> np.ndarray:
    """Greedy temporal non-maximum suppression.

    The best window stays and removes those whose temporal IoU with it exceeds the threshold; then the best of the
    rest, and so on.

    Args:
        windows: (N, 3) start, end (seconds) and score.
        nms_threshold: Windows with a larger IoU than this are removed, in [0, 1].
        max_after_nms: At most this many windows are kept.

    Returns:
        (K, 3) the windows that stay, by score, highest first; equal scores in the order given.

    Raises:
        ValueError: The windows have another shape, the threshold is outside [0, 1], or `max_after_nms` is below 1.
    """
    windows = _as_windows(windows)
    if not 0 <= nms_threshold <= 1:
        raise ValueError(f"`nms_threshold` is a temporal IoU, from 0 to 1, got {nms_threshold}.")
    if max_after_nms < 1:
        raise ValueError(f"`max_after_nms` must be at least 1, got {max_after_nms}.")
    rest = windows[np.argsort(-windows[:, 2], kind="stable")]
    kept = []
    while len(rest) and len(kept) < max_after_nms:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        rest = rest[_temporal_iou(best, rest) <= nms_threshold]
    return np.stack(kept) if kept else windows


def select_moments(
    windows: np.ndarray,
    duration: float,
    *,
    clip_length: float | None = None,
    clamp: Literal["duration"] | tuple[float, float] | None = "duration",
    min_length: float | None = None,
    max_length: float | None = None,
    keep: Literal["left", "right", "center"] = "left",
    score_threshold: float = 0.0,
    top_k: int | None = None,
    nms_threshold: float | None = None,
    max_after_nms: int = 100,
) -> list[dict[str, float]]:
    """From the windows of one video to its moments.

    In the order of the released evaluation: sort by score, round to four decimals, post-process the windows, drop low
    scores, temporal NMS, keep the best.

    Args:
        windows: (N, 3) start, end (seconds) and score, in any order.
        duration: Length of the video in seconds.
        clip_length: Seconds a clip, to whose multiples times are rounded. `None`: no rounding.
        clamp: Bounds of the times in seconds, or `None`. `"duration"`: the video's own ends, kept after rounding too,
            and a moment that rounding left without length becomes the clip that holds its centre.
        min_length: Stretch shorter moments to this many seconds.
        max_length: Cut longer moments to this many seconds.
        keep: What of a stretched or cut moment stays in place.
        score_threshold: Moments with a lower score are left out.
        top_k: At most this many moments, the best ones.
        nms_threshold: Temporal IoU above which the worse of two moments is removed. `None`: no NMS.
        max_after_nms: At most this many moments are left by the NMS.

    Returns:
        `{"start", "end", "score"}` of each moment, seconds, by score, highest first.

    Raises:
        ValueError: Settings that make no sense, as in `post_process_windows` and `temporal_nms`.
    """
    if top_k is not None and top_k < 1:
        raise ValueError(f"`top_k` must be at least 1, got {top_k}.")
    if isinstance(clamp, str) and clamp != "duration":
        raise ValueError(f"`clamp` must be 'duration', a pair of times in seconds, or None, got {clamp!r}.")
    windows = _as_windows(windows)
    ranked = round_decimals(windows[np.argsort(-windows[:, 2], kind="stable")])
    lower, upper = (0, duration) if clamp == "duration" else clamp or (None, None)
    windows = post_process_windows(
        ranked,
        clip_length=clip_length,
        min_timestamp=lower,
        max_timestamp=upper,
        min_length=min_length,
        max_length=max_length,
        keep=keep,
    )
    if clamp == "duration" and clip_length is not None:
        windows = _keep_inside(windows, ranked, duration, clip_length)
    windows = windows[windows[:, 2] >= score_threshold]
    if nms_threshold is not None:
        windows = temporal_nms(windows, nms_threshold, max_after_nms)
    return [{"start": start, "end": end, "score": score} for start, end, score in windows[:top_k].tolist()]


def round_decimals(values: np.ndarray) -> np.ndarray:
    """Round to four decimals as Python prints them, which numpy's scaling by 10,000 does not always."""
    return np.array([round(value, DECIMALS) for value in values.ravel().tolist()]).reshape(values.shape)


def _as_windows(windows: np.ndarray) -> np.ndarray:
    array = np.asarray(windows, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 3)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"Windows are rows (start, end, score), shape (N, 3), got {array.shape}.")
    return array


def _check_bounds(name: str, lower: float | None, upper: float | None) -> None:
    if lower is not None and upper is not None and lower > upper:
        raise ValueError(f"`min_{name}` ({lower}) is larger than `max_{name}` ({upper}).")


def _clip_lengths(times: np.ndarray, min_length: float | None, max_length: float | None, keep: str) -> np.ndarray:
    start, end = times[:, 0], times[:, 1]
    length = end - start
    wanted = np.clip(length, min_length, max_length)
    # Windows of a permitted length keep their exact times.
    changed = wanted != length
    centre = (start + end) / 2
    new_start = {"left": start, "right": end - wanted, "center": centre - wanted / 2}[keep]
    new_end = {"left": start + wanted, "right": end, "center": centre + wanted / 2}[keep]
    return np.stack([np.where(changed, new_start, start), np.where(changed, new_end, end)], axis=1)


def _keep_inside(windows: np.ndarray, originals: np.ndarray, duration: float, clip_length: float) -> np.ndarray:
    """Give windows that rounding emptied the clip that holds their centre, and end all with the video."""
    centres = originals[:, :2].mean(axis=1).clip(0, duration)
    last_clip = max(np.ceil(duration / clip_length) - 1, 0)
    clip_starts = np.minimum(centres // clip_length, last_clip) * clip_length
    empty = windows[:, 0] >= np.minimum(windows[:, 1], duration)
    starts = np.where(empty, clip_starts, windows[:, 0])
    ends = np.minimum(np.where(empty, clip_starts + clip_length, windows[:, 1]), duration)
    return round_decimals(np.stack([starts, ends, windows[:, 2]], axis=1))


def _temporal_iou(window: np.ndarray, others: np.ndarray) -> np.ndarray:
    intersection = np.minimum(window[1], others[:, 1]) - np.maximum(window[0], others[:, 0])
    intersection = np.maximum(intersection, 0)
    union = (window[1] - window[0]) + (others[:, 1] - others[:, 0]) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
