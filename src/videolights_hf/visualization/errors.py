"""Pages of errors: the best, the worst, and the most confident wrong queries of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# A first moment with less overlap is wrong, as R1@0.5 counts it.
CORRECT_IOU = 50.0


def choose_queries(
    quality: Sequence[np.ndarray],
    confidence: np.ndarray | None = None,
    is_correct: np.ndarray | None = None,
    count: int = 3,
) -> dict[str, list[int]]:
    """Choose queries to look at.

    Args:
        quality: Scores (Q,) by which queries are ordered; the later ones break ties.
        confidence: (Q,) score of each query's first moment.
        is_correct: (Q,) whether that moment is right.
        count: How many of each kind.

    Returns:
        Row numbers by kind: `best`, `worst` and, if confidence is known, `most confident wrong` (of the others).
    """
    ties = [*quality, *([] if confidence is None else [confidence])]
    # The last key sorts first.
    order = np.lexsort([-key for key in reversed(ties)])
    best, worst = order[:count].tolist(), order[::-1][:count].tolist()
    chosen = {"best": best, "worst": [row for row in worst if row not in best]}
    if confidence is not None and is_correct is not None:
        wrong = [row for row in np.argsort(-confidence, kind="stable").tolist() if not is_correct[row]]
        shown = {*chosen["best"], *chosen["worst"]}
        chosen["most confident wrong"] = [row for row in wrong if row not in shown][:count]
    return chosen


def first_scores(predictions: Sequence[Mapping[str, Any] | None]) -> np.ndarray:
    """Score (Q,) of the best moment of each prediction, a row of the submission format; 0 without moments."""
    windows = [(row or {}).get("pred_relevant_windows") or [] for row in predictions]
    return np.array([max((window[2] for window in found), default=0.0) for found in windows], dtype=np.float64)


__all__ = ["CORRECT_IOU", "choose_queries", "first_scores"]
