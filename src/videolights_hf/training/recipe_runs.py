"""A whole command: train or evaluate by a recipe, one model or one for each domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..hub.records import read_record
from .domains import evaluate_domains, train_domains
from .fetching import local_checkpoint
from .preparation import RunData
from .recipes import Recipe
from .report import domain_table, headline_metrics, metrics_table
from .run import evaluate_checkpoint, train_recipe

if TYPE_CHECKING:
    from datasets import Dataset
    from rich.table import Table


@dataclass(frozen=True)
class RunResults:
    """Headline metrics of a run.

    Attributes:
        title: What was trained or evaluated.
        metrics: Of the one model, or empty.
        by_domain: Of the model of each domain, or empty.
    """

    title: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    by_domain: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def table(self) -> Table:
        """The metrics for the terminal, in percent."""
        return domain_table(self.by_domain, self.title) if self.by_domain else metrics_table(self.metrics, self.title)


def run_recipe(
    recipe: Recipe,
    data: RunData,
    output_dir: str | Path,
    *,
    domains: Sequence[str] = (),
    init_from: str | Path | None = None,
    resume: bool = False,
) -> RunResults:
    """Train by a recipe: one model, or one for each domain where the recipe or `domains` says so.

    Args:
        recipe: From `load_recipe`.
        data: What to train and evaluate on.
        output_dir: Folder for checkpoints, logs, predictions and the trained model, or a folder of these per domain.
        domains: Train on these domains alone.
        init_from: Checkpoint to start from, with a fresh optimizer.
        resume: Continue the run in `output_dir`, if there is one.

    Returns:
        The headline metrics.

    Raises:
        ValueError: See `train_recipe` and `train_domains`.
        OSError: See `train_recipe`.
    """
    if not recipe.data.by_domain and not domains:
        metrics = train_recipe(recipe, data, output_dir, init_from=init_from, resume=resume)
        return RunResults(recipe.name, metrics=headline_metrics(metrics, "eval"))
    recipe = replace(recipe, data=replace(recipe.data, by_domain=True))
    by_domain = train_domains(recipe, data, output_dir, domains, init_from=init_from, resume=resume)
    return RunResults(
        recipe.name, by_domain={name: headline_metrics(metrics, "eval") for name, metrics in by_domain.items()}
    )


def evaluate_run(
    checkpoint: str | Path,
    tables: Mapping[str, Dataset],
    split: str,
    output_dir: str | Path,
    recipe: Recipe,
    domains: Sequence[str] = (),
) -> RunResults:
    """Evaluate what `run_recipe` trained.

    Args:
        checkpoint: Folder or Hub repository of a model, or of a model for each domain.
        tables: Feature dataset.
        split: Name of the split; the files are named after it.
        output_dir: Folder for predictions and metrics.
        recipe: Sets post-processing and batch size, and says whether there is a model for each domain.
        domains: Evaluate these domains alone.

    Returns:
        The headline metrics; none for a split without labels.
    """
    folder = local_checkpoint(checkpoint)
    if not recipe.data.by_domain:
        if domains:
            raise ValueError(f"Recipe {recipe.name} has one model for all domains: leave out {', '.join(domains)}.")
        metrics = evaluate_checkpoint(folder, tables, split, output_dir, recipe)
        return RunResults(split, metrics=headline_metrics(metrics, split))
    if (folder / "config.json").is_file():
        domain = _only_domain(folder, domains)
        metrics = evaluate_checkpoint(folder, tables, split, output_dir, recipe, domain)
        return RunResults(split, by_domain={domain: headline_metrics(metrics, split)})
    by_domain = evaluate_domains(folder, tables, split, output_dir, recipe, domains)
    return RunResults(split, by_domain={name: headline_metrics(row, split) for name, row in by_domain.items()})


def _only_domain(folder: Path, domains: Sequence[str]) -> str:
    """The domain of a model that was trained on one."""
    record = read_record(folder)
    trained_on = record.domain if record is not None else None
    if trained_on is None and len(domains) == 1:
        return domains[0]
    if trained_on is None or set(domains) - {trained_on}:
        known = f" It was trained on {trained_on}." if trained_on else ""
        raise ValueError(f"{folder} holds the model of one domain: name that domain.{known}")
    return trained_on
