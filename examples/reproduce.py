"""Train the rows of a table of the paper and lay them out beside its numbers.

    python examples/reproduce.py vi --data data/qvh --output reproduction
    accelerate launch --multi_gpu --num_processes 2 examples/reproduce.py vi --data data/qvh --output reproduction

`videolights reproduce` is the same with more options; docs/reproducing.md goes from downloads to every table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState

from videolights_hf.cli.terminal import errors_as_lines, quiet_transformers
from videolights_hf.reproduction import load_data, load_table, make_plan, reproduce


def main(
    table: Annotated[str, typer.Argument(help="ii to viii, or figure-7-qvhighlights, figure-7-charades-sta.")],
    data: Annotated[list[str], typer.Option(metavar="[NAME=]PATH", help="Feature dataset. Repeat for several.")],
    output: Annotated[Path, typer.Option(help="Folder for runs and tables.")],
    seed: Annotated[list[int] | None, typer.Option(help="Seed of every row. Repeat for several.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None,
) -> None:
    """Train what is missing, and write the table."""
    paper_table = load_table(table)
    plan = make_plan(
        paper_table,
        load_data(data, paper_table.data),
        seeds=seed or [],
        settings=settings or [],
    )
    path = reproduce(plan, output)
    if PartialState().is_main_process:
        print(f"Wrote {path}")


if __name__ == "__main__":
    with errors_as_lines(), quiet_transformers():
        typer.run(main)
