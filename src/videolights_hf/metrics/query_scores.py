"""What each query contributes to each metric, for comparisons, intervals and breakdowns."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .domain_highlights import HIGHLIGHT_PROTOCOLS, domain_highlight_scores
from .evaluation import check_fields, describe_unmatched, infer_dataset, prediction_column, scored_fields
from .highlight_detection import ClipRatings, rated_highlight_scores
from .moment_retrieval import LENGTH_RANGES, MAP_IOU_THRESHOLDS, average_precision, first_moment_iou
from .submission import PREDICTION_FIELDS, align_predictions

Windows = list[list[float]]

MOMENT_SCORES = ("R1@0.3", "R1@0.5", "R1@0.7", "mAP", "mAP@0.5", "mAP@0.75", "mIoU")
"""What `score_moments` gives."""

_RECALL_THRESHOLDS = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class QueryScores:
    """The scores of Q queries.

    A metric is the mean of its values over the queries that count, weighted by `weights`.

    Attributes:
        qids: Ids of the queries.
        vids: Their videos.
        values: By name of the metric, in percent: `(Q,)`, NaN where a query does not count.
        weights: `(Q,)`: 1, and on data that are scored by domain what makes all domains count the same.
    """

    qids: list[Hashable]
    vids: list[str]
    values: dict[str, np.ndarray]
    weights: np.ndarray

    def means(self) -> dict[str, float]:
        """The metrics, in percent; 0 where no query counts, as in `evaluate_predictions`."""
        return {name: weighted_mean(values, self.weights) for name, values in self.values.items()}


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Mean of the values that are not NaN; 0 if there is none."""
    counted = ~np.isnan(values)
    return float(np.average(values[counted], weights=weights[counted])) if counted.any() else 0.0


def score_queries(
    predictions: Iterable[Mapping[str, Any]], ground_truth: Sequence[Mapping[str, Any]], clip_length: float = 2.0
) -> QueryScores:
    """Score every query by itself.

    Args:
        predictions: Rows of the published submission format, in any order. A query without one scores 0, and a warning
            counts these.
        ground_truth: Annotation rows, each with `vid`.
        clip_length: Seconds per clip rated in `saliency_scores`.

    Returns:
        Scores whose means are those of `evaluate_predictions`, by the same names, and by length range also
        `MR-{range}-R1@{0.5,0.7}` and `MR-{range}-mIoU`. `HL-mAP` of data with domains is in percent, too.

    Raises:
        ValueError: See `evaluate_predictions`.
    """
    dataset = infer_dataset(ground_truth)
    check_fields(ground_truth, dataset)
    matched = align_predictions(predictions, ground_truth)
    aligned = matched.predictions
    if matched.queries_without_prediction:
        unmatched = {"queries_without_prediction": matched.queries_without_prediction}
        warnings.warn(describe_unmatched(unmatched)[0], stacklevel=2)
    qids = [row["qid"] for row in ground_truth]
    values: dict[str, np.ndarray] = {}
    for field in scored_fields(aligned, dataset):
        column, _ = prediction_column(aligned, field, qids)
        if field == PREDICTION_FIELDS[0]:
            values |= _moment_values(column, ground_truth, qids)
            continue
        _check_clip_lengths(aligned, clip_length)
        if dataset in HIGHLIGHT_PROTOCOLS:
            labels = [row["label"] for row in ground_truth]
            values["HL-mAP"] = 100 * domain_highlight_scores(column, labels, dataset, qids)
        else:
            values |= _highlight_values(column, ground_truth, clip_length, qids)
    domains = [row["domain"] for row in ground_truth] if dataset in HIGHLIGHT_PROTOCOLS else []
    weights = np.array([1 / domains.count(domain) for domain in domains]) if domains else np.ones(len(qids))
    return QueryScores(qids, [str(row.get("vid")) for row in ground_truth], values, weights)


