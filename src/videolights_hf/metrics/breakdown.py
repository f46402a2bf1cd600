"""Moment retrieval by the length of the true moment and by where in the video it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.messages import unknown_name
from .bootstrap import DEFAULT_BOOTSTRAP, Bootstrap, interval, resampled_means
from .evaluation import check_fields, prediction_column
from .query_scores import MOMENT_SCORES, moments_by_length, moments_by_position, score_moments, weighted_mean
from .submission import PREDICTION_FIELDS, align_predictions

BREAKDOWN_METRICS = ("mAP", "R1@0.5")
"""Metrics that are broken down by default."""


@dataclass(frozen=True)
class RangeScore:
    """A metric over the queries that have a moment in a range; only these moments count.

    Attributes:
        name: The range.
        num_queries: How many queries count.
        value: In percent.
        low: Lower end of the bootstrap interval over queries.
        high: Upper end.
    """

    name: str
    num_queries: int
    value: float
    low: float
    high: float


def break_down(
    predictions: Iterable[Mapping[str, Any]],
    ground_truth: Sequence[Mapping[str, Any]],
    metrics: Sequence[str] = BREAKDOWN_METRICS,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> dict[str, dict[str, list[RangeScore]]]:
    """Metrics by the length of the true moments, and by the fifth of the video in which their centers lie.

    Args:
        predictions: Rows of the published submission format, in any order.
        ground_truth: Annotation rows with `relevant_windows` and `duration`.
        metrics: Names in `MOMENT_SCORES`.
        bootstrap: For the intervals.

    Returns:
        By kind of range (`length`, `position`) and metric, a score for each range. A range without queries scores 0.

    Raises:
        ValueError: There is no such metric; see also `evaluate_predictions`.
    """
    for metric in metrics:
        if metric not in MOMENT_SCORES:
            raise ValueError(unknown_name("metric", metric, MOMENT_SCORES))
    check_fields(ground_truth, "moment_retrieval")
    qids = [row["qid"] for row in ground_truth]
    aligned = align_predictions(predictions, ground_truth).predictions
    windows, _ = prediction_column(aligned, PREDICTION_FIELDS[0], qids)
    ranges = {"length": moments_by_length(ground_truth), "position": moments_by_position(ground_truth)}
    found: dict[str, dict[str, list[RangeScore]]] = {}
    for kind, parts in ranges.items():
        found[kind] = {metric: [] for metric in metrics}
        for name, true_windows in parts.items():
            scores = score_moments(windows, true_windows, qids)
            for metric in metrics:
                found[kind][metric].append(_summarize(name, scores[metric], qids, bootstrap))
    return found


def _summarize(name: str, values: np.ndarray, qids: Sequence[Any], bootstrap: Bootstrap) -> RangeScore:
    weights, num_queries = np.ones(len(values)), int((~np.isnan(values)).sum())
    if num_queries == 0:
        return RangeScore(name, 0, 0.0, 0.0, 0.0)
    low, high = interval(resampled_means(values[:, None], weights, qids, bootstrap), bootstrap.confidence)
    return RangeScore(name, num_queries, weighted_mean(values, weights), float(low[0]), float(high[0]))
