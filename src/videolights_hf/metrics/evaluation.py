"""All metrics of a set of predictions, by what the ground truth holds."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np

from ..common.values import is_text
from .domain_highlights import HIGHLIGHT_PROTOCOLS, domain_highlight_metrics
from .highlight_detection import ClipRatings, rated_highlight_metrics
from .moment_retrieval import moment_retrieval_metrics
from .submission import PREDICTION_FIELDS, align_predictions, qid_of

GROUND_TRUTH_FIELDS: dict[str, tuple[str, ...]] = {
    "qvhighlights": ("relevant_windows", "duration", "relevant_clip_ids", "saliency_scores"),
    "moment_retrieval": ("relevant_windows",),
    "highlight_detection": ("duration", "relevant_clip_ids", "saliency_scores"),
    "tvsum": ("label", "domain"),
    "youtube_highlights": ("label", "domain"),
}
"""The ways to score, by name: the fields that every ground-truth row needs beside `qid`."""


def infer_dataset(ground_truth: Sequence[Mapping[str, Any]]) -> str:
    """Tell from the fields of annotation rows how they are scored.

    Returns:
        `tvsum` for rows with a `label` of several annotators, `youtube_highlights` for one column,
        `qvhighlights` for `saliency_scores` and `relevant_windows`, `highlight_detection` and `moment_retrieval`
        for only one of the two.

    Raises:
        ValueError: The rows hold none of these, as those of a test split without labels.
    """
    for row in ground_truth:
        label = row.get("label")
        if isinstance(label, (Sequence, np.ndarray)) and len(label):
            return "youtube_highlights" if np.size(label[0]) == 1 else "tvsum"
    has_windows = any(row.get("relevant_windows") is not None for row in ground_truth)
    has_saliency = any(row.get("saliency_scores") is not None for row in ground_truth)
    if has_saliency:
        return "qvhighlights" if has_windows else "highlight_detection"
    if has_windows:
        return "moment_retrieval"
    raise ValueError(
        "the ground truth has nothing to score against: no row has relevant_windows, saliency_scores or label"
    )


def evaluate_predictions(
    predictions: Iterable[Mapping[str, Any]],
    ground_truth: Sequence[Mapping[str, Any]],
    dataset: str | None = None,
    domain: str | None = None,
    clip_length: float = 2.0,
) -> dict[str, dict]:
    """Score predictions against ground truth.

    Args:
        predictions: Rows of the published submission format, in any order: `qid` and `pred_relevant_windows`
            (`[start, end, score]`, seconds) or `pred_saliency_scores` (one per clip) or both.
        ground_truth: Annotation rows.
        dataset: How to score: a key of `GROUND_TRUTH_FIELDS`. Defaults to what `infer_dataset` finds.
        domain: Score only this domain's videos (TVSum and YouTube Highlights).
        clip_length: Seconds per clip rated in `saliency_scores`.

    Returns:
        `brief`, the headline numbers by name, and the details:

        - `full`, `short`, `middle`, `long`: see `moment_retrieval_metrics`;
        - `HL-min-Fair`, `HL-min-Good`, `HL-min-VeryGood`: see `highlight_detection_metrics`;
        - `tvsum` or `youtube_highlights`: see `domain_highlight_metrics`;
        - `unmatched`, only if there are any, lists of ids: `queries_without_prediction`, `queries_without_windows`
          and `queries_without_saliency` (these score 0), and `predictions_without_ground_truth` (these do not
          count). Each is also given as a warning.

        QVHighlights predictions without any windows, or without any saliency, are scored only on the other.

    Raises:
        ValueError: The dataset or domain does not exist, a ground-truth row lacks a field, ids occur twice or none
            matches, no prediction has what is scored, or a prediction is malformed or not a finite number.
    """
    dataset = infer_dataset(ground_truth) if dataset is None else dataset
    check_fields(ground_truth, dataset)
    if domain is not None:
        predictions, ground_truth = _select_domain(predictions, ground_truth, dataset, domain)

    aligned = align_predictions(predictions, ground_truth)
    scored = scored_fields(aligned.predictions, dataset)

    unmatched = {
        "queries_without_prediction": aligned.queries_without_prediction,
        "predictions_without_ground_truth": aligned.predictions_without_ground_truth,
    }
    results: dict[str, dict] = {"brief": {}}
    for field in scored:
        qids = [row["qid"] for row in ground_truth]
        values, absent = prediction_column(aligned.predictions, field, qids)
        unmatched["queries_without_windows" if field == PREDICTION_FIELDS[0] else "queries_without_saliency"] = absent
        part: dict[str, dict] = _score(field, values, ground_truth, dataset, clip_length)
        results["brief"] |= part.pop("brief")
        results |= part
    unmatched = {reason: ids for reason, ids in unmatched.items() if ids}
    if unmatched:
        results["unmatched"] = unmatched
        for sentence in describe_unmatched(unmatched):
            warnings.warn(sentence, stacklevel=2)
    return results


def check_ground_truth(ground_truth: Sequence[Mapping[str, Any]], clip_length: float = 2.0) -> str:
    """Check that rows can be scored against, before the long work whose predictions they are for.

    Args:
        ground_truth: Annotation rows.
        clip_length: Seconds per clip rated in `saliency_scores`.

    Returns:
        How they are scored, by `infer_dataset`.

    Raises:
        ValueError: `evaluate_predictions` would refuse the rows, whatever the predictions.
    """
    dataset = infer_dataset(ground_truth)
    predictions = [
        {
            "qid": row.get("qid"),
            "pred_relevant_windows": [],
            "pred_saliency_scores": [0.0],
        }
        for row in ground_truth
    ]
    evaluate_predictions(predictions, ground_truth, dataset, clip_length=clip_length)
    return dataset


def _score(
    field: str, values: list[Sequence], ground_truth: Sequence[Mapping[str, Any]], dataset: str, clip_length: float
) -> dict[str, dict]:
    """Metrics of one of the two predictions."""
    qids = [row["qid"] for row in ground_truth]

    def truth(name: str) -> list[Any]:
        return [row[name] for row in ground_truth]

    if field == PREDICTION_FIELDS[0]:
        return moment_retrieval_metrics(values, truth("relevant_windows"), qids=qids)
    if dataset in HIGHLIGHT_PROTOCOLS:
        return domain_highlight_metrics(values, truth("label"), truth("domain"), dataset, qids)
    ratings = ClipRatings.of(
        truth("duration"), truth("relevant_clip_ids"), truth("saliency_scores"), clip_length, qids
    )
    return rated_highlight_metrics(values, ratings, qids)


def describe_unmatched(unmatched: Mapping[str, Sequence[Hashable]], max_ids: int = 5) -> list[str]:
    """One sentence for each reason in the `unmatched` of `evaluate_predictions`, with the first `max_ids` ids."""
    sentences = {
        "queries_without_prediction": "{} queries have no prediction and score 0",
        "predictions_without_ground_truth": "{} predictions have a qid that is not in the ground truth and do not count",
        "queries_without_windows": "{} predictions have no pred_relevant_windows and score 0 in moment retrieval",
        "queries_without_saliency": "{} predictions have no pred_saliency_scores and score 0 in highlight detection",
    }
    return [
        f"{sentences[reason].format(len(ids))}: {', '.join(map(str, ids[:max_ids]))}"
        + (", ..." if len(ids) > max_ids else "")
        for reason, ids in unmatched.items()
    ]


def check_fields(ground_truth: Sequence[Mapping[str, Any]], dataset: str) -> None:
    """Check that rows have what a dataset is scored on.

    Raises:
        ValueError: They do not, or there is no such dataset.
    """
    if dataset not in GROUND_TRUTH_FIELDS:
        raise ValueError(f"unknown dataset {dataset!r}; choose from {', '.join(GROUND_TRUTH_FIELDS)}")
    for row in ground_truth:
        missing = [field for field in GROUND_TRUTH_FIELDS[dataset] if row.get(field) is None]
        if missing:
            raise ValueError(
                f"ground truth of query {row.get('qid')!r} has no {', '.join(missing)}, which {dataset} needs; "
                "choose another dataset, or give every row the field"
            )
        if "domain" in GROUND_TRUTH_FIELDS[dataset] and not is_text(row["domain"]):
            raise ValueError(
                f"ground truth of query {row.get('qid')!r}: domain must be text, but is {row['domain']!r}"
            )


def _select_domain(
    predictions: Iterable[Mapping[str, Any]], ground_truth: Sequence[Mapping[str, Any]], dataset: str, domain: str
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Rows of one domain; predictions whose qid is unknown stay, so that they are reported."""
    if dataset not in HIGHLIGHT_PROTOCOLS:
        raise ValueError(f"{dataset} has no domains, but domain={domain!r} was asked for")
    selected = [row for row in ground_truth if row["domain"] == domain]
    if not selected:
        known = ", ".join(dict.fromkeys(str(row["domain"]) for row in ground_truth))
        raise ValueError(f"the ground truth has no domain {domain!r}; it has {known}")
    elsewhere = {qid_of(row, "ground truth") for row in ground_truth if row["domain"] != domain}
    return [row for row in predictions if qid_of(row, "predictions") not in elsewhere], selected


