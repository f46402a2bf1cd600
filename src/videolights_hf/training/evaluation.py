"""Score the predictions of a split, and find out before a training whether that will work."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.files import write_json
from ..common.messages import unknown_name
from ..data.annotations import is_labeled
from ..metrics import evaluate_predictions, infer_dataset, selection_score, write_predictions

# Losses that evaluation reports, whose full names the model knows.
_LOSS_TERMS = ("loss", "saliency_", "class_error")


class DivergedError(ValueError):
    """Losses or outputs are no longer finite numbers."""


class EvaluationFailedError(ValueError):
    """An evaluation during training failed; the training can be resumed after it."""


def score_predictions(
    rows: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    clip_length: float,
    metrics_file: Path,
) -> dict[str, float]:
    """Score the predictions of a split and write all details to a file.

    Returns:
        The headline metrics and the selection score; nothing for a split without labels.
    """
    if not all(is_labeled(row) for row in annotations):
        return {}
    details = evaluate_predictions(rows, annotations, clip_length=clip_length)
    write_json(metrics_file, details)
    return {**details["brief"], "score": selection_score(details["brief"], infer_dataset(annotations))}


def write_and_score(
    rows: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    clip_length: float,
    stem: Path,
    suffix: str = "",
    save_predictions: bool = True,
) -> dict[str, float]:
    """Write `{stem}_predictions{suffix}.jsonl`, and score the predictions to `{stem}_metrics{suffix}.json`."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    if save_predictions:
        write_predictions(stem.with_name(f"{stem.name}_predictions{suffix}.jsonl"), rows)
    return score_predictions(rows, annotations, clip_length, stem.with_name(f"{stem.name}_metrics{suffix}.json"))


def check_scorable(
    annotations: Sequence[Mapping[str, Any]], num_clips: Sequence[int], clip_length: float, with_moments: bool
) -> set[str]:
    """Check that a split can be scored, by scoring made-up predictions in the shape of the model's.

    Labels, ids and lengths that the metrics refuse are found here and not after hours of training.

    Args:
        annotations: Rows of the split.
        num_clips: Clips of each row's video.
        clip_length: Seconds per clip.
        with_moments: Whether the model predicts moments.

    Returns:
        Names of the metrics that evaluation will report, without loss terms.

    Raises:
        ValueError: The split has no labels, or labels that cannot be scored.
    """
    unlabeled = [row["qid"] for row in annotations if not is_labeled(row)]
    if unlabeled:
        raise ValueError(
            f"The evaluation split has {len(unlabeled)} of {len(annotations)} queries without labels (first: qid "
            f"{unlabeled[0]!r}), so that no checkpoint can be chosen by it: evaluate on a split with labels, or set "
            "eval_strategy=no and load_best_model_at_end=false."
        )
    if len(num_clips) != len(annotations):
        raise ValueError(
            f"The evaluation dataset has {len(num_clips)} items for {len(annotations)} queries: one for each is needed."
        )
    rows = []
    for row, clips in zip(annotations, num_clips):
        made_up = {"qid": row["qid"], "pred_saliency_scores": [0.0] * clips}
        rows.append(made_up | ({"pred_relevant_windows": [[0.0, row["duration"], 1.0]]} if with_moments else {}))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            brief = evaluate_predictions(rows, annotations, clip_length=clip_length)["brief"]
            selection_score(brief, infer_dataset(annotations))
    except ValueError as error:
        raise ValueError(f"The evaluation split cannot be scored: {error}") from error
    return {*brief, "score", "loss"}


def check_metric(name: str, known: Iterable[str]) -> None:
    """Check that evaluation will report the metric by which checkpoints are chosen.

    Raises:
        ValueError: It will not; the nearest metric is named.
    """
    name = name.removeprefix("eval_")
    if name not in known and not name.startswith(_LOSS_TERMS):
        raise ValueError(unknown_name("metric", name, known))
