"""The plan of a table in words, with the time that its runs take here."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import TrainerCallback

from ..common.times import format_time
from ..data.annotations import domains_of
from ..data.dataset import FeatureDataset
from ..training.preparation import build_model, fit_config_to_data
from ..training.recipes import Recipe
from ..training.trainer import VideoLightsTrainer
from .fingerprint import describe_recipe, hash_of
from .plan import Plan
from .runs import PlannedRun, finished_metrics, from_main_process

# The first one is slower than those after it.
_STEPS = 4


def describe_plan(plan: Plan, output: str | Path) -> Iterator[str]:
    """Lines about the runs of a plan: which are there, and how long the others take on this machine.

    The time is that of a few measured training steps and one measured evaluation batch of each recipe, times their
    number. Computing metrics and saving checkpoints come on top.

    Args:
        plan: From `make_plan`.
        output: Where finished runs are looked for.
    """
    measured: dict[str, float] = {}
    total, to_train = 0.0, 0
    for run in plan.runs:
        line = f"{run.key}  {run.recipe.name}, seed {run.seed}"
        if from_main_process(finished_metrics(run, Path(output)) is not None):
            yield f"{line}: there"
            continue
        cost = hash_of([describe_recipe(run.recipe), run.fingerprints])
        if cost not in measured:
            measured[cost] = measure_run(run)
        total, to_train = total + measured[cost], to_train + 1
        yield f"{line}: {format_time(measured[cost])}"
    for row, reason in plan.left_out.items():
        yield f"left out: {row}. {reason}"
    devices = "" if plan.runs[0].processes == 1 else f" on {plan.runs[0].processes} processes"
    yield f"{len(plan.runs)} runs, {to_train} to train, about {format_time(total)}{devices}, metrics and saving not counted"


def measure_run(run: PlannedRun) -> float:
    """Seconds that a run's training steps and evaluations take here, extrapolated from a few of each."""
    recipe, tables = run.recipe, run.data.tables
    split = tables[recipe.data.train_split]
    sizes, domain = [len(split)], None
    if recipe.data.by_domain:
        sizes = list(Counter(split["domain"]).values())
        domain = domains_of(split.select_columns(["domain"]))[0]
    with tempfile.TemporaryDirectory() as folder:
        trainer, clock = _short_trainer(replace(recipe, pretrained=False), run, domain, folder)
        trainer.train()
        step = sum(clock.seconds[1:]) / len(clock.seconds[1:])
        evaluation = _evaluation_seconds(trainer)
    args = recipe.training_arguments("unused")
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * run.processes
    steps = sum(math.ceil(size / batch) for size in sizes) * args.num_train_epochs
    evaluations = math.ceil(args.num_train_epochs / args.eval_epochs) + 1
    return steps * step + evaluations * evaluation * len(sizes)


class _StepClock(TrainerCallback):
    """Measures training steps, with the loading of their batches."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self._last = _now()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        now = _now()
        self.seconds.append(now - self._last)
        self._last = now


def _short_trainer(
    recipe: Recipe, run: PlannedRun, domain: str | None, folder: str
) -> tuple[VideoLightsTrainer, _StepClock]:
    args = recipe.training_arguments(
        folder,
        max_steps=_STEPS,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        load_best_model_at_end=False,
        early_stopping_patience=-1,
        report_to="none",
    )
    config = fit_config_to_data(recipe, run.data.tables)
    clock = _StepClock()
    training = (recipe.data.train_split, config, True, args.seed, domain, recipe.data.windows)
    evaluation = (recipe.data.eval_split, config, False, args.seed, domain, recipe.data.windows)
    trainer = VideoLightsTrainer(
        build_model(config),
        args,
        train_dataset=FeatureDataset.from_config(run.data.tables, *training),
        eval_dataset=FeatureDataset.from_config(run.data.evaluated, *evaluation),
        callbacks=[clock],
    )
    return trainer, clock


def _evaluation_seconds(trainer: VideoLightsTrainer) -> float:
    """Seconds of an evaluation: one measured batch, times their number."""
    loader = trainer.get_eval_dataloader()
    model = cast(nn.Module, trainer.model).eval()
    batches = iter(loader)
    started = _now()
    trainer.prediction_step(model, next(batches), prediction_loss_only=False)
    return (_now() - started) * len(loader)


def _now() -> float:
    """The time when the device has done all that it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.monotonic()
