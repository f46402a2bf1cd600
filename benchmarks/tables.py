"""Markdown tables of metrics."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence


def table_of_means(rows: Mapping[str, Sequence[Mapping[str, float]]], head: str = "") -> str:
    """Mean and sample standard deviation over the runs of each row, which all have the same metrics.

    Args:
        rows: The metrics of each run by the row's name.
        head: What rows are.
    """
    metrics = list(next(iter(rows.values()))[0])
    lines = [f"| {head} | " + " | ".join(metrics) + " |", "|---" * (1 + len(metrics)) + "|"]
    for name, runs in rows.items():
        cells = []
        for metric in metrics:
            values = [run[metric] for run in runs]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
