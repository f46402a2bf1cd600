"""Train the full-size VideoLights-B on made-up features of QVHighlights' sizes, and report steps per second.

    python -m benchmarks.training_rate --run "bf16=true" --run "bf16=true resident_features=true" [--epochs 3] [--small]

Each `--run` names settings of the recipe `qvhighlights/videolights-b`, as `--set` takes them; `default` changes nothing. The Trainer runs as
in a real training: batches are read, loss terms are kept, the optimizer steps. Seconds of an epoch are the median over the
epochs after the first, in which things are compiled and files read for the first time. With `--evaluate` there is an
evaluation after each epoch, with metrics, whose seconds are given apart.

Prints a table, and writes a JSON report to `--output`.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from transformers import TrainerCallback

from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.data import FeatureDataset, VideoLightsDataCollator, load_feature_dataset
from videolights_hf.models.families import model_class
from videolights_hf.training import VideoLightsTrainer, load_recipe

from .data_loading import build_tables
from .machine import describe_machine

RECIPE = "qvhighlights/videolights-b"
QUERIES = {"train": 7218, "val": 1550}
SMALL = ("model.hidden_size=32", "model.intermediate_size=64", "model.num_attention_heads=4")


class EpochTimes(TrainerCallback):
    """Seconds of each epoch, until the device has done it, and of each evaluation."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.evaluations: list[float] = []

    def _now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._begun = self._now()

    def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the epoch's time; what follows is the evaluation."""
        self._ended = self._now()
        self.epochs.append(self._ended - self._begun)

    def on_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Note the evaluation's time."""
        self.evaluations.append(self._now() - self._ended)


def train(data: Path, settings: list[str], epochs: int, evaluate: bool, small: bool) -> dict[str, Any]:
    """Train for some epochs; seconds, steps per second, and the last loss."""
    recipe = load_recipe(
        RECIPE, [f"num_train_epochs={epochs}", "report_to=none", *(SMALL if small else ()), *settings]
    )
    tables = load_feature_dataset(data)
    with tempfile.TemporaryDirectory() as folder:
        args = recipe.training_arguments(
            folder,
            save_strategy="no",
            load_best_model_at_end=False,
            eval_strategy="epoch" if evaluate else "no",
            eval_epochs=1,
            disable_tqdm=True,
        )
        config = recipe.model_config()
        torch.manual_seed(args.seed)
        times = EpochTimes()
        trainer = VideoLightsTrainer(
            model_class(config)(config),
            args,
            train_dataset=FeatureDataset.from_config(tables, "train", config, True, args.seed),
            eval_dataset=FeatureDataset.from_config(tables, "val", config),
            data_collator=VideoLightsDataCollator(recipe.data.text_dropout, args.seed),
            callbacks=[times],
        )
        start = time.perf_counter()
        output = trainer.train()
        whole = time.perf_counter() - start
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    steps = output.global_step / epochs
    epoch = statistics.median(times.epochs[1:] or times.epochs)
    return {
        "steps_per_epoch": steps,
        "first_epoch_s": times.epochs[0],
        "epoch_s": epoch,
        "steps_per_s": steps / epoch,
        "ms_per_step": 1000 * epoch / steps,
        "evaluation_s": statistics.median(times.evaluations) if times.evaluations else None,
        "whole_s": whole,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }


def main(
    runs: Annotated[list[str], typer.Option("--run", help="Settings of one run, with spaces between them.")],
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each run.")] = 3,
    videos: Annotated[int, typer.Option(min=1, help="Videos, which the queries share.")] = 512,
    queries: Annotated[int, typer.Option(min=1, help="Training queries.")] = QUERIES["train"],
    evaluated: Annotated[int, typer.Option(min=1, help="Validation queries.")] = QUERIES["val"],
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Evaluate after each epoch.")] = False,
    small: Annotated[bool, typer.Option("--small", help="A small model.")] = False,
    output: Annotated[Path | None, typer.Option(help="JSON file of the report.")] = None,
) -> None:
    """Print a table of rates."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    setting = {**describe_machine("torch", "transformers"), "device": device, "videos": videos, "queries": queries}
    report: dict[str, Any] = {"setting": setting, "runs": {}}
    print(json.dumps(setting), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        build_tables(Path(folder), videos, 3, "float16", train=queries, val=evaluated)
        for run in runs:
            settings = [] if run == "default" else run.split()
            report["runs"][run] = train(Path(folder, "built"), settings, epochs, evaluate, small)
            print(f"# {run}: {json.dumps(report['runs'][run])}", flush=True)
            torch.compiler.reset()
            if output is not None:
                output.write_text(json.dumps(report, indent=1))
    print("\n| settings | ms per step | steps per s | an epoch, s | the first, s | an evaluation, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for run, row in report["runs"].items():
        evaluation = "" if row["evaluation_s"] is None else f"{row['evaluation_s']:.1f}"
        print(
            f"| {run} | {row['ms_per_step']:.1f} | {row['steps_per_s']:.1f} | {row['epoch_s']:.1f} | "
            f"{row['first_epoch_s']:.1f} | {evaluation} |"
        )


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
