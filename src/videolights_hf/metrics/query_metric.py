"""What the `evaluate` modules of this project have in common. Importing this file imports `evaluate`, which is slow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import evaluate

from .evaluation import evaluate_predictions

NUMBERS = datasets.Sequence(datasets.Value("float64"))
"""A list of numbers, as a field of a row."""

TABLE = datasets.Sequence(NUMBERS)
"""A list of lists of numbers, as a field of a row."""

LEI_2021 = """
@inproceedings{lei2021detecting,
    title = {Detecting Moments and Highlights in Videos via Natural Language Queries},
    author = {Lei, Jie and Berg, Tamara L. and Bansal, Mohit},
    booktitle = {Advances in Neural Information Processing Systems},
    volume = {34},
    pages = {11846--11858},
    year = {2021}
}
"""
"""Citation of the evaluation of QVHighlights."""

_VIDEOLIGHTS_URL = "https://arxiv.org/abs/2412.01558"


class QueryMetric(evaluate.Metric):
    """A metric over rows that belong together by their `qid`.

    `evaluate` refuses rows with fields that a metric does not declare, and ids that are not text. Annotation and
    submission rows have both, so they are reduced to the declared fields on the way in.

    Attributes:
        dataset: How the rows are scored, see `videolights_hf.metrics.evaluate_predictions`.
    """

    dataset: str

    def add_batch(self, *, predictions: Iterable[Mapping[str, Any]], references: Iterable[Mapping[str, Any]]) -> None:
        """Add as many predictions as references."""
        super().add_batch(
            predictions=[self._declared_fields("predictions", row) for row in predictions],
            references=[self._declared_fields("references", row) for row in references],
        )

    def add(self, *, prediction: Mapping[str, Any], reference: Mapping[str, Any]) -> None:
        """Add one prediction and one reference."""
        super().add(
            prediction=self._declared_fields("predictions", prediction),
            reference=self._declared_fields("references", reference),
        )

    def _declared_fields(self, column: str, row: Mapping[str, Any]) -> dict[str, Any]:
        if "qid" not in row:
            raise ValueError(f"a row of the {column} has no 'qid': its fields are {sorted(row)}")
        return {name: row.get(name) for name in self.info.features[column]} | {"qid": str(row["qid"])}

    def _compute(
        self, predictions: list[dict], references: list[dict], detailed: bool = False, **options: Any
    ) -> dict[str, Any]:
        results = evaluate_predictions(predictions, references, dataset=self.dataset, **options)
        return results if detailed else results["brief"]


def metric_info(
    texts: tuple[str, str],
    predictions: Mapping[str, Any],
    references: Mapping[str, Any],
    citation: str = LEI_2021,
    urls: tuple[str, ...] = ("https://arxiv.org/abs/2107.09609",),
) -> evaluate.MetricInfo:
    """How a module describes itself to `evaluate`.

    Args:
        texts: Description of the metric, and of its inputs and results.
        predictions: The fields of a prediction beside `qid`.
        references: The fields of a reference beside `qid`.
        citation: BibTeX entry of the metric.
        urls: Where it is published.
    """
    qid = {"qid": datasets.Value("string")}
    description, inputs = texts
    return evaluate.MetricInfo(
        description=description,
        citation=citation,
        inputs_description=inputs,
        features=datasets.Features({"predictions": qid | dict(predictions), "references": qid | dict(references)}),
        license="Apache-2.0",
        reference_urls=[*urls, _VIDEOLIGHTS_URL],
    )
