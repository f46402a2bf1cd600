"""Runs with one model per domain (TVSum, YouTube Highlights)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState

from ..common.files import parse_json, write_json
from ..common.messages import unknown_name
from ..data.annotations import domains_of
from ..data.tables import VIDEOS
from .preparation import RunData
from .recipes import Recipe
from .report import headline_metrics, mean_metrics
from .run import RESULTS_FILE, evaluate_checkpoint, train_recipe

if TYPE_CHECKING:
    from datasets import Dataset


def train_domains(
    recipe: Recipe,
    data: RunData,
    output_dir: str | Path,
    domains: Sequence[str] = (),
    *,
    init_from: str | Path | None = None,
    resume: bool = False,
) -> dict[str, dict[str, float]]:
    """Train a model for each domain, in folders of their own.

    The headline metrics of all domains that are finished, and their mean, are written to `results.json`.

    Args:
        recipe: From `load_recipe`.
        data: What to train and evaluate on.
        output_dir: Holds a folder for each domain.
        domains: Some of the domains; all by default.
        init_from: Checkpoint that every model starts from, with a fresh optimizer.
        resume: Skip finished domains, and continue the interrupted one.

    Returns:
        The metrics by domain.

    Raises:
        ValueError: The training split lacks these domains or has none; see also `train_recipe`.
    """

    def train(domain: str) -> dict[str, float]:
        folder = domain_folder(output_dir, domain)
        if resume and Path(folder, RESULTS_FILE).is_file():
            return _read_results(folder)
        return train_recipe(recipe, data, folder, domain=domain, init_from=init_from, resume=resume)

    by_domain = for_each_domain(train, data.tables, recipe.data.train_split, domains)
    finished = {}
    for domain in domains_of(data.tables[recipe.data.train_split].select_columns(["domain"])):
        if Path(domain_folder(output_dir, domain), RESULTS_FILE).is_file():
            finished[domain] = _read_results(domain_folder(output_dir, domain))
    _write_table(Path(output_dir, RESULTS_FILE), finished, "eval")
    return by_domain


def evaluate_domains(
    checkpoint: str | Path,
    tables: Mapping[str, Dataset],
    split: str,
    output_dir: str | Path,
    recipe: Recipe,
    domains: Sequence[str] = (),
) -> dict[str, dict[str, float]]:
    """Evaluate the models that `train_domains` trained, each on its domain.

    The headline metrics and their mean are written to `{split}_results.json`.

    Args:
        checkpoint: The folder that holds a folder for each domain.
        tables: Feature dataset.
        split: Name of the split.
        output_dir: Holds a folder for each domain, with its files.
        recipe: Sets post-processing and batch size.
        domains: Some of the domains; all by default.

    Returns:
        The metrics by domain.
    """

    def evaluate(domain: str) -> dict[str, float]:
        folder = domain_folder(checkpoint, domain)
        return evaluate_checkpoint(folder, tables, split, domain_folder(output_dir, domain), recipe, domain)

    by_domain = for_each_domain(evaluate, tables, split, domains)
    _write_table(Path(output_dir, f"{split}_{RESULTS_FILE}"), by_domain, split)
    return by_domain


def for_each_domain(
    run: Callable[[str], Mapping[str, float]],
    tables: Mapping[str, Dataset],
    split: str,
    domains: Sequence[str] = (),
) -> dict[str, dict[str, float]]:
    """Do something for each domain of a split.

    Args:
        run: Takes a domain, returns its metrics.
        tables: Feature dataset.
        split: The split whose domains are meant.
        domains: Some of them; all by default.

    Returns:
        The metrics by domain.

    Raises:
        ValueError: The split has no domains, or lacks one that was asked for (the nearest one is named).
    """
    if split not in tables:
        raise ValueError(unknown_name("split", split, [name for name in tables if name != VIDEOS]))
    known = domains_of(tables[split].select_columns(["domain"]))
    if not known:
        raise ValueError(f"The queries of split {split!r} have no domains.")
    for domain in domains:
        if domain not in known:
            raise ValueError(unknown_name("domain", domain, known))
    chosen = list(domains) or known
    results = {}
    for position, domain in enumerate(chosen, 1):
        if PartialState().is_main_process:
            print(f"domain {domain} ({position} of {len(chosen)})", flush=True)
        results[domain] = dict(run(domain))
    return results


def domain_folder(parent: str | Path, domain: str) -> Path:
    """Folder of a domain's model.

    Raises:
        ValueError: The domain's name could lead out of `parent`.
    """
    if not re.fullmatch(r"\w[\w -]*", domain):
        raise ValueError(f"The domain {domain!r} cannot be the name of a folder.")
    return Path(parent, domain)


def _read_results(folder: Path) -> dict[str, float]:
    path = folder / RESULTS_FILE
    try:
        results: Any = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it to repeat the domain.") from error
    if not isinstance(results, dict):
        raise ValueError(f"{path} holds no metrics: remove it to repeat the domain.")
    return results


def _write_table(path: Path, by_domain: Mapping[str, Mapping[str, float]], prefix: str) -> None:
    table = {domain: headline_metrics(metrics, prefix) for domain, metrics in by_domain.items()}
    if PartialState().is_main_process:
        write_json(path, {"domains": table, "mean": mean_metrics(table)})
