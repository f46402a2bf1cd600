"""Annotation files: JSON Lines, one query per line, checked line by line."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..common.json_lines import FileProblemsError, iterate_json_lines
from ..common.messages import unknown_name
from ..common.time_axis import count_clips
from ..common.values import is_number, is_qid, is_text, is_whole_number
from .specs import DatasetSpec, get_dataset_spec

# Durations are written with two or three digits while windows are not always cut to them.
_TIME_TOLERANCE = 1e-3
# Clip ids are stored as 32-bit numbers.
_MAX_CLIP_ID = 2**31 - 1
LABEL_FIELDS = ("relevant_windows", "relevant_clip_ids", "saliency_scores", "label")
_REQUIRED_FIELDS = {
    "graded": ("relevant_windows", "relevant_clip_ids", "saliency_scores"),
    "window": ("relevant_windows",),
    "scores": ("relevant_windows",),
    "similarities": ("relevant_windows",),
    "annotators": ("label", "domain"),
    "binary": ("label", "domain"),
}
# Some intervals of a synthetic corpus have no clip of their own, and so no score.
_SCORED_RULES = ("scores", "similarities")
_LABEL_RANGES: dict[str, tuple[float, float]] = {"annotators": (1, 5), "binary": (0, 1)}


class AnnotationError(FileProblemsError):
    """Annotation files that cannot be used."""

    subject = "annotations"


def read_annotations(
    path: str | os.PathLike, dataset: str | DatasetSpec = "custom", domain: str | None = None
) -> list[dict[str, Any]]:
    """Read and check a file of annotations.

    Every row has `qid`, `query`, `vid` and `duration` (seconds; for TVSum, clips). A labeled row also has what its
    dataset's label rule needs: `relevant_windows` (start and end in seconds), `relevant_clip_ids` with
    `saliency_scores` (0 to 4 per annotator; any numbers in a pretraining corpus), or `label` (clips x annotators)
    with `domain`. Rows of a test split may have no labels, but then none may. Unknown fields are kept.

    Args:
        path: A JSON Lines file.
        dataset: A key of `DATASETS`, or a spec.
        domain: Keep only the rows of this domain.

    Raises:
        AnnotationError: Naming file and line, for a line that is not JSON, a field that is missing or of the wrong
            kind, a window that is reversed, empty or outside the video, a relevant clip outside the video, or a qid
            that occurs twice; also for a file without annotations.
        ValueError: Unknown dataset or domain; the message names the nearest known one.
        FileNotFoundError: The file does not exist.
    """
    spec = get_dataset_spec(dataset)
    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    first_line: dict[str, int] = {}
    unlabeled: list[int] = []
    for number, row, fault in iterate_json_lines(path):
        faults = [fault] if fault is not None else row_faults(row, spec)
        if not faults:
            qid = str(row["qid"])
            if qid in first_line:
                faults.append(f"qid {row['qid']!r} is already on line {first_line[qid]}; qids must be unique")
            first_line.setdefault(qid, number)
            if not is_labeled(row):
                unlabeled.append(number)
        problems += [f"{path}:{number}: {fault}" for fault in faults]
        rows.append(row)
    if unlabeled and len(unlabeled) < len(rows):
        problems += [f"{path}:{number}: no labels, while other lines have them" for number in unlabeled]
    if not problems and spec.label_rule in _SCORED_RULES and not any(row.get("saliency_scores") for row in rows):
        problems.append(f"{path}: no line has 'saliency_scores', by which dataset {spec.name!r} is labeled")
    if not problems and not rows:
        problems.append(f"{path}: no annotations; an empty split cannot be used")
    if problems:
        raise AnnotationError(problems)
    return rows if domain is None else select_domain(rows, domain)


def is_labeled(row: Mapping[str, Any]) -> bool:
    """Whether a row has labels of any kind (a test split may have none)."""
    return any(row.get(field) is not None for field in LABEL_FIELDS)


def domains_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The domains that occur, in alphabetical order; empty for a dataset without domains."""
    return sorted({row["domain"] for row in rows if row.get("domain") is not None})


def select_domain(rows: Sequence[dict[str, Any]], domain: str) -> list[dict[str, Any]]:
    """The rows of one domain (TVSum, YouTube Highlights).

    Raises:
        ValueError: No row has the domain; the message names the nearest one that exists.
    """
    known = domains_of(rows)
    if domain not in known:
        if not known:
            raise ValueError(f"Domain {domain!r} was asked for, but these annotations have no domains.")
        raise ValueError(unknown_name("domain", domain, known))
    return [row for row in rows if row.get("domain") == domain]


