"""Moments and highlights as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from videolights_hf.inference.moments import MomentResult

# A sentence is printed to here.
MAX_TITLE = 500


def print_tables(results: Sequence[MomentResult]) -> None:
    """Print the moments and highlights of each sentence, and a note where nothing is sure."""
    from rich.console import Console
    from rich.text import Text

    from videolights_hf.inference.moments import low_score_note

    console = Console()
    for result in results:
        console.print(Text(result["query"][:MAX_TITLE], style="bold"))
        table = _table(result)
        if table.rows:
            console.print(table)
        note = low_score_note(result["moments"]) or (None if result["moments"] else "No moment found.")
        if note:
            console.print(Text(note, style="italic"), end="\n\n")


def _table(result: MomentResult) -> Table:
    from rich import box
    from rich.table import Table

    from videolights_hf.common.times import format_time
    from videolights_hf.inference.highlights import find_highlights
    from videolights_hf.results.answers import sure_moments

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "start", "end", "score"):
        table.add_column(column, justify="right")

    def add(name: str, span: Any, score: str) -> None:
        table.add_row(name, *(format_time(span[bound], decimals=1) for bound in ("start", "end")), score)

    for rank, moment in enumerate(sure_moments(result), start=1):
        add(f"moment {rank}", moment, f"{moment['score']:.2f}")
    if table.rows:
        table.add_section()
    for rank, highlight in enumerate(find_highlights(result), start=1):
        add(f"highlight {rank}", highlight, "")
    return table
