"""Metrics of moment retrieval and highlight detection, and the published submission files."""

from .bootstrap import Bootstrap, interval, resampled_means
from .breakdown import RangeScore, break_down
from .comparison import ComparedMetric, Comparison, Difference, compare_models
from .domain_highlights import HIGHLIGHT_PROTOCOLS, domain_highlight_metrics, ranked_average_precision
from .evaluation import (
    GROUND_TRUTH_FIELDS,
    check_ground_truth,
    describe_unmatched,
    evaluate_predictions,
    infer_dataset,
)
from .highlight_detection import (
    MAX_CLIPS,
    SALIENCY_LEVELS,
    clip_ratings,
    highlight_detection_metrics,
    hit_at_one,
)
from .moment_retrieval import (
    LENGTH_RANGES,
    MAP_IOU_THRESHOLDS,
    RECALL_IOU_THRESHOLDS,
    first_moment_iou,
    moment_retrieval_metrics,
)
from .predictions import SplitOutputs, submission_rows
from .query_scores import (
    QueryScores,
    moments_by_length,
    moments_by_position,
    score_moments,
    score_queries,
    weighted_mean,
)
from .selection import SELECTION_WEIGHTS, selection_score
from .submission import AlignedPredictions, QueryFileError, align_predictions, read_json_lines, write_predictions

__all__ = [
    "GROUND_TRUTH_FIELDS",
    "HIGHLIGHT_PROTOCOLS",
    "LENGTH_RANGES",
    "MAP_IOU_THRESHOLDS",
    "MAX_CLIPS",
    "RECALL_IOU_THRESHOLDS",
    "SALIENCY_LEVELS",
    "SELECTION_WEIGHTS",
    "AlignedPredictions",
    "Bootstrap",
    "ComparedMetric",
    "Comparison",
    "Difference",
    "QueryFileError",
    "QueryScores",
    "RangeScore",
    "SplitOutputs",
    "align_predictions",
    "break_down",
    "check_ground_truth",
    "clip_ratings",
    "compare_models",
    "describe_unmatched",
    "domain_highlight_metrics",
    "evaluate_predictions",
    "first_moment_iou",
    "highlight_detection_metrics",
    "hit_at_one",
    "infer_dataset",
    "interval",
    "moment_retrieval_metrics",
    "moments_by_length",
    "moments_by_position",
    "ranked_average_precision",
    "read_json_lines",
    "resampled_means",
    "score_moments",
    "score_queries",
    "selection_score",
    "submission_rows",
    "weighted_mean",
    "write_predictions",
]
