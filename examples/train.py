"""Train by recipe.

    python examples/train.py --list
    python examples/train.py --recipe qvhighlights/videolights-b --data qvhighlights_features --output runs/qvh-b
    accelerate launch --multi_gpu --num_processes 2 examples/train.py --recipe ... --set per_device_train_batch_size=16

`--data` is a feature dataset, as `examples/prepare_dataset.py` writes it. Recipes that train by domain (TVSum,
YouTube Highlights) train a model for each and end with a table of domains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _list_recipes(value: bool) -> None:
    if value:
        from videolights_hf.training import list_recipes, load_recipe

        for name in list_recipes():
            print(f"{name:44}{load_recipe(name).description}")
        raise typer.Exit()


def named_checkpoints(arguments: list[str]) -> dict[str, str]:
    """`NAME=PATH_OR_ID` arguments as a dictionary."""
    pairs = [argument.partition("=") for argument in arguments]
    if not all(name and path for name, _, path in pairs):
        raise ValueError(f"--backbone {', '.join(arguments)}: write NAME=PATH_OR_ID.")
    return {name: path for name, _, path in pairs}


@app.command(help=__doc__)
def main(
    recipe: Annotated[str, typer.Option(help="A packaged recipe (--list), or a YAML file of your own.")],
    data: Annotated[str, typer.Option(help="Feature dataset: a folder, or a dataset repository on the Hub.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoints, logs, predictions and the trained model.")],
    eval_data: Annotated[str | None, typer.Option(help="Feature dataset to evaluate on, if another.")] = None,
    settings: Annotated[list[str], typer.Option("--set", help="key=value on top of the recipe; may repeat.")] = [],  # noqa: B006
    init_from: Annotated[str | None, typer.Option(help="Checkpoint to finetune, with a fresh optimiser.")] = None,
    backbone: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=PATH_OR_ID",
            help="Where a backbone of the features is, for the model to run on raw videos, if not where the data says "
            "or the public one; may repeat.",
        ),
    ] = [],  # noqa: B006
    domain: Annotated[list[str], typer.Option(help="Only this domain; may repeat.")] = [],  # noqa: B006
    resume: Annotated[bool, typer.Option(help="Go on with the run in --output, if there is one.")] = False,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="List the recipes.", is_eager=True, callback=_list_recipes)
    ] = False,
) -> None:
    """Train by recipe; see the module."""
    from accelerate import PartialState

    from videolights_hf.data import load_feature_dataset, read_backbone_checkpoints
    from videolights_hf.training import (
        domain_table,
        headline_metrics,
        load_recipe,
        metrics_table,
        train_domains,
        train_recipe,
    )

    try:
        run = load_recipe(recipe, settings)
        options = {
            "init_from": init_from,
            "eval_tables": load_feature_dataset(eval_data) if eval_data else None,
            "backbone_checkpoints": {**read_backbone_checkpoints(data), **named_checkpoints(backbone)},
        }
        tables = load_feature_dataset(data)
        if run.data.by_domain or domain:
            by_domain = train_domains(run, tables, output, domain, resume, **options)
            metrics = {name: headline_metrics(values, "eval") for name, values in by_domain.items()}
            table = domain_table(metrics, run.name)
        else:
            table = metrics_table(
                headline_metrics(train_recipe(run, tables, output, resume=resume, **options), "eval"), run.name
            )
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    if PartialState().is_main_process:
        Console().print(table)


if __name__ == "__main__":
    app()
