"""Prediction files in the published submission format, and their alignment with ground truth.

One JSON object per line: `qid`, `query`, `vid`, `pred_relevant_windows` (`[[start, end, score], ...]`, seconds) and
`pred_saliency_scores` (one number per clip). Either of the two predictions may be absent; further fields are kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREDICTION_FIELDS: tuple[str, ...] = ("pred_relevant_windows", "pred_saliency_scores")
"""The two predictions of a submission line."""

_FIELD_ORDER = ("qid", "query", "vid", *PREDICTION_FIELDS)


@dataclass(frozen=True)
class AlignedPredictions:
    """Predictions in the order of the ground truth.

    Attributes:
        predictions: For every ground-truth row the prediction of the same qid, or `None`.
        queries_without_prediction: The qids of the `None`s.
        predictions_without_ground_truth: The qids of predictions that no ground-truth row has.
    """

    predictions: list[Mapping[str, Any] | None]
    queries_without_prediction: list[Hashable]
    predictions_without_ground_truth: list[Hashable]


def read_json_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Read a JSON Lines file of queries: predictions or ground truth. Blank lines are skipped.

    Args:
        path: The file.

    Returns:
        One dictionary per line.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a line is not a JSON object or has no `qid`, if a qid occurs twice, or if there is no line at
            all; the message names the file and the line.
    """
    rows: list[dict[str, Any]] = []
    first_line: dict[Hashable, int] = {}
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{os.fspath(path)}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{where}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise ValueError(f"{where}: expected a JSON object, but found {type(row).__name__}")
            qid = row.get("qid")
            if not isinstance(qid, (int, str)):
                raise ValueError(f"{where}: 'qid' must be a number or a string, but is {qid!r}")
            if qid in first_line:
                raise ValueError(f"{where}: qid {qid!r} occurs twice, first in line {first_line[qid]}")
            first_line[qid] = number
            rows.append(row)
    if not rows:
        raise ValueError(f"{os.fspath(path)} is empty")
    return rows


def write_predictions(path: str | os.PathLike, predictions: Iterable[Mapping[str, Any]]) -> None:
    """Write predictions in the published submission format.

    The file appears only when it is complete; one that was there before stays until then.

    Args:
        path: The file; its folder must exist.
        predictions: One mapping per query with `qid` and at least one of the two predictions, as lists, arrays or
            tensors. Further fields are written after the published ones.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If a prediction has no qid or neither field, holds a number that is not finite, or if a qid
            occurs twice.
    """
    path = Path(path)
    seen: set[Hashable] = set()
    lines = []
    for row in predictions:
        qid = row.get("qid")
        qid = qid.item() if hasattr(qid, "item") else qid
        if not isinstance(qid, (int, str)):
            raise ValueError(f"'qid' must be a number or a string, but is {qid!r}")
        if qid in seen:
            raise ValueError(f"qid {qid!r} occurs twice in the predictions")
        seen.add(qid)
        if all(row.get(field) is None for field in PREDICTION_FIELDS):
            raise ValueError(f"the prediction of query {qid!r} has neither {' nor '.join(PREDICTION_FIELDS)}")
        ordered = {field: row[field] for field in _FIELD_ORDER if field in row} | dict(row)
        try:
            lines.append(json.dumps(ordered, allow_nan=False, default=_python_value))
        except (TypeError, ValueError) as error:
            raise ValueError(f"the prediction of query {qid!r} cannot be written: {error}") from error
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def align_predictions(
    predictions: Iterable[Mapping[str, Any]], ground_truth: Sequence[Mapping[str, Any]]
) -> AlignedPredictions:
    """Find every ground-truth row's prediction by qid, and say which ids do not match.

    Args:
        predictions: Mappings with `qid`, in any order.
        ground_truth: Mappings with `qid`.

    Returns:
        The predictions in the order of the ground truth, and the ids without a counterpart on either side.

    Raises:
        ValueError: If a qid occurs twice on one side, or if not a single one matches.
    """
    by_qid = _index_by_qid(predictions, "predictions")
    truth = _index_by_qid(ground_truth, "ground truth")
    matched = by_qid.keys() & truth.keys()
    if not matched:
        examples = [repr(next(iter(ids))) if ids else "nothing" for ids in (by_qid, truth)]
        raise ValueError(
            f"no prediction has a qid of the ground truth: the first of {len(by_qid)} predictions has {examples[0]}, "
            f"the first of {len(truth)} ground-truth rows {examples[1]}"
        )
    return AlignedPredictions(
        predictions=[by_qid.get(qid) for qid in truth],
        queries_without_prediction=[qid for qid in truth if qid not in matched],
        predictions_without_ground_truth=[qid for qid in by_qid if qid not in matched],
    )


def _index_by_qid(rows: Iterable[Mapping[str, Any]], name: str) -> dict[Hashable, Mapping[str, Any]]:
    indexed: dict[Hashable, Mapping[str, Any]] = {}
    for row in rows:
        if "qid" not in row:
            raise ValueError(f"a row of the {name} has no 'qid': its fields are {sorted(row)}")
        if row["qid"] in indexed:
            raise ValueError(f"qid {row['qid']!r} occurs twice in the {name}")
        indexed[row["qid"]] = row
    return indexed


def _python_value(value: Any) -> Any:
    """Arrays, tensors and their scalars as plain Python numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is neither a JSON value nor an array")
