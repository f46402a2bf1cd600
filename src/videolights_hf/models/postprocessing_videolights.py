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


def _temporal_iou(window: np.ndarray, others: np.ndarray) -> np.ndarray:
    intersection = np.minimum(window[1], others[:, 1]) - np.maximum(window[0], others[:, 0])
    intersection = np.maximum(intersection, 0)
    union = (window[1] - window[0]) + (others[:, 1] - others[:, 0]) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
