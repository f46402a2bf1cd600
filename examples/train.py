"""Train a model by recipe.

    python examples/train.py --recipe qvhighlights/videolights-b --data data/qvh --output runs/qvh-b
    accelerate launch --multi_gpu --num_processes 2 examples/train.py --recipe ... --set per_device_train_batch_size=16

`--data` is a feature dataset, as `examples/prepare_dataset.py` writes it. `videolights train --list` names the recipes;
those that train by domain (TVSum, YouTube Highlights) train a model for each and end with a table of domains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState
from rich.console import Console

from videolights_hf.cli.options import parse_pairs
from videolights_hf.cli.terminal import errors_as_lines, quiet_transformers
from videolights_hf.training import RunData, load_recipe, run_recipe


def main(
    recipe: Annotated[str, typer.Option(help="A packaged recipe, or your own YAML file.")],
    data: Annotated[str, typer.Option(help="Feature dataset: a folder, or a dataset on the Hub.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoints, logs, predictions and the trained model.")],
    eval_data: Annotated[str | None, typer.Option(help="Feature dataset to evaluate on, if it is another.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None,
    init_from: Annotated[str | None, typer.Option(help="Checkpoint to finetune, with a new optimizer.")] = None,
    backbone: Annotated[list[str] | None, typer.Option(metavar="NAME=PATH_OR_ID", help="Where a backbone is.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --output, if there is one.")] = False,
) -> None:
    """Train, evaluate the best checkpoint, save it, and print its metrics."""
    run = load_recipe(recipe, settings or [])
    run_data = RunData.load(data, eval_data, parse_pairs(backbone, "--backbone", "NAME=PATH_OR_ID"))
    results = run_recipe(run, run_data, output, domains=domain or [], init_from=init_from, resume=resume)
    if PartialState().is_main_process:
        Console().print(results.table())


if __name__ == "__main__":
    with errors_as_lines(), quiet_transformers():
        typer.run(main)
