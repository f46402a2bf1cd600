"""One run of a table: known by what it depends on, trained once, and read by every table that has it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from ..common.files import read_json_object, write_json
from ..training.preparation import RunData
from ..training.recipe_runs import RunResults, run_recipe
from ..training.recipes import Recipe
from ..training.report import in_percent, mean_metrics
from .fingerprint import describe_recipe, hash_of

RUN_FILE = "run.json"
RUNS_FOLDER = "runs"


@dataclass(frozen=True)
class PlannedRun:
    """A run that a table needs.

    Attributes:
        recipe: With everything set on top, and the seed.
        data: What it is trained and evaluated on.
        fingerprints: Hashes of training and evaluation data.
        after: The pretraining run whose checkpoint it starts from.
        processes: How many processes train it together; several have other batches and so give another run.
    """

    recipe: Recipe
    data: RunData
    fingerprints: tuple[str, ...]
    after: PlannedRun | None = None
    processes: int = 1

    @property
    def seed(self) -> int:
        """The seed of weights, order, dropout and label draws."""
        return self.recipe.training["seed"]

    @property
    def inputs(self) -> dict[str, Any]:
        """All that decides the result, as JSON content."""
        return {
            **describe_recipe(self.recipe),
            "seed": self.seed,
            "data_fingerprints": list(self.fingerprints),
            "after": self.after.key if self.after else None,
            "processes": self.processes,
        }

    @cached_property
    def key(self) -> str:
        """The name of the run's folder: equal for runs that give the same."""
        return hash_of(self.inputs)

    def folder(self, output: Path) -> Path:
        """Where the run lies below a table's output folder."""
        return output / RUNS_FOLDER / self.key


def seeded(recipe: Recipe, seed: int | None) -> Recipe:
    """The recipe with a seed; `None` keeps its own, which is 2018 if it names none."""
    own = recipe.training.get("seed", 2018)
    return replace(recipe, training={**recipe.training, "seed": own if seed is None else seed})


def finished_metrics(run: PlannedRun, output: Path) -> dict[str, float] | None:
    """Metrics in percent of a run that has ended; `None` for one that has not.

    Raises:
        ValueError: Its file is damaged.
    """
    return read_metrics(run.folder(output) / RUN_FILE)


def read_metrics(path: Path) -> dict[str, float] | None:
    """The metrics in a file that this package wrote; `None` without the file.

    Raises:
        ValueError: It is damaged.
    """
    content = read_json_object(path)
    if content is None:
        return None
    metrics = content.get("metrics")
    if not isinstance(metrics, dict):
        raise ValueError(f"{path} holds no metrics: remove it to repeat what it is about.")
    return metrics


def train_run(run: PlannedRun, output: Path) -> bool:
    """Train a run, or continue it; one that has ended is left alone.

    Returns:
        Whether anything was trained.

    Raises:
        FolderInUseError: Another process trains it.
        ValueError: See `run_recipe`.
        OSError: See `run_recipe`.
    """
    if from_main_process(finished_metrics(run, output) is not None):
        return False
    folder, started = run.folder(output), time.monotonic()
    init_from = run.after.folder(output) if run.after else None
    results = run_recipe(run.recipe, run.data, folder, init_from=init_from, resume=True)
    if PartialState().is_main_process:
        content = {
            "recipe": run.recipe.name,
            "inputs": run.inputs,
            "seconds": round(time.monotonic() - started, 1),
            "metrics": percent_metrics(results),
        }
        write_json(folder / RUN_FILE, content)
    PartialState().wait_for_everyone()
    return True


def percent_metrics(results: RunResults) -> dict[str, float]:
    """Metrics in percent; those of domains begin with the domain's name, `"VT/HL-mAP"`, their mean with `"mean/"`."""
    if not results.by_domain:
        return in_percent(results.metrics)
    rows = {name: in_percent(metrics) for name, metrics in results.by_domain.items()}
    rows["mean"] = in_percent(mean_metrics(results.by_domain))
    return {f"{domain}/{name}": value for domain, metrics in rows.items() for name, value in metrics.items()}


def from_main_process(value: Any) -> Any:
    """The main process's value, in every process, so that all take the same way."""
    if PartialState().num_processes == 1:
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]
