"""Metrics of a finished run on the split that a table reports."""

from __future__ import annotations

import zipfile
from pathlib import Path

from accelerate import PartialState

from ..common.files import read_json_object, write_json, written_aside
from ..training.recipe_runs import evaluate_run
from .fingerprint import fingerprint_data
from .runs import PlannedRun, finished_metrics, from_main_process, percent_metrics, read_metrics

SUBMISSION_FILE = "submission.zip"


def split_metrics(run: PlannedRun, split: str, output: Path) -> dict[str, float] | None:
    """Metrics in percent of a run on a split; `None` if it has not ended or been scored there.

    Raises:
        ValueError: A file of the run is damaged.
    """
    if split == run.recipe.data.eval_split:
        return finished_metrics(run, output)
    return read_metrics(_scores_file(run, split, output)) if finished_metrics(run, output) is not None else None


def score_run(run: PlannedRun, split: str, output: Path) -> None:
    """Predict and score a split with a finished run, unless that was done, or was done by its last evaluation.

    For QVHighlights' test split a `submission.zip` for the benchmark's server is written, too. Without labels there
    are predictions alone.

    Raises:
        ValueError: The data has no such split.
    """
    if split == run.recipe.data.eval_split:
        return
    path, fingerprint = _scores_file(run, split, output), fingerprint_data(run.data.evaluated, split)
    if from_main_process((read_json_object(path) or {}).get("data_fingerprint") == fingerprint):
        return
    folder = run.folder(output)
    results = evaluate_run(folder, run.data.evaluated, split, folder, run.recipe)
    if PartialState().is_main_process:
        write_json(path, {"data_fingerprint": fingerprint, "metrics": percent_metrics(results)})
        if run.recipe.dataset == "qvhighlights" and split == "test":
            _write_submission(folder)
    PartialState().wait_for_everyone()


def _scores_file(run: PlannedRun, split: str, output: Path) -> Path:
    return run.folder(output) / f"{split}_scores.json"


def _write_submission(folder: Path) -> None:
    """The zip that the server of QVHighlights takes: two files, without a folder inside."""
    files = {"hl_val_submission.jsonl": "eval_predictions.jsonl", "hl_test_submission.jsonl": "test_predictions.jsonl"}
    with (
        written_aside(folder / SUBMISSION_FILE) as path,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, source in files.items():
            archive.write(folder / source, name)
