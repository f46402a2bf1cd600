"""Overlap of intervals of time, for arrays. `models/spans.py` has the same for tensors that carry gradients."""

from __future__ import annotations

import numpy as np


def temporal_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pairwise intersection over union of intervals.

    Args:
        first: (..., N, 2 or more) start and end in the first two columns; the others are not read.
        second: (..., M, 2 or more), in the same unit.

    Returns:
        (..., N, M) values in [0, 1]; 0 where the union is empty.
    """
    start = np.maximum(first[..., :, None, 0], second[..., None, :, 0])
    end = np.minimum(first[..., :, None, 1], second[..., None, :, 1])
    intersection = np.maximum(end - start, 0.0)
    lengths = (first[..., 1] - first[..., 0])[..., :, None] + (second[..., 1] - second[..., 0])[..., None, :]
    union = lengths - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


__all__ = ["temporal_iou"]
