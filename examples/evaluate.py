"""Evaluate a trained checkpoint, or make predictions for a test split without labels.

    python examples/evaluate.py runs/qvh-b --data data/qvh --split val

Writes `{split}_predictions.jsonl` in the published submission format and, where the split has labels, prints the
metrics and writes `{split}_metrics.json`. A folder with a model for each domain is evaluated domain by domain. Of a model
on the Hub, name the folder for the files with `--output`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState
from rich.console import Console

from videolights_hf.cli.terminal import errors_as_lines, quiet_transformers
from videolights_hf.data import load_feature_dataset
from videolights_hf.training import evaluate_run, recipe_of_checkpoint


def main(
    checkpoint: Annotated[str, typer.Argument(help="A folder that training wrote, or its id on the Hub.")],
    data: Annotated[str, typer.Option(help="Feature dataset: a folder, or a dataset on the Hub.")],
    split: Annotated[str, typer.Option(help="Split to predict.")] = "val",
    output: Annotated[Path | None, typer.Option(help="Folder for the files. Default: the checkpoint's.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None,
) -> None:
    """Predict a split, and print the metrics where it has labels."""
    if output is None and not Path(checkpoint).is_dir():
        raise typer.BadParameter(f"{checkpoint} is not a folder to write to: name one", param_hint="--output")
    recipe = recipe_of_checkpoint(checkpoint, settings or [])
    folder = output or Path(checkpoint)
    results = evaluate_run(checkpoint, load_feature_dataset(data), split, folder, recipe, domain or [])
    if PartialState().is_main_process:
        Console().print(results.table())
        print(f"Predictions: {folder}")


if __name__ == "__main__":
    with errors_as_lines(), quiet_transformers():
        typer.run(main)
