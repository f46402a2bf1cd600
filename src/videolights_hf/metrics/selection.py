"""The score by which the release chooses the best checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from ..common.messages import unknown_name

_QVHIGHLIGHTS_WEIGHTS = {
    "MR-full-R1@0.3": 0.3,
    "MR-full-R1@0.5": 0.5,
    "MR-full-R1@0.7": 0.7,
    "MR-full-mAP@0.5": 0.5,
    "MR-full-mAP@0.75": 0.75,
    "MR-full-mAP": 0.25,
    "MR-long-mAP": 0.25,
    "MR-middle-mAP": 0.25,
    "MR-short-mAP": 0.25,
}
_MOMENT_WEIGHTS = {"MR-full-R1@0.3": 0.3, "MR-full-R1@0.5": 0.5, "MR-full-R1@0.7": 0.7, "MR-full-mIoU": 0.5}
_HIGHLIGHT_WEIGHTS = {"HL-mAP": 1.0}
_SALIENCY_WEIGHTS = {"HL-min-VeryGood-mAP": 1.0}

SELECTION_WEIGHTS: dict[str, dict[str, float]] = {
    "qvhighlights": _QVHIGHLIGHTS_WEIGHTS,
    "moment_retrieval": _MOMENT_WEIGHTS,
    "highlight_detection": _SALIENCY_WEIGHTS,
    "tvsum": _HIGHLIGHT_WEIGHTS,
    "youtube_highlights": _HIGHLIGHT_WEIGHTS,
}
"""Metrics and their weights, for each way to score (a key of `GROUND_TRUTH_FIELDS`).

The release has weights for moment data, TVSum and YouTube Highlights. It does not know rows with graded saliency and
no moments: for these the score is mAP at the strictest level.
"""


def selection_score(brief: Mapping[str, float], dataset: str) -> float:
    """Weighted mean of headline metrics, weights normalized by their sum.

    Args:
        brief: `brief` of `evaluate_predictions`.
        dataset: A key of `SELECTION_WEIGHTS`.

    Returns:
        The score, in the unit of the metrics; higher is better.

    Raises:
        ValueError: The dataset is unknown, or a metric that counts is missing.
    """
    if dataset not in SELECTION_WEIGHTS:
        raise ValueError(unknown_name("dataset", dataset, SELECTION_WEIGHTS))
    weights = SELECTION_WEIGHTS[dataset]
    missing = [name for name in weights if name not in brief]
    if missing:
        raise ValueError(f"The metrics lack {', '.join(missing)}, which the selection score of {dataset} needs.")
    return sum(weight * brief[name] for name, weight in weights.items()) / sum(weights.values())
