"""Evaluate a trained checkpoint, or make a submission for a test split without labels.

    python examples/evaluate.py runs/qvh-b --data qvhighlights_features --split val
    python examples/evaluate.py runs/tvsum --data tvsum_features --split val

Writes `{split}_predictions.jsonl` in the published submission format and, where the split has labels, prints the
metrics and writes `{split}_metrics.json`. A folder of `train.py` with a model for each domain is evaluated domain by
domain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint: a folder, or a repository on the Hub.")],
    data: Annotated[str, typer.Option(help="Feature dataset: a folder, or a dataset repository on the Hub.")],
    split: Annotated[str, typer.Option(help="Split to predict.")] = "val",
    output: Annotated[Path | None, typer.Option(help="Folder for the files; by default the checkpoint's.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe to evaluate by; by default the checkpoint's own.")] = None,
    domain: Annotated[list[str], typer.Option(help="Only this domain; may repeat.")] = [],  # noqa: B006
    settings: Annotated[list[str], typer.Option("--set", help="key=value on top of the recipe; may repeat.")] = [],  # noqa: B006
) -> None:
    """Evaluate a checkpoint; see the module."""
    from accelerate import PartialState

    from videolights_hf.data import load_feature_dataset
    from videolights_hf.training import (
        domain_table,
        evaluate_checkpoint,
        evaluate_domains,
        headline_metrics,
        load_recipe,
        metrics_table,
        recipe_of_checkpoint,
    )

    try:
        run = load_recipe(recipe, settings) if recipe else recipe_of_checkpoint(checkpoint, settings)
        tables = load_feature_dataset(data)
        folder = output or Path(checkpoint)
        if run.data.by_domain:
            by_domain = evaluate_domains(checkpoint, tables, split, folder, run, domain)
            table = domain_table({name: headline_metrics(row, split) for name, row in by_domain.items()}, split)
        else:
            metrics = evaluate_checkpoint(checkpoint, tables, split, folder, run)
            table = metrics_table(headline_metrics(metrics, split), split)
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    if PartialState().is_main_process:
        Console().print(table)
        print(f"Predictions: {folder}")


if __name__ == "__main__":
    app()
