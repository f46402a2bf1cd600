"""A table as JSON and Markdown: ours, the paper's row beside it, and the distance."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.files import write_json, write_text
from .plan import Plan
from .runs import RUNS_FOLDER, PlannedRun
from .scoring import split_metrics
from .tables import PaperRow


def table_content(plan: Plan, output: Path) -> dict[str, Any]:
    """What is known of a table, as JSON content.

    Of each column: mean and sample standard deviation (from two seeds on) over the seeds that have ended, the paper's
    value, and ours less the paper's.

    Args:
        plan: The runs that it needs.
        output: Where they lie.
    """
    table = plan.table
    rows = [
        {"block": title, **_row_content(row, plan, output)}
        for title, block in table.blocks
        for row in block
        if row.recipe is None or row.id in plan.runs_of or row.id in plan.left_out
    ]
    return {
        "table": table.key,
        "title": table.title,
        "split": table.split,
        "columns": list(table.columns),
        "metrics": list(table.columns.values()),
        "rows": rows,
        "notes": list(table.notes),
    }


def write_table(content: Mapping[str, Any], output: Path) -> None:
    """Write `{table}.json` and `{table}.md`."""
    write_json(output / f"{content['table']}.json", content)
    write_text(output / f"{content['table']}.md", to_markdown(content))


def to_markdown(content: Mapping[str, Any]) -> str:
    """A table with up to three lines for each row: ours, the paper's, the distance."""
    columns = content["columns"]
    lines = [f"# {content['title']}", "", "In percent; ours is the mean over seeds ± their sample standard deviation."]
    for title in dict.fromkeys(row["block"] for row in content["rows"]):
        head = ["row", "", "seeds", *columns]
        lines += ["", f"**{title}**", "", _line(head), _line(["---"] * 3 + ["---:"] * len(columns))]
        for row in content["rows"]:
            if row["block"] == title:
                lines += _row_lines(row, columns)
    left_out = [f"{row['name']}: {row['left_out']}" for row in content["rows"] if row.get("left_out")]
    notes = [*content["notes"], *(f"Not run. {reason}" for reason in left_out)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]).rstrip() + "\n"


def _row_content(row: PaperRow, plan: Plan, output: Path) -> dict[str, Any]:
    content: dict[str, Any] = {"id": row.id, "name": row.name, "recipe": row.recipe}
    columns = plan.table.columns
    paper = dict(zip(columns, row.paper)) if row.paper is not None else None
    if row.id in plan.left_out:
        content["left_out"] = plan.left_out[row.id]
    runs = [(run, split_metrics(run, plan.table.split, output)) for run in plan.runs_of.get(row.id, ())]
    values = [(run, {name: metrics[key] for name, key in columns.items()}) for run, metrics in runs if metrics]
    content["runs"] = [_run_content(run, metrics) for run, metrics in values]
    ours = {name: _summary([metrics[name] for _, metrics in values]) for name in columns} if values else None
    content["ours"], content["paper"] = ours, paper
    content["distance"] = _distance(ours, paper) if ours and paper else None
    return content


def _run_content(run: PlannedRun, metrics: Mapping[str, float]) -> dict[str, Any]:
    return {"seed": run.seed, "folder": f"{RUNS_FOLDER}/{run.key}", "metrics": dict(metrics)}


def _summary(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else None}


def _distance(ours: Mapping[str, Any], paper: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else ours[name]["mean"] - value for name, value in paper.items()}


def _row_lines(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    lines, name = [], row["name"]
    if row["ours"]:
        cells = [_mean_and_std(row["ours"][column]) for column in columns]
        lines.append(_line([name, "ours", str(len(row["runs"])), *cells]))
    elif row["recipe"]:
        lines.append(_line([name, "ours", "0", *[""] * len(columns)]))
    if row["paper"]:
        cells = ["" if row["paper"][column] is None else f"{row['paper'][column]:.2f}" for column in columns]
        lines.append(_line(["" if lines else name, "paper", "", *cells]))
    if row["distance"]:
        cells = ["" if row["distance"][column] is None else f"{row['distance'][column]:+.2f}" for column in columns]
        lines.append(_line(["", "distance", "", *cells]))
    return lines


def _mean_and_std(summary: Mapping[str, float | None]) -> str:
    spread = "" if summary["std"] is None else f" ± {summary['std']:.2f}"
    return f"{summary['mean']:.2f}{spread}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
