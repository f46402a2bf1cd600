"""Highlight detection as an `evaluate` module: `evaluate.load("metrics/highlight_detection")` from a checkout."""

import datasets
import evaluate

from videolights_hf.metrics import query_metric

_DESCRIPTION = """
Highlight detection on QVHighlights: scoring every clip of a video by how well it shows what a sentence describes. Mean
average precision over annotators and queries, and HIT@1 (the share of queries whose best-scored clip is a highlight
for any annotator), where a clip is a highlight from a rating of 2 (Fair), 3 (Good) or 4 (VeryGood) up.
"""

_INPUTS_DESCRIPTION = """
Args:
    predictions (`list` of `dict`): One row per query: `qid` (number or text) and `pred_saliency_scores` (one number
        per clip). Other fields are ignored.
    references (`list` of `dict`): As many rows, in any order: `qid`, `duration` (seconds), `relevant_clip_ids` and
        `saliency_scores` (the annotators' ratings of each relevant clip, 0 to 4). Other fields are ignored.
    clip_length (`float`): Seconds per clip. Defaults to 2.0.
    detailed (`bool`): Return the numbers by level too. Defaults to `False`.

Returns:
    `dict`: Percent, two decimals: `HL-min-Fair-mAP`, `HL-min-Fair-Hit1`, and the same for `Good` and `VeryGood`.
    With `detailed=True` these are under `brief`, beside `HL-min-Fair`, `HL-min-Good` and `HL-min-VeryGood`.

Examples:
    >>> metric = evaluate.load("metrics/highlight_detection")
    >>> metric.compute(
    ...     predictions=[{"qid": 1, "pred_saliency_scores": [0.1, 0.9, 0.3]}],
    ...     references=[{"qid": 1, "duration": 6, "relevant_clip_ids": [1], "saliency_scores": [[4, 3, 2]]}],
    ... )["HL-min-VeryGood-Hit1"]
    100.0
"""


class HighlightDetection(query_metric.QueryMetric):
    """Mean average precision and HIT@1 of clip saliency at three levels."""

    dataset = "highlight_detection"

    def _info(self) -> evaluate.MetricInfo:
        return query_metric.metric_info(
            (_DESCRIPTION, _INPUTS_DESCRIPTION),
            predictions={"pred_saliency_scores": query_metric.NUMBERS},
            references={
                "duration": datasets.Value("float64"),
                "relevant_clip_ids": datasets.Sequence(datasets.Value("int64")),
                "saliency_scores": query_metric.TABLE,
            },
        )
