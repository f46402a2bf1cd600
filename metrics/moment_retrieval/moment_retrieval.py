"""Moment retrieval as an `evaluate` module: `evaluate.load("metrics/moment_retrieval")` from a checkout."""

import evaluate

from videolights_hf.metrics import query_metric

_DESCRIPTION = """
Moment retrieval: finding the windows of a video that a sentence describes. Mean average precision over IoU thresholds
0.5 to 0.95, recall of the best-scored window (R1) at IoU thresholds 0.3 to 0.95, its mean IoU (mIoU), and the mean
average precision by length of the ground-truth window: short (0, 10] s, middle (10, 30] s, long (30, 150] s.
"""

_INPUTS_DESCRIPTION = """
Args:
    predictions (`list` of `dict`): One row per query: `qid` (number or text) and `pred_relevant_windows`
        (`[[start, end, score], ...]`, seconds). Other fields are ignored.
    references (`list` of `dict`): As many rows, in any order: `qid` and `relevant_windows` (`[[start, end], ...]`,
        seconds). Other fields are ignored.
    detailed (`bool`): Return every threshold and length range, not only the headline numbers. Defaults to `False`.

Returns:
    `dict`: Percent, two decimals: `MR-full-mAP`, `MR-full-mAP@0.5`, `MR-full-mAP@0.75`, `MR-full-mIoU`,
    `MR-full-R1@0.3`, `MR-full-R1@0.5`, `MR-full-R1@0.7`, `MR-short-mAP`, `MR-middle-mAP`, `MR-long-mAP`.
    With `detailed=True` these are under `brief`, beside `full`, `short`, `middle` and `long`.

Examples:
    >>> metric = evaluate.load("metrics/moment_retrieval")
    >>> metric.compute(
    ...     predictions=[{"qid": 1, "pred_relevant_windows": [[10.0, 20.0, 0.9]]}],
    ...     references=[{"qid": 1, "relevant_windows": [[12.0, 20.0]]}],
    ... )["MR-full-R1@0.7"]
    100.0
"""


class MomentRetrieval(query_metric.QueryMetric):
    """Mean average precision, R1 and mIoU of retrieved windows."""

    dataset = "moment_retrieval"

    def _info(self) -> evaluate.MetricInfo:
        return query_metric.metric_info(
            (_DESCRIPTION, _INPUTS_DESCRIPTION),
            predictions={"pred_relevant_windows": query_metric.TABLE},
            references={"relevant_windows": query_metric.TABLE},
        )
