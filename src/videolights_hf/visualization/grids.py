"""Small panels in a grid, with one legend, at sizes for print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .style import GRID_COLOR, MUTED_COLOR, PRINT_SIZE, SMALL_PRINT_SIZE, TEXT_COLOR, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
LEGEND_LINE = 0.17


def make_grid(
    num_panels: int, columns: int, width: float, panel_height: float, legend_lines: int
) -> tuple[Figure, list[Axes]]:
    """A figure with panels from left to right and top to bottom, and room for a legend below.

    Args:
        num_panels: How many panels.
        columns: Panels side by side.
        width: Inches.
        panel_height: Inches, with title and ticks.
        legend_lines: Lines of the legend.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = -(-num_panels // columns)
    legend = LEGEND_LINE * legend_lines + 0.05
    height = rows * panel_height + legend
    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, rect=(0, legend / height, 1, 1 - legend / height))
    figure = Figure(figsize=(width, height), facecolor="white", layout=layout)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[num_panels:]:
        axes.set_visible(False)
    return figure, list(grid[:num_panels])


def dress(axes: Axes, title: str) -> None:
    """Title, light frame and grid of a panel."""
    axes.set_title(title, fontsize=PRINT_SIZE, color=TEXT_COLOR, pad=3)
    axes.tick_params(labelsize=SMALL_PRINT_SIZE, labelcolor=TEXT_COLOR, color=MUTED_COLOR, length=2, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED_COLOR)
    axes.spines[:].set_linewidth(0.6)
    axes.grid(axis="y", color=GRID_COLOR, linewidth=0.5)
    axes.set_axisbelow(True)


def legend_lines(names: Sequence[str], width: float) -> int:
    """How many lines a legend takes."""
    from .text import text_width

    used, lines = 0.0, 1
    for name in names:
        entry = 0.5 + text_width(name, PRINT_SIZE) / 72
        if used and used + entry > width:
            used, lines = 0.0, lines + 1
        used += entry
    return lines


def draw_legend(figure: Figure, handles: Sequence[object], names: Sequence[str], width: float) -> None:
    """A legend below the panels."""
    lines = legend_lines(names, width)
    figure.legend(
        handles=list(handles),
        labels=list(names),
        loc="lower center",
        ncols=-(-len(names) // lines),
        fontsize=PRINT_SIZE,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.2,
        borderaxespad=0.1,
    )


def line_handles(names: Sequence[str]) -> list[object]:
    """Samples of the lines of runs, for a legend."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=series(index).color, linestyle=series(index).line, linewidth=1.3)
        for index in range(len(names))
    ]


__all__ = ["draw_legend", "dress", "legend_lines", "line_handles", "make_grid"]
