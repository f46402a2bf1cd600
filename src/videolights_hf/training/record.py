"""What happened in a run, beside its weights, for the card that goes with them."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..data.provenance import cached_revisions
from ..hub.card import ReportedMetric, TrainingRecord
from .arguments import VideoLightsTrainingArguments
from .preparation import RunData
from .recipe_fields import is_outbound
from .recipes import Recipe, list_recipes, load_recipe
from .report import headline_metrics, in_percent

_PACKAGES = ("videolights-hf", "torch", "transformers", "datasets", "accelerate")


def make_record(
    recipe: Recipe,
    data: RunData,
    args: VideoLightsTrainingArguments,
    metrics: Mapping[str, float],
    *,
    domain: str | None = None,
    init_from: str | Path | None = None,
    seconds: float | None = None,
) -> TrainingRecord:
    """Record of a run that has ended.

    Args:
        recipe: The recipe, with what was set on top.
        data: What was trained and evaluated on.
        args: The arguments that it ran with.
        metrics: What its last evaluation gave.
        domain: The one domain that was trained on.
        init_from: Checkpoint that training started from.
        seconds: Duration of the run; `None` for one that was resumed, of which only a part is known.
    """
    headline = in_percent(headline_metrics(metrics, "eval"))
    train, evaluated = data.tables[recipe.data.train_split], data.evaluated[recipe.data.eval_split]
    return TrainingRecord(
        dataset=recipe.dataset,
        train_split=recipe.data.train_split,
        eval_split=recipe.data.eval_split,
        num_train_queries=_count_queries(train, domain),
        num_eval_queries=_count_queries(evaluated, domain),
        domain=domain,
        recipe=recipe.name,
        changed_settings=changed_settings(recipe),
        initialized_from=_public_name(init_from),
        backbone_revisions=cached_revisions(data.backbone_checkpoints),
        seed=args.seed,
        seconds=seconds,
        hardware=_hardware(args.world_size, args.device),
        versions={name: importlib.metadata.version(name) for name in _PACKAGES},
        date=datetime.date.today().isoformat(),
        metrics=tuple(ReportedMetric(name, float(value)) for name, value in headline.items() if name != "score"),
        details_file="eval_metrics.json",
    )


def changed_settings(recipe: Recipe) -> dict[str, Any]:
    """What a recipe sets differently from the packaged recipe of its name; empty for a user's own recipe.

    What sends something to another machine is left out: it says nothing about the model, and may be a token.
    """
    if recipe.name not in list_recipes():
        return {}
    original = load_recipe(recipe.name)
    changed: dict[str, Any] = {}
    for section in ("data", "model", "training"):
        now, before = (_plain(getattr(one, section)) for one in (recipe, original))
        changed |= {name: value for name, value in now.items() if value != before.get(name) and not is_outbound(name)}
    return changed


def _plain(section: Any) -> dict[str, Any]:
    return dict(section) if isinstance(section, Mapping) else asdict(section)


def _count_queries(table: Any, domain: str | None) -> int:
    if domain is None:
        return len(table)
    return sum(value == domain for value in table["domain"])


def _public_name(checkpoint: str | Path | None) -> str | None:
    """A Hub id as it is; for a folder only its name, since its location means nothing to others."""
    if checkpoint is None:
        return None
    return Path(checkpoint).name if Path(checkpoint).exists() else str(checkpoint)


def _hardware(num_processes: int, device: torch.device) -> str:
    if device.type == "cuda":
        return f"{num_processes} x {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    plural = "s" if threads > 1 else ""
    return f"{num_processes} x {device.type}" + (f", {threads} thread{plural} each" if device.type == "cpu" else "")
