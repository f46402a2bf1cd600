"""What `train` leaves in a folder, for pictures and comparisons: predictions, logs, the checkpoint that was kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.files import parse_json, read_json_object
from ..common.values import is_number
from ..metrics.submission import read_json_lines

STATE_FILE = "trainer_state.json"

_PREDICTIONS = "_predictions.jsonl"


def read_run_predictions(
    run: str | os.PathLike[str], ground_truth: Sequence[Mapping[str, Any]] = (), split: str | None = None
) -> list[dict[str, Any]]:
    """The predictions of a run for each query.

    Args:
        run: A training folder, or one with a folder for each domain; a file of the submission format; or what
            `videolights predict --json` wrote.
        ground_truth: Annotation rows, in which the sentences of `videolights predict` are looked up.
        split: Read the predictions of this split, as `videolights evaluate` writes them; by default those of the
            last evaluation.

    Raises:
        FileNotFoundError: There are none; the message says how to make them.
        ValueError: The file is damaged.
    """
    path = Path(run)
    if path.is_file():
        return _read_answers(path, ground_truth) if path.suffix == ".json" else read_json_lines(path)
    name = f"{split or 'eval'}{_PREDICTIONS}"
    files = [path / name] if (path / name).is_file() else sorted(path.glob(f"*/{name}"))
    if not files:
        there = ", ".join(sorted(file.name for file in path.glob(f"*{_PREDICTIONS}")))
        found = f" (it has {there})" if there else ""
        raise FileNotFoundError(
            f"{path} has no {name}{found}: `videolights evaluate {path} --data DATA --split SPLIT` writes "
            f"SPLIT{_PREDICTIONS}, which --split SPLIT reads; or name a file of predictions."
        )
    return [row for file in files for row in read_json_lines(file)]


def read_log_history(run: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], float | None]:
    """What a run logged, and the epoch of the checkpoint that was kept, if one was chosen.

    Args:
        run: A training folder, a checkpoint in one, or a `trainer_state.json`.

    Raises:
        FileNotFoundError: The run has logged nothing.
        ValueError: The file is damaged.
    """
    path = Path(run)
    checkpoints = sorted(
        path.glob(f"checkpoint-*/{STATE_FILE}"), key=lambda file: int(file.parent.name.split("-")[-1])
    )
    candidates = [path / STATE_FILE, *reversed(checkpoints)] if path.is_dir() else [path]
    found = next((file for file in candidates if file.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{path} has no {STATE_FILE}: it is not a folder that `videolights train` wrote.")
    state = read_json_object(found) or {}
    history = state.get("log_history", [])
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        raise ValueError(f"{found}: log_history must be a list of what was logged, a mapping for each step.")
    best_step = state.get("best_global_step")
    epochs = [row["epoch"] for row in history if row.get("step") == best_step and is_number(row.get("epoch"))]
    return history, float(epochs[0]) if epochs and best_step else None


def read_clip_length(run: str | os.PathLike[str]) -> float | None:
    """Seconds per clip of a run's model; `None` where that is not known."""
    folder = Path(run)
    if folder.suffix == ".json" and folder.is_file():
        results = (read_json_object(folder) or {}).get("predictions")
        found = (
            results[0].get("clip_length")
            if isinstance(results, list) and results and isinstance(results[0], dict)
            else None
        )
        return float(found) if isinstance(found, (int, float)) and found > 0 else None
    candidates = [folder / "config.json", *sorted(folder.glob("*/config.json"))] if folder.is_dir() else []
    config = next((file for file in candidates if file.is_file()), None)
    value = (read_json_object(config) or {}).get("clip_length") if config else None
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def _read_answers(path: Path, ground_truth: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results of `videolights predict` as rows of the submission format; the annotations know their qids."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        vid, results = Path(content["video"]).stem, content["predictions"]
        rows = [
            {
                "query": result["query"],
                "vid": vid,
                "pred_relevant_windows": [
                    [moment[key] for key in ("start", "end", "score")] for moment in result["moments"]
                ],
                "clip_length": float(result["clip_length"]),
                "pred_saliency_scores": [float(value) for value in result["saliency"]],
            }
            for result in results
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not what `videolights predict --json` writes ({error!r}).") from error
    qids = {(str(row["vid"]), row["query"]): row["qid"] for row in ground_truth}
    known = [{"qid": qids[vid, row["query"]], **row} for row in rows if (vid, row["query"]) in qids]
    if not known:
        raise ValueError(f"{path}: none of its {len(rows)} sentences is among the annotations of the video {vid!r}.")
    return known
