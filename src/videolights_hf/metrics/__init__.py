"""Metrics of moment retrieval and highlight detection, and the published submission files."""

from .highlight_detection import clip_ratings, highlight_detection_metrics, hit_at_one
from .moment_retrieval import first_moment_iou, moment_retrieval_metrics

__all__ = [
    "clip_ratings",
    "first_moment_iou",
    "highlight_detection_metrics",
    "hit_at_one",
    "moment_retrieval_metrics",
]
