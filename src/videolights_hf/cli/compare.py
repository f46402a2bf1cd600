"""`videolights compare`: metrics of runs side by side, with intervals of their differences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .runs import (
    Annotations,
    ClipSeconds,
    Data,
    Dpi,
    Runs,
    Split,
    Truth,
    Width,
    check_outputs,
    parse_runs,
    save_outputs,
)

if TYPE_CHECKING:
    from rich.table import Table

    from videolights_hf.metrics import Comparison, Difference


def compare(
    runs: Runs,
    annotations: Annotations = None,
    data: Data = None,
    split: Split = None,
    unit: Annotated[
        Literal["query", "video"],
        typer.Option(help="What the bootstrap draws: queries, or videos with all of their queries."),
    ] = "query",
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap samples.")] = 10_000,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Share of the samples inside an interval.")
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    clip_length: ClipSeconds = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Also write everything to this file.")
    ] = None,
    plot_path: Annotated[
        list[Path] | None,
        typer.Option(
            "--plot", metavar="OUT", help="Draw the differences (.png, .pdf, .svg or .jpg). Repeat for several."
        ),
    ] = None,
    width: Width = None,
    dpi: Dpi = 200,
) -> None:
    """Compare runs with the first one, query by query: all metrics, also by length of the moments.

    A NAME that is given several times is one model with several seeds, whose scores are averaged for each query.

    [bold]Examples[/bold]

        videolights compare runs/qd-detr runs/qd-detr-fra --data data/qvh --plot difference.pdf

        videolights compare base=runs/a-2018 base=runs/a-2019 FRA=runs/b-2018 FRA=runs/b-2019 --annotations val.jsonl
    """
    from rich.console import Console
    from rich.measure import Measurement

    from videolights_hf.common.files import write_json
    from videolights_hf.metrics import Bootstrap, compare_models
    from videolights_hf.training.run_folder import read_run_predictions

    if plot_path:
        check_outputs(plot_path)
    named = parse_runs(runs)
    truth = Truth.load(annotations, data, split, clip_length, [path for paths in named.values() for path in paths])
    comparison = compare_models(
        {name: [read_run_predictions(path, truth.rows, split) for path in paths] for name, paths in named.items()},
        truth.rows,
        unit=unit,
        bootstrap=Bootstrap(resamples, confidence, seed),
        clip_length=truth.clip_length,
    )
    if json_path is not None:
        write_json(json_path, comparison.to_dict())
    table = _table(comparison)
    # Wider than the terminal rather than with numbers cut off.
    wide = Console(markup=False, width=1000)
    width_of_table = Measurement.get(wide, wide.options, table).maximum
    Console(markup=False, width=max(Console().width, width_of_table)).print(table)
    Console(markup=False).print(comparison.assumptions)
    if plot_path:
        from videolights_hf.visualization.comparison import plot_comparison

        save_outputs(plot_comparison(comparison, width=width), plot_path, dpi)


def _table(comparison: Comparison) -> Table:
    from rich.table import Table

    first, *others = comparison.models
    table = Table(title=f"compared with {first}")
    table.add_column("metric (%)", no_wrap=True)
    table.add_column("queries", justify="right", no_wrap=True)
    for name, runs in zip(comparison.models, comparison.runs, strict=True):
        table.add_column(name if runs == 1 else f"{name} ({runs} runs)", justify="right", no_wrap=True)
    for name in others:
        table.add_column(name if len(others) > 1 else "difference", justify="right", no_wrap=True)
    group = ""
    for metric in comparison.metrics:
        if metric.num_queries == 0:
            continue
        kind = "-".join(metric.name.split("-")[:2])
        if group and kind != group:
            table.add_section()
        group = kind
        table.add_row(
            metric.name,
            str(metric.num_queries),
            *(f"{value:.2f}" for value in metric.values),
            *(_shown(difference) for difference in metric.differences),
        )
    return table


def _shown(difference: Difference) -> str:
    clear = "*" if difference.is_clear else " "
    return f"{difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]{clear}"
