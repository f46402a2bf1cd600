"""`videolights evaluate`: score a prediction file against a ground-truth file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table


_MOMENT_RANGES = ("full", "short", "middle", "long")


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS.jsonl", help="Predictions in the published submission format.")
    ],
    ground_truth: Annotated[
        Path, typer.Argument(metavar="GROUND_TRUTH.jsonl", help="Annotations of the same queries.")
    ],
    json_path: Annotated[
        str | None,
        typer.Option(
            "--json", metavar="OUT", help="Also write every metric to this file; - prints them instead of the tables."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="How to score: qvhighlights, moment_retrieval, highlight_detection, tvsum or youtube_highlights. "
            "Default: decided by the fields of the ground truth."
        ),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain (TVSum, YouTube Highlights).")] = None,
    clip_length: Annotated[
        float, typer.Option(min=0.01, help="Seconds per clip of the annotations' highlights.")
    ] = 2.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if a query has no prediction, or a prediction no query.")
    ] = False,
) -> None:
    """Score predictions: moment retrieval (mAP, R1, mIoU) and highlight detection (mAP, HIT@1).

    [bold]Example[/bold]

        videolights evaluate predictions.jsonl highlight_val_release.jsonl --json metrics.json
    """
    import json

    from rich.console import Console

    from videolights_hf.common.files import write_json
    from videolights_hf.metrics import evaluate_predictions, read_json_lines

    results = evaluate_predictions(
        read_json_lines(predictions),
        read_json_lines(ground_truth),
        dataset=dataset,
        domain=domain,
        clip_length=clip_length,
    )
    if json_path == "-":
        typer.echo(json.dumps(results, indent=1, allow_nan=False))
    else:
        if json_path is not None:
            write_json(json_path, results)
        console = Console(markup=False)
        for table in _tables(results):
            console.print(table)
    if strict and "unmatched" in results:
        raise ValueError("the ids of predictions and ground truth do not match (--strict)")


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
