"""The metrics' definitions one query at a time, in plain loops: what the vectorised code is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median


def temporal_iou(first: Sequence[float], second: Sequence[float]) -> float:
    intersection = max(0.0, min(first[1], second[1]) - max(first[0], second[0]))
    union = (first[1] - first[0]) + (second[1] - second[0]) - intersection
    return intersection / union if union > 0 else 0.0


def detection_ap(predictions: Sequence, moments: Sequence, threshold: float, max_predictions: int = 10) -> float:
    """Area under the interpolated precision-recall curve of one query's windows."""
    if not predictions or not moments:
        return 0.0
    ranked = sorted(predictions, key=lambda window: -window[2])[:max_predictions]
    free = list(range(len(moments)))
    points, hits = [], 0
    for rank, window in enumerate(ranked, start=1):
        # Of moments of equal IoU the last is taken.
        best = max(free, key=lambda index: (temporal_iou(window, moments[index]), index), default=None)
        if best is not None and temporal_iou(window, moments[best]) >= threshold:
            free.remove(best)
            hits += 1
        points.append((hits / len(moments), hits / rank))
    area, previous_recall = 0.0, 0.0
    for index, (recall, _) in enumerate(points):
        if recall != previous_recall:
            area += (recall - previous_recall) * max(precision for _, precision in points[index:])
            previous_recall = recall
    return area


def first_iou(predictions: Sequence, moments: Sequence) -> float:
    if not predictions or not moments:
        return 0.0
    best = max(predictions, key=lambda window: window[2])
    return max(temporal_iou(best, moment) for moment in moments)


def highlight_ap(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Average precision over distinct scores, of one query and annotator."""
    if not scores or not any(labels):
        return 0.0
    if all(labels):
        return 1.0
    fitted = [*scores[: len(labels)], *[0.0] * (len(labels) - len(scores))]
    curve = []
    for threshold in sorted(set(fitted)):
        retrieved = [label for score, label in zip(fitted, labels) if score >= threshold]
        curve.append((sum(retrieved), sum(retrieved) / len(retrieved)))
    curve.append((0, 1.0))
    running, kept = 0.0, []
    for (hits, precision), (next_hits, _) in pairwise(curve):
        running = max(running, precision)
        if hits != next_hits:
            kept.append(running)
    return mean(kept)


def ranked_ap(scores: Sequence[float], labels: Sequence[bool], top_k: int | None) -> float:
    """Trapezoid area of one video and annotator; clips without a score rank last."""
    if not scores:
        return 0.0
    fitted = [*scores[: len(labels)], *[float("-inf")] * (len(labels) - len(scores))]
    ranked = [labels[index] for index in sorted(range(len(labels)), key=lambda index: -fitted[index])][:top_k]
    area, hits, recall, precision = 0.0, 0, 0.0, 1.0
    for rank, label in enumerate(ranked, start=1):
        hits += label
        if not any(ranked):
            return 0.0
        next_recall, next_precision = hits / sum(ranked), hits / rank
        area += (next_recall - recall) * (precision + next_precision) / 2
        recall, precision = next_recall, next_precision
    return area


def above_median(ratings: Sequence[Sequence[float]]) -> list[list[bool]]:
    """Labels by annotator, `(A, L)`, of ratings by clip, `(L, A)`."""
    return [[value > median(column) for value in column] for column in zip(*ratings)]
