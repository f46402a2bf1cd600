"""`videolights train`: train a model by recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import BackboneCheckpoints, BackboneModules, Domains, FeatureData, Offline, Settings, parse_pairs
from .terminal import quiet_transformers


def _list_recipes(asked: bool) -> None:
    if asked:
        from videolights_hf.training import list_recipes, load_recipe

        for name in list_recipes():
            typer.echo(f"{name:44}{load_recipe(name).description}")
        raise typer.Exit


def train(
    recipe: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="A packaged recipe (see --list) or your own YAML file.")
    ],
    data: FeatureData,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for checkpoints, logs and the trained model.")],
    eval_data: Annotated[
        str | None,
        typer.Option(metavar="PATH_OR_ID", help="Feature dataset to evaluate on, if it is a different one."),
    ] = None,
    settings: Settings = None,
    init_from: Annotated[
        str | None, typer.Option(metavar="PATH_OR_ID", help="Checkpoint to finetune, with a new optimizer.")
    ] = None,
    backbone: BackboneCheckpoints = None,
    _backbone_module: BackboneModules = None,
    domain: Domains = None,
    _offline: Offline = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --output, if there is one.")] = False,
    _list: Annotated[
        bool, typer.Option("--list", help="List the recipes and exit.", is_eager=True, callback=_list_recipes)
    ] = False,
) -> None:
    """Train a model by recipe, evaluate the best checkpoint, and save it.

    For several devices or machines: accelerate launch -m videolights_hf train ...

    [bold]Examples[/bold]

        videolights train --recipe qvhighlights/videolights-b --data data/qvh --output runs/qvh-b

        videolights train --recipe qvhighlights/videolights-b --data data/qvh --output runs/fast --set learning_rate=2e-4
    """
    from accelerate import PartialState
    from rich.console import Console

    from videolights_hf.training import RunData, load_recipe, run_recipe

    checkpoints = parse_pairs(backbone, "--backbone", "NAME=PATH_OR_ID")
    run = load_recipe(recipe, settings or [])
    run_data = RunData.load(data, eval_data, checkpoints)
    with quiet_transformers():
        results = run_recipe(run, run_data, output, domains=domain or [], init_from=init_from, resume=resume)
    if PartialState().is_main_process:
        Console().print(results.table())
