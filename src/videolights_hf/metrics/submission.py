"""Prediction files in the published submission format, and their alignment with ground truth.

One JSON object per line: `qid`, `query`, `vid`, `pred_relevant_windows` (`[[start, end, score], ...]`, seconds) and
`pred_saliency_scores` (one number per clip). Either of the two predictions may be absent; further fields are kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.files import write_text
from ..common.json_lines import FileProblemsError, iterate_json_lines
from ..common.values import is_number, is_qid, is_text, is_whole_number

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


class QueryFileError(FileProblemsError):
    """Files of predictions or ground truth that cannot be used."""

    subject = "queries"


def read_json_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Read and check a JSON Lines file of queries: predictions or ground truth. Blank lines are skipped.

    Raises:
        OSError: The file cannot be read.
        QueryFileError: Naming file and line, for a line that is not a JSON object, has no `qid` or a field of the
            wrong kind, or a qid that occurs twice; also for a file without lines.
    """
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    first_line: dict[Hashable, int] = {}
    for number, row, fault in iterate_json_lines(path):
        faults = [fault] if fault is not None else _field_faults(row)
        if not faults:
            qid = row["qid"]
            if qid in first_line:
                faults.append(f"qid {qid!r} occurs twice, first on line {first_line[qid]}")
            first_line.setdefault(qid, number)
        problems += [f"{os.fspath(path)}:{number}: {fault}" for fault in faults]
        rows.append(row)
    if not rows:
        problems.append(f"{os.fspath(path)}: is empty")
    if problems:
        raise QueryFileError(problems)
    return rows


def _field_faults(row: Mapping[str, Any]) -> list[str]:
    """What is wrong with the fields of a line that scores are computed from; unknown fields are not looked at."""
    faults = [] if is_qid(row.get("qid")) else [f"'qid' must be a number or a string, but is {_shown(row.get('qid'))}"]
    for field, (is_right, expected) in _FIELD_KINDS.items():
        value = row.get(field)
        if value is not None and not is_right(value):
            faults.append(f"{field!r} must be {expected}, but is {_shown(value)}")
    return faults


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _is_row(columns: int | None = None) -> Callable[[Any], bool]:
    is_numbers = _is_list_of(is_number)
    return lambda value: is_numbers(value) and (len(value) == columns if columns is not None else len(value) > 0)


_FIELD_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "pred_relevant_windows": (_is_list_of(_is_row(3)), "a list of [start, end, score]"),
    "pred_saliency_scores": (_is_list_of(is_number), "a list of numbers"),
    "duration": (is_number, "a number"),
    "relevant_windows": (_is_list_of(_is_row(2)), "a list of [start, end]"),
    "relevant_clip_ids": (_is_list_of(is_whole_number), "a list of whole numbers"),
    "saliency_scores": (_is_list_of(_is_row()), "a list of lists of numbers"),
    "label": (_is_list_of(_is_row()), "a list of lists of numbers"),
    "domain": (is_text, "text"),
}


def write_predictions(path: str | os.PathLike, predictions: Iterable[Mapping[str, Any]]) -> None:
    """Write predictions in the published submission format.

    The file appears only when it is complete; one that was there before stays until then.

    Args:
        path: The file; its folder must exist.
        predictions: One mapping per query with `qid` and at least one of the two predictions, as lists, arrays or
            tensors. Further fields are written after the published ones.

    Raises:
        OSError: The file cannot be written.
        ValueError: A prediction has no qid or neither field, holds a number that is not finite, or a qid
            occurs twice.
    """
    seen: set[Hashable] = set()
    lines = []
    for row in predictions:
        qid = _python_number(row.get("qid"))
        if not is_qid(qid):
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
    write_text(path, "".join(f"{line}\n" for line in lines))


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
        ValueError: A qid occurs twice on one side, or none matches.
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
        qid = qid_of(row, name)
        if qid in indexed:
            raise ValueError(f"qid {qid!r} occurs twice in the {name}")
        indexed[qid] = row
    return indexed


def qid_of(row: Mapping[str, Any], name: str) -> Hashable:
    """The id of a row.

    Raises:
        ValueError: The id is missing or is not an id; `name` says what the row belongs to.
    """
    if "qid" not in row:
        raise ValueError(f"a row of the {name} has no 'qid': its fields are {sorted(row)}")
    if not is_qid(_python_number(row["qid"])):
        raise ValueError(f"a row of the {name} has the 'qid' {row['qid']!r}: it must be a number or a string")
    return row["qid"]


def _python_number(value: Any) -> Any:
    """A scalar of an array or tensor as a plain Python number."""
    return value.item() if hasattr(value, "item") else value


def _python_value(value: Any) -> Any:
    """Arrays, tensors and their scalars as plain Python numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is neither a JSON value nor an array")