def score_moments(
    predicted_windows: Sequence[Sequence], true_windows: Sequence[Windows], qids: Sequence[Hashable] | None = None
) -> dict[str, np.ndarray]:
    """Moment retrieval of every query, in percent.

    Args:
        predicted_windows: Per query, its windows `[start, end, score]` in seconds.
        true_windows: Per query, the windows that count.
        qids: The queries' ids, for error messages.

    Returns:
        By the names in `MOMENT_SCORES`: `(Q,)`, NaN for a query of which no
        window counts.
    """
    precision = average_precision(predicted_windows, true_windows, qids=qids)
    iou = first_moment_iou(predicted_windows, true_windows, qids)
    values = {"mAP": precision.mean(axis=1), "mIoU": iou}
    values |= {f"mAP@{threshold}": precision[:, MAP_IOU_THRESHOLDS.index(threshold)] for threshold in (0.5, 0.75)}
    values |= {f"R1@{threshold}": (iou >= threshold).astype(float) for threshold in _RECALL_THRESHOLDS}
    counted = np.array([len(windows) > 0 for windows in true_windows], dtype=bool)
    return {name: np.where(counted, 100 * value, np.nan) for name, value in values.items()}


def moments_by_length(ground_truth: Sequence[Mapping[str, Any]]) -> dict[str, list[Windows]]:
    """The windows of each query in each of `LENGTH_RANGES`, by name of the range."""
    return {
        name: [
            [window for window in row["relevant_windows"] if low < window[1] - window[0] <= high]
            for row in ground_truth
        ]
        for name, (low, high) in LENGTH_RANGES.items()
    }


def moments_by_position(ground_truth: Sequence[Mapping[str, Any]], num_parts: int = 5) -> dict[str, list[Windows]]:
    """The windows of each query whose center lies in each of equal parts of its video, by name of the part."""
    parts: dict[str, list[Windows]] = {}
    for part in range(num_parts):
        name = f"{100 * part / num_parts:.0f}–{100 * (part + 1) / num_parts:.0f} %"
        parts[name] = [
            [window for window in row["relevant_windows"] if _part_of(window, row["duration"], num_parts) == part]
            for row in ground_truth
        ]
    return parts


def _part_of(window: Sequence[float], duration: float, num_parts: int) -> int:
    # Annotated windows may end a little after the video.
    return min(int(sum(window[:2]) / 2 / duration * num_parts), num_parts - 1)


def _check_clip_lengths(predictions: Sequence[Mapping[str, Any] | None], clip_length: float) -> None:
    for row in predictions:
        own = clip_length if row is None else row.get("clip_length", clip_length)
        if row is not None and own != clip_length:
            raise ValueError(
                f"The prediction of query {row['qid']!r} has saliency for clips of {own:g} s, the truth for clips of "
                f"{clip_length:g} s: compare models with the truth's clip length, or leave pred_saliency_scores out."
            )


def _moment_values(
    predicted: Sequence[Sequence], ground_truth: Sequence[Mapping[str, Any]], qids: Sequence[Hashable]
) -> dict[str, np.ndarray]:
    scores = score_moments(predicted, [row["relevant_windows"] for row in ground_truth], qids)
    values = {f"MR-full-{name}": scores[name] for name in MOMENT_SCORES}
    for length, windows in moments_by_length(ground_truth).items():
        scores = score_moments(predicted, windows, qids)
        values |= {f"MR-{length}-{name}": scores[name] for name in ("mAP", "R1@0.5", "R1@0.7", "mIoU")}
    return values


def _highlight_values(
    saliency: Sequence[Sequence], ground_truth: Sequence[Mapping[str, Any]], clip_length: float, qids: list[Hashable]
) -> dict[str, np.ndarray]:
    durations, clip_ids, scores = (
        [row[name] for row in ground_truth] for name in ("duration", "relevant_clip_ids", "saliency_scores")
    )
    ratings = ClipRatings.of(durations, clip_ids, scores, clip_length, qids)
    precisions, hits = rated_highlight_scores(saliency, ratings, qids)
    values: dict[str, np.ndarray] = {}
    for level, precision in precisions.items():
        values[f"HL-min-{level}-mAP"] = 100 * precision.mean(axis=1)
        values[f"HL-min-{level}-Hit1"] = 100.0 * hits[level]
    return values
