"""Moment retrieval: mean average precision, recall of the first moment and its mean IoU.

The definitions are those of the QVHighlights evaluation (Lei et al., 2021), with the lower recall thresholds and the
mean IoU that VideoLights reports beside them. Everything is computed over all queries at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from ..common.intervals import temporal_iou
from .common import as_percent, check_same_length, pad_windows

MAP_IOU_THRESHOLDS: tuple[float, ...] = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU thresholds of the mean average precision: 0.5, 0.55 .. 0.95."""

RECALL_IOU_THRESHOLDS: tuple[float, ...] = tuple(round(0.3 + 0.05 * step, 2) for step in range(14))
"""IoU thresholds of R1: 0.3, 0.35 .. 0.95."""

LENGTH_RANGES: dict[str, tuple[float, float]] = {"short": (0.0, 10.0), "middle": (10.0, 30.0), "long": (30.0, 150.0)}
"""Ranges `(low, high]` of the length of ground-truth windows, in seconds."""

MAX_PREDICTIONS = 10
"""Predicted windows per query that the average precision looks at."""


def average_precision(
    predicted_windows: Sequence[Sequence],
    ground_truth_windows: Sequence[Sequence],
    iou_thresholds: Sequence[float] = MAP_IOU_THRESHOLDS,
    max_predictions: int = MAX_PREDICTIONS,
    qids: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Detection average precision of every query at every IoU threshold.

    Predictions are taken by score, highest first (equal scores in the order given). Each is matched with the
    ground-truth window of highest IoU among those not taken yet, if that IoU reaches the threshold, else it is a
    false positive. The result is the area under the precision-recall curve, precision made monotone from the right.

    Args:
        predicted_windows: Per query, its windows `[start, end, score]` in seconds, shape `(P_q, 3)`; may be empty.
        ground_truth_windows: Per query, its windows `[start, end]` in seconds, shape `(K_q, 2)`.
        iou_thresholds: T thresholds in (0, 1].
        max_predictions: Only so many best predictions of a query count.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Average precision as a fraction, shape `(Q, T)`; 0 for a query without predictions or without ground truth.

    Raises:
        ValueError: If the number of queries differs, a window is malformed, not finite or reversed, or a threshold
            lies outside (0, 1].
    """
    check_same_length(predicted_windows, ground_truth_windows, "predicted and ground-truth windows")
    _check_thresholds(iou_thresholds)
    predictions, prediction_mask = _best_predictions(predicted_windows, max_predictions, qids)
    moments, moment_mask = pad_windows(ground_truth_windows, name="ground-truth windows", columns=2, qids=qids)
    iou = np.where(prediction_mask[:, :, None] & moment_mask[:, None, :], temporal_iou(predictions, moments), -1.0)
    return _average_precision(iou, moment_mask.sum(axis=1), iou_thresholds)


def first_moment_iou(
    predicted_windows: Sequence[Sequence],
    ground_truth_windows: Sequence[Sequence],
    qids: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """IoU of every query's best-scored window with the ground-truth window that it overlaps most.

    R1 at a threshold is the share of queries whose value reaches it; mIoU is the mean of the values.

    Args:
        predicted_windows: Per query, its windows `[start, end, score]` in seconds, shape `(P_q, 3)`; may be empty.
        ground_truth_windows: Per query, its windows `[start, end]` in seconds, shape `(K_q, 2)`.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        IoU, shape `(Q,)`; 0 for a query without predictions or without ground truth.

    Raises:
        ValueError: If the number of queries differs, or a window is malformed, not finite or reversed.
    """
    check_same_length(predicted_windows, ground_truth_windows, "predicted and ground-truth windows")
    predictions, prediction_mask = _best_predictions(predicted_windows, 1, qids)
    moments, moment_mask = pad_windows(ground_truth_windows, name="ground-truth windows", columns=2, qids=qids)
    iou = np.where(prediction_mask[:, :, None] & moment_mask[:, None, :], temporal_iou(predictions, moments), -1.0)
    return _first_moment_iou(predictions, moments, iou)


def moment_retrieval_metrics(
    predicted_windows: Sequence[Sequence],
    ground_truth_windows: Sequence[Sequence],
    length_ranges: Mapping[str, tuple[float, float]] = LENGTH_RANGES,
    max_predictions: int = MAX_PREDICTIONS,
    qids: Sequence[Hashable] | None = None,
) -> dict[str, dict]:
    """All moment retrieval metrics, over all windows and by length of the ground-truth window.

    In a length range only the ground-truth windows of that length count, and queries without one drop out; queries
    without any ground-truth window drop out everywhere. Queries without predictions score 0.

    Args:
        predicted_windows: Per query, its windows `[start, end, score]` in seconds, shape `(P_q, 3)`; may be empty.
        ground_truth_windows: Per query, its windows `[start, end]` in seconds, shape `(K_q, 2)`.
        length_ranges: Name -> `(low, high)`: windows with low < length <= high, in seconds.
        max_predictions: Only so many best predictions of a query count for the average precision.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Percent with two decimals. `brief` holds `MR-full-mAP`, `MR-full-mAP@{0.5,0.75}`, `MR-full-mIoU`,
        `MR-full-R1@{0.3,0.5,0.7}` and `MR-{range}-mAP`. `full` and each range hold `MR-mIoU`, `MR-mAP` (per
        threshold, and `average`) and `MR-R1` (per threshold). A range without queries is 0.0 throughout.

    Raises:
        ValueError: If the number of queries differs, or a window is malformed, not finite or reversed.
    """
    check_same_length(predicted_windows, ground_truth_windows, "predicted and ground-truth windows")
    predictions, prediction_mask = _best_predictions(predicted_windows, max_predictions, qids)
    moments, moment_mask = pad_windows(ground_truth_windows, name="ground-truth windows", columns=2, qids=qids)
    lengths = moments[..., 1] - moments[..., 0]
    iou = temporal_iou(predictions, moments)

    selections = {"full": moment_mask}
    for name, (low, high) in length_ranges.items():
        selections[name] = moment_mask & (lengths > low) & (lengths <= high)

    results: dict[str, dict] = {}
    for name, selected in selections.items():
        has_moment = selected.any(axis=1)
        counted = prediction_mask[has_moment][:, :, None] & selected[has_moment][:, None, :]
        range_iou = np.where(counted, iou[has_moment], -1.0)
        results[name] = _summarise(
            _average_precision(range_iou, selected[has_moment].sum(axis=1), MAP_IOU_THRESHOLDS),
            _first_moment_iou(predictions[has_moment], moments[has_moment], range_iou),
        )

    full = results["full"]
    brief = {f"MR-full-R1@{threshold}": full["MR-R1"][str(threshold)] for threshold in (0.3, 0.5, 0.7)}
    brief["MR-full-mAP"] = full["MR-mAP"]["average"]
    brief |= {f"MR-full-mAP@{threshold}": full["MR-mAP"][str(threshold)] for threshold in (0.5, 0.75)}
    brief["MR-full-mIoU"] = full["MR-mIoU"]
    brief |= {f"MR-{name}-mAP": results[name]["MR-mAP"]["average"] for name in length_ranges}
    return {"brief": brief, **results}


def _summarise(precisions: np.ndarray, first_iou: np.ndarray) -> dict:
    """Means over queries, in percent, of average precisions `(Q, T)` and first-moment IoUs `(Q,)`."""
    if len(first_iou) == 0:
        precisions, first_iou = np.zeros((1, precisions.shape[1])), np.zeros(1)
    means = precisions.mean(axis=0)
    mean_ap = {str(threshold): as_percent(mean) for threshold, mean in zip(MAP_IOU_THRESHOLDS, means)}
    mean_ap["average"] = as_percent(means.mean())
    recall = {str(threshold): as_percent(np.mean(first_iou >= threshold)) for threshold in RECALL_IOU_THRESHOLDS}
    return {"MR-mIoU": as_percent(first_iou.mean()), "MR-mAP": mean_ap, "MR-R1": recall}


def _check_thresholds(iou_thresholds: Sequence[float]) -> None:
    outside = [threshold for threshold in iou_thresholds if not 0 < threshold <= 1]
    if outside:
        raise ValueError(f"IoU thresholds must lie in (0, 1], but got {outside}")


def _best_predictions(
    predicted_windows: Sequence[Sequence], max_predictions: int, qids: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Padded windows `(Q, P, 2)` in falling order of score, at most `max_predictions`, and their mask `(Q, P)`."""
    if max_predictions < 1:
        raise ValueError(f"max_predictions must be at least 1, but is {max_predictions}")
    windows, mask = pad_windows(predicted_windows, name="predicted windows", columns=3, qids=qids)
    order = np.argsort(np.where(mask, -windows[..., 2], np.inf), axis=1, kind="stable")[:, :max_predictions]
    # A query set without a single prediction still needs one (masked) column to reduce over.
    if order.shape[1] == 0:
        return np.zeros((len(windows), 1, 2)), np.zeros((len(windows), 1), dtype=bool)
    return np.take_along_axis(windows[..., :2], order[..., None], axis=1), np.take_along_axis(mask, order, axis=1)


def _first_moment_iou(predictions: np.ndarray, moments: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """IoU `(Q,)` of the first prediction with the moment that it overlaps most, given the IoUs (-1: does not count)."""
    if iou.shape[2] == 0:
        return np.zeros(len(iou))
    best = iou[:, 0].argmax(axis=1)
    moment = np.take_along_axis(moments, best[:, None, None], axis=1)[:, 0]
    start, end = predictions[:, 0, 0], predictions[:, 0, 1]
    intersection = np.maximum(np.minimum(end, moment[:, 1]) - np.maximum(start, moment[:, 0]), 0.0)
    # Where two windows overlap, the span of both is their union. The published R1 divides by it, and in the last bit
    # it differs from the sum of the lengths: enough to fall on the other side of a threshold.
    union = np.maximum(end, moment[:, 1]) - np.minimum(start, moment[:, 0])
    counts = (np.take_along_axis(iou[:, 0], best[:, None], axis=1)[:, 0] >= 0) & (union > 0)
    return np.divide(intersection, union, out=np.zeros_like(union), where=counts)


def _average_precision(iou: np.ndarray, num_moments: np.ndarray, iou_thresholds: Sequence[float]) -> np.ndarray:
    """Average precision `(Q, T)` from IoUs `(Q, P, K)`, predictions by score, and -1 where a pair does not count."""
    num_queries, num_predictions, max_moments = iou.shape
    thresholds = np.asarray(iou_thresholds, dtype=np.float64)
    if max_moments == 0:
        return np.zeros((num_queries, len(thresholds)))
    # Among moments of equal IoU the published script takes the last one; argmax takes the first.
    iou = iou[:, :, ::-1]
    taken = np.zeros((num_queries, len(thresholds), max_moments), dtype=bool)
    is_hit = np.zeros((num_queries, len(thresholds), num_predictions), dtype=bool)
    for rank in range(num_predictions):
        free_iou = np.where(taken, -1.0, iou[:, rank, None, :])
        best = free_iou.argmax(axis=2)[..., None]
        hit = np.take_along_axis(free_iou, best, axis=2)[..., 0] >= thresholds
        is_hit[..., rank] = hit
        query, threshold = np.nonzero(hit)
        taken[query, threshold, best[query, threshold, 0]] = True
    precision = is_hit.cumsum(axis=2) / np.arange(1, num_predictions + 1)
    monotone = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    # Recall rises by 1 / num_moments at each hit and nowhere else, so the area is a sum over hits.
    return (monotone * is_hit).sum(axis=2) / np.maximum(num_moments, 1)[:, None]
