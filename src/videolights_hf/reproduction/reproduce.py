"""A whole command: train what a table lacks, and lay it out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from accelerate import PartialState

from ..common.locks import FolderInUseError
from .layout import table_content, write_table
from .plan import Plan
from .runs import PlannedRun, finished_metrics, from_main_process, train_run
from .scoring import score_run


def reproduce(plan: Plan, output: str | Path, report: Callable[[str], None] = print) -> Path:
    """Train the runs of a plan that are not there yet, resume those that were interrupted, and write the table.

    The table is written anew after every run, so that what there is can be read. Several of these commands may share an
    output folder: a run that another one trains is left to it.

    Args:
        plan: From `make_plan`.
        output: Holds a folder for each run, which other tables share, and the tables.
        report: Called with a line of progress at a time, by the main process.

    Returns:
        The Markdown file; a JSON file lies beside it.

    Raises:
        ValueError: See `run_recipe`.
        OSError: See `run_recipe`.
    """
    output = Path(output)
    main = PartialState().is_main_process
    tell = report if main else lambda _: None
    for number, run in enumerate(plan.runs, 1):
        tell(f"run {number} of {len(plan.runs)}: {run.recipe.name}, seed {run.seed} ({run.key})")
        if not _carry_out(run, plan, output):
            tell("  another process trains it, or what it starts from; run the command again when that has ended")
        if main:
            write_table(table_content(plan, output), output)
    return output / f"{plan.table.key}.md"


def _carry_out(run: PlannedRun, plan: Plan, output: Path) -> bool:
    """Train and score a run, unless another process is at it."""
    if run.after is not None and from_main_process(finished_metrics(run.after, output) is None):
        return False
    try:
        train_run(run, output)
    except FolderInUseError:
        return False
    if any(run.key == other.key for runs in plan.runs_of.values() for other in runs):
        score_run(run, plan.table.split, output)
    return True
