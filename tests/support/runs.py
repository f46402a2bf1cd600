"""Folders as `videolights train` leaves them, with made-up predictions and logs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from videolights_hf.common.files import write_json
from videolights_hf.metrics import write_predictions


def annotation_rows(num_queries: int = 12) -> list[dict]:
    """Rows in QVHighlights' format: videos of 40 s with two queries each, and moments of every length range."""
    rows = []
    for qid in range(num_queries):
        start, length = 2.0 * (qid % 4), (6.0, 14.0, 32.0)[qid % 3]
        clips = list(range(int(start // 2), int((start + length) // 2)))
        rows.append(
            {
                "qid": qid,
                "query": f"query {qid}",
                "vid": f"v{qid // 2}",
                "duration": 40.0,
                "relevant_windows": [[start, start + length]],
                "relevant_clip_ids": clips,
                "saliency_scores": [[4, 3, qid % 5] for _ in clips],
            }
        )
    return rows


def prediction_rows(rows: list[dict], shift: float = 0.0, seed: int = 0) -> list[dict]:
    """Predictions that miss the truth by `shift` seconds."""
    rng = np.random.default_rng(seed)
    found = []
    for row in rows:
        start, end = row["relevant_windows"][0]
        windows = [[start + shift, end + shift, 0.9 - 0.01 * row["qid"]], [30.0, 40.0, 0.1]]
        saliency = rng.random(20) + np.isin(np.arange(20), row["relevant_clip_ids"]) * 2
        found.append(
            {
                **{name: row[name] for name in ("qid", "query", "vid")},
                "pred_relevant_windows": windows,
                "pred_saliency_scores": saliency.tolist(),
            }
        )
    return found


def log_history(epochs: int = 3) -> list[dict]:
    """What a trainer logs: loss terms of both decoder layers, and metrics."""
    history: list[dict] = []
    for epoch in range(1, epochs + 1):
        losses = {"loss": 10 / epoch, "loss_span": 1 / epoch, "loss_span_0": 2 / epoch, "loss_saliency": 0.5 / epoch}
        history.append({"epoch": float(epoch), "step": 5 * epoch, **losses, "learning_rate": 1e-3, "grad_norm": 0.3})
        evaluated = {f"eval_{name}": value + 0.1 for name, value in losses.items()}
        metrics = {"eval_MR-full-mAP": 10.0 * epoch, "eval_HL-min-VeryGood-Hit1": 20.0 * epoch, "eval_runtime": 0.4}
        history.append({"epoch": float(epoch), "step": 5 * epoch, **evaluated, **metrics})
    return history


def write_run(folder: Path, rows: list[dict], shift: float = 0.0, seed: int = 0) -> Path:
    """A finished run."""
    folder.mkdir(parents=True)
    write_predictions(folder / "eval_predictions.jsonl", prediction_rows(rows, shift, seed))
    write_json(folder / "trainer_state.json", {"best_global_step": 10, "log_history": log_history()})
    write_json(folder / "config.json", {"clip_length": 2.0})
    return folder


def write_annotations(path: Path, rows: list[dict]) -> Path:
    """An annotation file."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path
