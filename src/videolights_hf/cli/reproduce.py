"""`videolights reproduce`: the paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Settings
from .terminal import quiet_transformers


def _list_tables(asked: bool) -> None:
    if asked:
        from videolights_hf.reproduction import list_tables, load_table

        for name in list_tables():
            table = load_table(name)
            typer.echo(f"{name:24}{table.title}")
            typer.echo(f"{'':24}rows: {', '.join(row.id for row in table.trained_rows)}")
        raise typer.Exit


def reproduce(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="ii to viii, or figure-7-... (see --list).")],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]PATH_OR_ID",
            help="Feature dataset of the table. Pretrained rows also need blip= or asr=, and qvhighlights=. "
            "Repeat for several.",
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for runs, which tables share, and tables.")],
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Train every row with this seed. Repeat for several. Default: each recipe's own."),
    ] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only this row (see --list). Repeat for several.")] = None,
    settings: Settings = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the runs and how long they take here, by a few measured steps.")
    ] = False,
    _list: Annotated[
        bool,
        typer.Option("--list", help="List tables and rows, and exit.", is_eager=True, callback=_list_tables),
    ] = False,
) -> None:
    """Train the rows of a table of the paper, and lay them out beside its numbers.

    Runs that are there are kept, interrupted ones resumed. For several devices: accelerate launch -m videolights_hf
    reproduce ... The table is written to TABLE.md and TABLE.json in --output.

    [bold]Examples[/bold]

        videolights reproduce vi --data data/qvh --output reproduction --dry-run

        videolights reproduce v --data data/qvh --data blip=data/blip --data asr=data/asr --output reproduction
    """
    from accelerate import PartialState

    from videolights_hf.reproduction import describe_plan, load_data, load_table, make_plan
    from videolights_hf.reproduction import reproduce as train_and_write

    paper_table = load_table(table)
    with quiet_transformers():
        plan = make_plan(
            paper_table,
            load_data(data, paper_table.data),
            rows=row or [],
            seeds=seed or [],
            settings=settings or [],
        )
        if dry_run:
            for line in describe_plan(plan, output):
                if PartialState().is_main_process:
                    typer.echo(line)
            return
        path = train_and_write(plan, output, typer.echo)
    if PartialState().is_main_process:
        typer.echo(path.read_text(encoding="utf-8"))
        typer.echo(f"Wrote {path} and {path.with_suffix('.json').name}")