def scored_fields(predictions: Sequence[Mapping[str, Any] | None], dataset: str) -> list[str]:
    """Which of `PREDICTION_FIELDS` are scored: those that the dataset is scored on and some prediction has.

    Raises:
        ValueError: None is.
    """
    wanted = {
        PREDICTION_FIELDS[0]: "relevant_windows" in GROUND_TRUTH_FIELDS[dataset],
        PREDICTION_FIELDS[1]: dataset != "moment_retrieval",
    }
    scored = [
        field
        for field in PREDICTION_FIELDS
        if wanted[field] and any(row is not None and row.get(field) is not None for row in predictions)
    ]
    if not scored:
        names = " or ".join(field for field in PREDICTION_FIELDS if wanted[field])
        raise ValueError(f"no prediction has {names}, on which {dataset} is scored")
    return scored


def prediction_column(
    predictions: Sequence[Mapping[str, Any] | None], field: str, qids: Sequence[Hashable]
) -> tuple[list[Sequence], list[Hashable]]:
    """A field of every prediction, empty where there is none, and the qids of the predictions that lack it."""
    values = [None if row is None else row.get(field) for row in predictions]
    if field == "pred_saliency_scores":
        # An empty list of windows is a prediction (there is no such moment); an empty list of scores is not.
        values = [None if isinstance(value, Sized) and len(value) == 0 else value for value in values]
    absent = [qid for qid, row, value in zip(qids, predictions, values) if row is not None and value is None]
    return [() if value is None else value for value in values], absent
