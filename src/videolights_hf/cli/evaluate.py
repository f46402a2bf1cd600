"""`videolights evaluate`: predict a split with a model and score it, or score a file of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Domains, Offline
from .terminal import quiet_transformers

if TYPE_CHECKING:
    from rich.table import Table


_MODEL, _FILE = "Of a model", "Of a file of predictions"
_MOMENT_RANGES = ("full", "short", "middle", "long")


def evaluate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_OR_FILE", help="A model folder or its id on the Hub, or a file of predictions to score."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="PATH_OR_ID", help="With a model: feature dataset, a folder or a Hub dataset."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="With a file of predictions: the annotations of the same queries."),
    ] = None,
    domain: Domains = None,
    _offline: Offline = False,
    split: Annotated[
        str | None, typer.Option(rich_help_panel=_MODEL, help="Split to predict. Default: val.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel=_MODEL, help="Folder for the files. Default: the model's folder."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE", rich_help_panel=_MODEL, help="Recipe to evaluate by. Default: the model's own."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=_MODEL,
            help="Change a setting of the recipe. Repeat for several.",
        ),
    ] = None,
    json_path: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="OUT",
            rich_help_panel=_FILE,
            help="Also write every metric to this file; - prints them instead of the tables.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_FILE,
            help="How to score: qvhighlights, moment_retrieval, highlight_detection, tvsum or youtube_highlights. "
            "Default: decided by the fields of the annotations.",
        ),
    ] = None,
    clip_length: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            rich_help_panel=_FILE,
            help="Seconds per clip of the annotations' highlights. Default: 2.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            rich_help_panel=_FILE,
            help="Fail if a query has no prediction, or a prediction no query.",
        ),
    ] = False,
) -> None:
    """Evaluate a model on a split of a dataset, or score a file of predictions.

    With a model, writes SPLIT_predictions.jsonl in the published submission format. If the split has labels, also prints
    the metrics and writes SPLIT_metrics.json. A folder with a model for each domain is evaluated domain by domain.

    [bold]Examples[/bold]

        videolights evaluate runs/qvh-b --data data/qvh --split val

        videolights evaluate predictions.jsonl --annotations highlight_val_release.jsonl --json metrics.json
    """
    of_model = {"--split": split, "--output": output, "--recipe": recipe, "--set": settings}
    of_file = {"--json": json_path, "--dataset": dataset, "--clip-length": clip_length, "--strict": strict or None}
    if (data is None) == (annotations is None):
        raise typer.BadParameter("give --data to evaluate a model, or --annotations to score a file of predictions")
    if data is not None:
        _refuse(of_file, "with a model: it scores files of predictions")
        _evaluate_model(source, data, split or "val", output, recipe, settings or [], domain or [])
    elif annotations is not None:
        _refuse(of_model, "with a file of predictions: it is for models")
        if domain and len(domain) > 1:
            raise typer.BadParameter(
                "name one domain of a file of predictions, or none for all", param_hint="--domain"
            )
        scoring = {"dataset": dataset, "domain": domain[0] if domain else None, "clip_length": clip_length or 2.0}
        _score_file(Path(source), annotations, json_path, strict, scoring)


def _refuse(options: dict[str, Any], reason: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise typer.BadParameter(f"not {reason}", param_hint=given)


def _evaluate_model(
    checkpoint: str,
    data: str,
    split: str,
    output: Path | None,
    recipe: str | None,
    settings: list[str],
    domains: list[str],
) -> None:
    from accelerate import PartialState
    from rich.console import Console

    from videolights_hf.data import load_feature_dataset
    from videolights_hf.training import evaluate_run, load_recipe, recipe_of_checkpoint

    if output is None and not Path(checkpoint).is_dir():
        raise typer.BadParameter(f"{checkpoint} is not a folder to write to: name one", param_hint="--output")
    run = load_recipe(recipe, settings) if recipe else recipe_of_checkpoint(checkpoint, settings)
    folder = output or Path(checkpoint)
    with quiet_transformers():
        results = evaluate_run(checkpoint, load_feature_dataset(data), split, folder, run, domains)
    if PartialState().is_main_process:
        Console().print(results.table())
        typer.echo(f"Wrote the predictions to {folder}")


def _score_file(
    predictions: Path, annotations: Path, json_path: str | None, strict: bool, scoring: dict[str, Any]
) -> None:
    import json

    from rich.console import Console

    from videolights_hf.common.files import write_json
    from videolights_hf.metrics import evaluate_predictions, read_json_lines

    results = evaluate_predictions(read_json_lines(predictions), read_json_lines(annotations), **scoring)
    if json_path == "-":
        typer.echo(json.dumps(results, indent=1, allow_nan=False))
    else:
        if json_path is not None:
            write_json(json_path, results)
        console = Console(markup=False)
        for table in _tables(results):
            console.print(table)
    if strict and "unmatched" in results:
        raise ValueError("the ids of predictions and annotations do not match (--strict)")


def _tables(results: dict[str, dict]) -> list[Table]:
    """A table for each kind of result: moment retrieval, highlight detection, domains."""
    tables = []
    if "full" in results:
        columns = ("mAP", "mAP@0.5", "mAP@0.75", "R1@0.3", "R1@0.5", "R1@0.7", "mIoU")
        table = _new_table("Moment retrieval (%)", "moments", columns)
        for name in _MOMENT_RANGES:
            metrics = results[name]
            mean_ap, recall = metrics["MR-mAP"], metrics["MR-R1"]
            values = [mean_ap["average"], mean_ap["0.5"], mean_ap["0.75"], *(recall[t] for t in ("0.3", "0.5", "0.7"))]
            table.add_row(name, *(f"{value:.2f}" for value in (*values, metrics["MR-mIoU"])))
        tables.append(table)
    levels = {name: metrics for name, metrics in results.items() if name.startswith("HL-min-")}
    if levels:
        table = _new_table("Highlight detection (%)", "level", ("mAP", "HIT@1"))
        for name, metrics in levels.items():
            table.add_row(name.removeprefix("HL-min-"), f"{metrics['HL-mAP']:.2f}", f"{metrics['HL-Hit1']:.2f}")
        tables.append(table)
    for dataset, label in (("tvsum", "top-5 mAP"), ("youtube_highlights", "mAP")):
        if dataset in results:
            table = _new_table(f"{dataset} (%)", "domain", (label,))
            for name, value in results[dataset].items():
                table.add_row(name, f"{100 * value:.2f}")
            table.add_section()
            table.add_row("mean", f"{100 * results['brief']['HL-mAP']:.2f}")
            tables.append(table)
    return tables


def _new_table(title: str, first_column: str, columns: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    table.add_column(first_column)
    for column in columns:
        table.add_column(column, justify="right")
    return table
