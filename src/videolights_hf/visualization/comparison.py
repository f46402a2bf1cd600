"""Differences between models, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..metrics.comparison import Comparison
from .grids import draw_legend, dress, legend_lines
from .style import COLUMN_WIDTH, GRID_COLOR, MUTED_COLOR, PAGE_WIDTH, SMALL_PRINT_SIZE, require_matplotlib, series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW_HEIGHT, MODEL_HEIGHT = 0.09, 0.085


def plot_comparison(
    comparison: Comparison, *, metrics: Sequence[str] | None = None, width: float | None = None
) -> Figure:
    """Draw by how much models differ from the first one: a row for each metric, a point with its interval for each model.

    A filled point has an interval without zero.

    Args:
        comparison: From `compare_models`.
        metrics: Names of the rows; by default all metrics with queries.
        width: Width of the picture in inches; by default a journal's column for two models.

    Returns:
        The figure, which belongs to no pyplot state.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: None of the metrics is there.
    """
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.lines import Line2D

    rows = [row for row in comparison.metrics if (row.name in metrics if metrics is not None else row.num_queries)]
    if not rows:
        raise ValueError(
            f"There is nothing to draw: the comparison has {', '.join(r.name for r in comparison.metrics)}."
        )
    baseline, models = comparison.models[0], comparison.models[1:]
    width = width or (COLUMN_WIDTH if len(models) == 1 else min(PAGE_WIDTH, 4.5))
    lines = legend_lines(models, width) if len(models) > 1 else 0
    height = (ROW_HEIGHT + MODEL_HEIGHT * len(models)) * len(rows) + 0.62 + 0.17 * lines
    layout = ConstrainedLayoutEngine(rect=(0, 0.17 * lines / height, 1, 1 - 0.17 * lines / height))
    figure = Figure(figsize=(width, height), facecolor="white", layout=layout)
    axes = figure.subplots()
    title = f"{models[0]} less {baseline}" if len(models) == 1 else f"difference to {baseline}"
    dress(axes, f"{title} (percent points)")
    for place, metric in enumerate(rows):
        for index, difference in enumerate(metric.differences):
            style = series(index)
            y = place + 0.5 + (index - (len(models) - 1) / 2) * 0.8 / len(models)
            axes.plot([difference.low, difference.high], [y, y], color=style.color, linewidth=1.1)
            axes.plot(
                [difference.value], [y], marker=style.marker, markersize=3.6, color=style.color, markeredgewidth=0.9,
                markerfacecolor=style.color if difference.is_clear else "white",
            )  # fmt: skip
        if place % 2:
            axes.axhspan(place, place + 1, color=GRID_COLOR, alpha=0.35, linewidth=0, zorder=0)
    axes.axvline(0, color=MUTED_COLOR, linewidth=0.8)
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([place + 0.5 for place in range(len(rows))], [row.name for row in rows], fontsize=SMALL_PRINT_SIZE)
    axes.grid(False, axis="y")
    axes.grid(axis="x", color=GRID_COLOR, linewidth=0.5)
    axes.tick_params(axis="y", length=0)
    if len(models) > 1:
        handles = [
            Line2D([], [], color=series(i).color, marker=series(i).marker, markersize=3.6) for i in range(len(models))
        ]
        draw_legend(figure, handles, list(models), width)
    return figure


__all__ = ["plot_comparison"]