def expected_num_clips(row: Mapping[str, Any], clip_length: float) -> int:
    """How many clips the annotation implies: rows of `label`, else `count_clips` of the duration."""
    if row.get("label"):
        return len(row["label"])
    return count_clips(row["duration"], clip_length)


def row_faults(row: Mapping[str, Any], spec: DatasetSpec) -> list[str]:
    """What is wrong with one annotation row; empty if nothing is."""
    faults = _query_faults(row)
    if faults or not is_labeled(row):
        return faults
    missing = [field for field in _REQUIRED_FIELDS.get(spec.label_rule, ()) if row.get(field) is None]
    if missing:
        return [f"{', '.join(map(repr, missing))} missing; dataset {spec.name!r} needs it for a labeled query"]
    if row.get("relevant_windows") is not None:
        faults += _window_faults(row["relevant_windows"], row["duration"])
    if row.get("label") is not None:
        faults += _label_faults(row["label"], spec.label_rule)
    if row.get("relevant_clip_ids") is not None or row.get("saliency_scores") is not None:
        faults += _score_faults(row, spec)
    return faults


def _query_faults(row: Mapping[str, Any]) -> list[str]:
    faults = []
    if not is_qid(row.get("qid")):
        faults.append("'qid' must be a number or a non-empty string")
    for field in ("query", "vid"):
        if not is_text(row.get(field)):
            faults.append(f"{field!r} must be a non-empty string")
    if not is_number(row.get("duration")) or row["duration"] <= 0:
        faults.append("'duration' must be a positive number of seconds")
    if row.get("domain") is not None and not is_text(row["domain"]):
        faults.append("'domain' must be a non-empty string")
    return faults


def _window_faults(windows: Any, duration: float) -> list[str]:
    if not isinstance(windows, list) or not windows:
        return ["'relevant_windows' must be a list of [start, end]; leave it out for an unlabeled query"]
    faults = []
    for window in windows:
        if not (isinstance(window, list) and len(window) == 2 and all(map(is_number, window))):
            faults.append(f"window {window!r} is not [start, end] in seconds")
        elif window[1] <= window[0]:
            faults.append(f"window {window} is empty or reversed; its start must come before its end")
        elif window[0] < 0 or window[1] > duration + _TIME_TOLERANCE:
            faults.append(f"window {window} is outside the video of {duration} s; cut it or correct the duration")
    return faults


def _score_faults(row: Mapping[str, Any], spec: DatasetSpec) -> list[str]:
    ids, scores = row.get("relevant_clip_ids"), row.get("saliency_scores")
    if not (isinstance(ids, list) and isinstance(scores, list) and ids and len(ids) == len(scores)):
        return ["'relevant_clip_ids' and 'saliency_scores' must be lists of the same length, and not empty"]
    if not all(map(is_whole_number, ids)) or len(set(ids)) < len(ids):
        return ["'relevant_clip_ids' must be whole numbers, each once"]
    faults = []
    outside = [
        clip for clip in ids if not 0 <= clip <= _MAX_CLIP_ID or clip >= count_clips(row["duration"], spec.clip_length)
    ]
    if outside:
        faults.append(f"relevant clips {outside} are outside the video of {row['duration']} s")
    if _width(scores) is None:
        faults.append("'saliency_scores' must hold the same number of scores for every clip")
    elif _grades(row, spec) and not all(0 <= score <= 4 for clip in scores for score in clip):
        # Only annotators grade; the scores of a synthetic corpus are what its scorer makes them.
        faults.append("'saliency_scores' must hold scores from 0 to 4")
    return faults


def _grades(row: Mapping[str, Any], spec: DatasetSpec) -> bool:
    return spec.label_rule == "graded" or (spec.label_rule == "auto" and not row.get("label"))


def _label_faults(label: Any, label_rule: str) -> list[str]:
    width = _width(label) if isinstance(label, list) else None
    if width is None:
        return ["'label' must hold the same number of scores for every clip"]
    if label_rule == "auto":
        label_rule = "binary" if width == 1 else "annotators"
    low, high = _LABEL_RANGES.get(label_rule, (-math.inf, math.inf))
    if not all(low <= score <= high for clip in label for score in clip):
        return [f"'label' must hold scores from {low} to {high}"]
    return []


def _width(rows: list) -> int | None:
    """The number of columns of a rectangular list of numbers; `None` for anything else."""
    if not rows or not all(isinstance(row, list) and row and all(map(is_number, row)) for row in rows):
        return None
    widths = {len(row) for row in rows}
    return widths.pop() if len(widths) == 1 else None
