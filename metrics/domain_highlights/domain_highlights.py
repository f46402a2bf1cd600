"""Highlights by domain as an `evaluate` module: `evaluate.load("metrics/domain_highlights", "tvsum")`."""

import datasets
import evaluate

from videolights_hf.metrics import query_metric

_DESCRIPTION = """
Highlight detection by domain, in two configurations. `tvsum`: mean average precision of the five best-scored clips,
where a clip is a highlight for an annotator if its rating exceeds the median of this annotator's ratings.
`youtube_highlights`: mean average precision over all clips, where a clip is a highlight if its label is positive.
"""

_INPUTS_DESCRIPTION = """
Args:
    predictions (`list` of `dict`): One row per video: `qid` (number or text) and `pred_saliency_scores` (one number
        per clip). Other fields are ignored.
    references (`list` of `dict`): As many rows, in any order: `qid`, `domain` and `label` (clips x annotators). Other
        fields are ignored.
    domain (`str`): Score this domain's videos only. Defaults to all.
    detailed (`bool`): Return the value of every domain too. Defaults to `False`.

Returns:
    `dict`: `HL-mAP`, the mean of the domains, a fraction with five decimals. With `detailed=True` it is under
    `brief`, beside the domains under the configuration's name.

Examples:
    >>> metric = evaluate.load("metrics/domain_highlights", "youtube_highlights")
    >>> metric.compute(
    ...     predictions=[{"qid": "a", "pred_saliency_scores": [0.1, 0.9, 0.3]}],
    ...     references=[{"qid": "a", "domain": "dog", "label": [[0], [1], [0]]}],
    ... )
    {'HL-mAP': 1.0}
"""

_CITATION = """
@inproceedings{song2015tvsum,
    title = {{TVSum}: Summarizing Web Videos Using Titles},
    author = {Song, Yale and Vallmitjana, Jordi and Stent, Amanda and Jaimes, Alejandro},
    booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
    pages = {5179--5187},
    year = {2015}
}
"""

_CONFIGURATIONS = ("tvsum", "youtube_highlights")


class DomainHighlights(query_metric.QueryMetric):
    """Mean average precision of clip saliency by domain."""

    @property
    def dataset(self) -> str:
        """The configuration's name says how the rows are scored."""
        return self.config_name

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in _CONFIGURATIONS:
            raise ValueError(f"choose a configuration: {' or '.join(_CONFIGURATIONS)}, not {self.config_name!r}")
        return query_metric.metric_info(
            (_DESCRIPTION, _INPUTS_DESCRIPTION),
            predictions={"pred_saliency_scores": query_metric.NUMBERS},
            references={"domain": datasets.Value("string"), "label": query_metric.TABLE},
            citation=_CITATION,
            urls=(),
        )
