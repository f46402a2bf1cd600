"""Temporal spans as tensors: conversions and overlaps."""

import torch

# Smallest length by which an overlap is divided: two empty spans at one place overlap by 0, not NaN.
_MIN_LENGTH = 1e-8


def center_width_to_start_end(spans: torch.Tensor) -> torch.Tensor:
    """Convert (center, width) to (start, end), both of shape (..., 2) and in the same unit."""
    center, width = spans.unbind(-1)
    return torch.stack((center - 0.5 * width, center + 0.5 * width), dim=-1)


def start_end_to_center_width(spans: torch.Tensor) -> torch.Tensor:
    """Convert (start, end) to (center, width), both of shape (..., 2) and in the same unit."""
    start, end = spans.unbind(-1)
    return torch.stack((0.5 * (start + end), end - start), dim=-1)


def _overlap(spans_a: torch.Tensor, spans_b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    a, b = spans_a.unsqueeze(-2), spans_b.unsqueeze(-3)
    intersection = (torch.minimum(a[..., 1], b[..., 1]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - intersection
    hull = torch.maximum(a[..., 1], b[..., 1]) - torch.minimum(a[..., 0], b[..., 0])
    return intersection, union, hull


def temporal_iou(spans_a: torch.Tensor, spans_b: torch.Tensor) -> torch.Tensor:
    """Pairwise intersection over union of (start, end) spans.

    Args:
        spans_a: (..., N, 2) spans.
        spans_b: (..., M, 2) spans in the same unit.

    Returns:
        (..., N, M) values in [0, 1].
    """
    intersection, union, _ = _overlap(spans_a, spans_b)
    return intersection / union.clamp(min=_MIN_LENGTH)


def generalized_temporal_iou(spans_a: torch.Tensor, spans_b: torch.Tensor) -> torch.Tensor:
    """Pairwise generalized IoU of (start, end) spans: the IoU less the share of the hull that neither covers.

    Args:
        spans_a: (..., N, 2) spans.
        spans_b: (..., M, 2) spans in the same unit.

    Returns:
        (..., N, M) values in (-1, 1].
    """
    intersection, union, hull = _overlap(spans_a, spans_b)
    iou = intersection / union.clamp(min=_MIN_LENGTH)
    return iou - (hull - union) / hull.clamp(min=_MIN_LENGTH)


__all__ = ["center_width_to_start_end", "generalized_temporal_iou", "start_end_to_center_width", "temporal_iou"]
