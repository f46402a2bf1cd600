"""Time the metrics on a split of the size of QVHighlights val, in one process.

    python -m benchmarks.metrics
    python -m benchmarks.metrics --predictions PREDICTIONS.jsonl --ground-truth GROUND_TRUTH.jsonl

Without files, makes 1,550 queries of 75 clips with ten predicted moments each. Prints the machine and, for each step,
the median and the range over the repetitions, in seconds.
"""

from __future__ import annotations

import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import processor_name
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.metrics import (
    clip_ratings,
    evaluate_predictions,
    highlight_detection_metrics,
    infer_dataset,
    moment_retrieval_metrics,
    read_json_lines,
)

NUM_CLIPS = 75
CLIP_LENGTH = 2.0


def make_queries(num_queries: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions and ground truth of QVHighlights' shape: one to five moments, three annotators, float16 saliency."""
    rng = np.random.default_rng(seed)
    predictions, ground_truth = [], []
    for qid in range(num_queries):
        bounds = np.sort(rng.integers(0, NUM_CLIPS + 1, (int(rng.geometric(0.6)), 2)), axis=1)
        windows = bounds[bounds[:, 0] < bounds[:, 1]]
        windows = windows if len(windows) else np.array([[0, NUM_CLIPS]])
        clips = np.unique(np.concatenate([np.arange(start, end) for start, end in windows]))
        spans = np.sort(rng.uniform(0, NUM_CLIPS * CLIP_LENGTH, (10, 2)), axis=1).round()
        scores = np.sort(rng.uniform(0, 1, 10))[::-1].round(4)
        predictions.append(
            {
                "qid": qid,
                "pred_relevant_windows": np.column_stack([spans, scores]).tolist(),
                "pred_saliency_scores": rng.normal(size=NUM_CLIPS).astype(np.float16).tolist(),
            }
        )
        ground_truth.append(
            {
                "qid": qid,
                "duration": NUM_CLIPS * CLIP_LENGTH,
                "relevant_windows": (windows * CLIP_LENGTH).tolist(),
                "relevant_clip_ids": clips.tolist(),
                "saliency_scores": rng.integers(0, 5, (len(clips), 3)).tolist(),
            }
        )
    return predictions, ground_truth


def report(step: str, function: Callable[[], object], repetitions: int) -> None:
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    print(f"{step:<22} {statistics.median(times):8.3f} {min(times):8.3f} {max(times):8.3f}")


def main(
    predictions_file: Annotated[
        Path | None, typer.Option("--predictions", help="Predictions in the submission format.")
    ] = None,
    truth_file: Annotated[Path | None, typer.Option("--ground-truth", help="Annotations of the same queries.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Number of made-up queries.")] = 1550,
    repetitions: Annotated[int, typer.Option(min=1, help="Repetitions of each step.")] = 11,
    seed: Annotated[int, typer.Option(help="Seed of the made-up queries.")] = 0,
) -> None:
    """Print the machine and the time of each step."""
    if (predictions_file is None) != (truth_file is None):
        raise typer.BadParameter("--predictions and --ground-truth belong together")
    read = predictions_file is not None and truth_file is not None
    if read:
        predictions, truth = read_json_lines(predictions_file), read_json_lines(truth_file)
    else:
        predictions, truth = make_queries(queries, seed)
    dataset = infer_dataset(truth)

    print("$", shlex.join(["python", *sys.argv]))
    print(f"{processor_name()}, Python {platform.python_version()}, numpy {np.__version__}; one process")
    print(f"{len(truth)} queries, scored as {dataset}; seconds over {repetitions} repetitions")
    print(f"{'step':<22} {'median':>8} {'min':>8} {'max':>8}")
    if read:
        report(
            "read both files", lambda: (read_json_lines(predictions_file), read_json_lines(truth_file)), repetitions
        )
    if dataset == "qvhighlights":
        by_qid = {row["qid"]: row for row in predictions}
        windows = [by_qid[row["qid"]]["pred_relevant_windows"] for row in truth]
        saliency = [by_qid[row["qid"]]["pred_saliency_scores"] for row in truth]
        columns = [[row[field] for row in truth] for field in ("duration", "relevant_clip_ids", "saliency_scores")]
        moments = [row["relevant_windows"] for row in truth]
        report("moment retrieval", lambda: moment_retrieval_metrics(windows, moments), repetitions)
        report(
            "highlight detection",
            lambda: highlight_detection_metrics(saliency, *clip_ratings(*columns)),
            repetitions,
        )
    report("evaluate_predictions", lambda: evaluate_predictions(predictions, truth), repetitions)


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
