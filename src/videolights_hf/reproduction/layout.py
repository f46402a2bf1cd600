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
    value, and ours less the paper's. Of rows that are to be compared, also the mean difference over the seeds that both
    have, and its standard error.

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
        "differences": _differences(plan, rows),
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
    if content["differences"]:
        lines += ["", "**Differences, seed by seed, ± standard error of their mean**", ""]
        lines += [_line(["row", "", "seeds", *columns]), _line(["---"] * 3 + ["---:"] * len(columns))]
        for difference in content["differences"]:
            lines += _difference_lines(difference, columns)
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


def _differences(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with an `against` that share seeds with it."""
    by_id = {row["id"]: row for row in rows}
    found = []
    for paper_row in plan.table.rows:
        row, base = by_id.get(paper_row.id), by_id.get(paper_row.against or "")
        if row is None or base is None:
            continue
        others = {run["seed"]: run["metrics"] for run in base["runs"]}
        pairs = [(run["metrics"], others[run["seed"]]) for run in row["runs"] if run["seed"] in others]
        if pairs:
            columns = plan.table.columns
            ours = {name: _paired([first[name] - second[name] for first, second in pairs]) for name in columns}
            paper = _paper_difference(row["paper"], base["paper"])
            names = {"row": row["name"], "against": base["name"], "id": row["id"]}
            found.append({**names, "seeds": len(pairs), "ours": ours, "paper": paper})
    return found


def _paired(values: Sequence[float]) -> dict[str, float | None]:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {"mean": statistics.mean(values), "standard_error": error}


def _paper_difference(row: Mapping[str, Any] | None, base: Mapping[str, Any] | None) -> dict[str, float | None] | None:
    if not row or not base:
        return None
    return {name: None if None in (row[name], base[name]) else row[name] - base[name] for name in row}


def _difference_lines(difference: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    cells = []
    for column in columns:
        summary = difference["ours"][column]
        error = "" if summary["standard_error"] is None else f" ± {summary['standard_error']:.2f}"
        cells.append(f"{summary['mean']:+.2f}{error}")
    name = f"{difference['row']} less {difference['against']}"
    lines = [_line([name, "ours", str(difference["seeds"]), *cells])]
    if difference["paper"]:
        values = [difference["paper"][column] for column in columns]
        lines.append(_line(["", "paper", "", *("" if value is None else f"{value:+.2f}" for value in values)]))
    return lines


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
