"""`videolights evaluate-checkpoint`: predict a split with a trained model, and score it where it has labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Domains, FeatureData, Settings
from .terminal import quiet_transformers


def evaluate_checkpoint(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A model folder, or its id on the Hub.")],
    data: FeatureData,
    split: Annotated[str, typer.Option(help="Split to predict.")] = "val",
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the files. Default: the checkpoint's.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_FILE", help="Recipe to evaluate by. Default: the checkpoint's own."),
    ] = None,
    domain: Domains = None,
    settings: Settings = None,
) -> None:
    """Predict a split with a trained model.

    Writes SPLIT_predictions.jsonl in the published submission format. If the split has labels, also prints the metrics
    and writes SPLIT_metrics.json. A folder with a model for each domain is evaluated domain by domain.

    [bold]Example[/bold]

        videolights evaluate-checkpoint runs/qvh-b --data data/qvh --split val
    """
    from accelerate import PartialState
    from rich.console import Console

    from videolights_hf.data import load_feature_dataset
    from videolights_hf.training import evaluate_run, load_recipe, recipe_of_checkpoint

    run = load_recipe(recipe, settings or []) if recipe else recipe_of_checkpoint(checkpoint, settings or [])
    if output is None and not Path(checkpoint).is_dir():
        raise typer.BadParameter(f"{checkpoint} is not a folder to write to: name one", param_hint="--output")
    folder = output or Path(checkpoint)
    with quiet_transformers():
        results = evaluate_run(checkpoint, load_feature_dataset(data), split, folder, run, domain or [])
    if PartialState().is_main_process:
        Console().print(results.table())
        typer.echo(f"Wrote the predictions to {folder}")
