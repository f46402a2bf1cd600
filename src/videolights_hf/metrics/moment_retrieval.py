"""Moment retrieval: mean average precision, recall of the first moment and its mean IoU.

The definitions are those of the QVHighlights evaluation (Lei et al., 2021), with the lower recall thresholds and the
mean IoU that VideoLights reports beside them. Everything is computed over all queries at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..common.intervals import temporal_iou
from .common import RaggedRows, as_percent, check_same_length, flatten_windows, group_rows

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
        max_predictions: Count at most this many predictions per query, the best ones.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Average precision as a fraction, shape `(Q, T)`; 0 for a query without predictions or without ground truth.

    Raises:
        ValueError: The number of queries differs, a window is malformed, not finite or reversed, or a threshold lies
            outside (0, 1].
    """
    _check_thresholds(iou_thresholds)
    queries = _Queries.of(predicted_windows, ground_truth_windows, max_predictions, qids)
    precision = np.zeros((len(queries), len(iou_thresholds)))
    for rows, group in queries.groups():
        precision[rows] = _average_precision(group.iou_with(group.mask), group.mask.sum(axis=1), iou_thresholds)
    return precision


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
        ValueError: The number of queries differs, or a window is malformed, not finite or reversed.
    """
    queries = _Queries.of(predicted_windows, ground_truth_windows, 1, qids)
    iou = np.zeros(len(queries))
    for rows, group in queries.groups():
        iou[rows] = _first_moment_iou(group.predictions, group.moments, group.iou_with(group.mask))
    return iou


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
        max_predictions: For the average precision, count at most this many predictions per query, the best ones.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Percent with two decimals. `brief` holds `MR-full-mAP`, `MR-full-mAP@{0.5,0.75}`, `MR-full-mIoU`,
        `MR-full-R1@{0.3,0.5,0.7}` and `MR-{range}-mAP`. `full` and each range hold `MR-mIoU`, `MR-mAP` (per
        threshold, and `average`) and `MR-R1` (per threshold). A range without queries is 0.0 throughout.

    Raises:
        ValueError: The number of queries differs, or a window is malformed, not finite or reversed.
    """
    queries = _Queries.of(predicted_windows, ground_truth_windows, max_predictions, qids)
    ranges = {"full": (-np.inf, np.inf), **length_ranges}
    precision = np.zeros((len(ranges), len(queries), len(MAP_IOU_THRESHOLDS)))
    first_iou = np.zeros((len(ranges), len(queries)))
    is_counted = np.zeros((len(ranges), len(queries)), dtype=bool)
    for rows, group in queries.groups():
        lengths = group.moments[..., 1] - group.moments[..., 0]
        for index, (low, high) in enumerate(ranges.values()):
            selected = group.mask & (lengths > low) & (lengths <= high)
            iou = group.iou_with(selected)
            precision[index, rows] = _average_precision(iou, selected.sum(axis=1), MAP_IOU_THRESHOLDS)
            first_iou[index, rows] = _first_moment_iou(group.predictions, group.moments, iou)
            is_counted[index, rows] = selected.any(axis=1)
    results: dict[str, dict] = {
        name: _summarize(precision[index, is_counted[index]], first_iou[index, is_counted[index]])
        for index, name in enumerate(ranges)
    }

    full = results["full"]
    brief = {f"MR-full-R1@{threshold}": full["MR-R1"][str(threshold)] for threshold in (0.3, 0.5, 0.7)}
    brief["MR-full-mAP"] = full["MR-mAP"]["average"]
    brief |= {f"MR-full-mAP@{threshold}": full["MR-mAP"][str(threshold)] for threshold in (0.5, 0.75)}
    brief["MR-full-mIoU"] = full["MR-mIoU"]
    brief |= {f"MR-{name}-mAP": results[name]["MR-mAP"]["average"] for name in length_ranges}
    return {"brief": brief, **results}


def _summarize(precisions: np.ndarray, first_iou: np.ndarray) -> dict:
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


@dataclass(frozen=True)
class _Group:
    """Queries as padded arrays: predictions (Q, P, 2) by falling score, moments (Q, K, 2), their mask and all IoUs."""

    predictions: np.ndarray
    moments: np.ndarray
    mask: np.ndarray
    iou: np.ndarray

    def iou_with(self, selected: np.ndarray) -> np.ndarray:
        """IoUs `(Q, P, K)` with the selected moments `(Q, K)`; -1 for pairs that do not count."""
        return np.where(selected[:, None, :], self.iou, -1.0)


@dataclass(frozen=True)
class _Queries:
    """The best predictions and the moments of every query."""

    predictions: RaggedRows
    moments: RaggedRows
    max_predictions: int

    @classmethod
    def of(
        cls,
        predicted_windows: Sequence[Sequence],
        ground_truth_windows: Sequence[Sequence],
        max_predictions: int,
        qids: Sequence[Hashable] | None,
    ) -> _Queries:
        check_same_length(predicted_windows, ground_truth_windows, "predicted and ground-truth windows")
        if max_predictions < 1:
            raise ValueError(f"max_predictions must be at least 1, but is {max_predictions}")
        windows = flatten_windows(predicted_windows, name="predicted windows", columns=3, qids=qids)
        # Stable: equal scores stay in the order given.
        order = np.lexsort((-windows.flat[:, 2], windows.row_numbers))
        moments = flatten_windows(ground_truth_windows, name="ground-truth windows", columns=2, qids=qids)
        return cls(RaggedRows(windows.flat[order], windows.lengths), moments, max_predictions)

    def __len__(self) -> int:
        return len(self.moments.lengths)

    def groups(self) -> Iterator[tuple[np.ndarray, _Group]]:
        """The queries in groups small enough to be padded, with their row numbers."""
        cells = self.max_predictions * len(MAP_IOU_THRESHOLDS)
        for rows in group_rows(self.moments.lengths, cells):
            limits = np.full(len(rows), self.max_predictions)
            predictions, is_prediction = self.predictions.pad(rows, limits)
            if predictions.shape[1] == 0:
                # Queries without a single prediction still need one column, which does not count, to reduce over.
                predictions, is_prediction = np.zeros((len(rows), 1, 3)), np.zeros((len(rows), 1), dtype=bool)
            moments, mask = self.moments.pad(rows)
            iou = np.where(is_prediction[:, :, None], temporal_iou(predictions, moments), -1.0)
            yield rows, _Group(predictions[..., :2], moments, mask, iou)


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
