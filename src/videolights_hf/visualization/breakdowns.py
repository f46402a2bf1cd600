"""Metrics by the length of moments and by where they lie, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..metrics.breakdown import RangeScore
from .grids import draw_legend, dress, legend_lines, make_grid
from .style import PAGE_WIDTH, TEXT_COLOR, require_matplotlib, series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_HEIGHT = 1.45

_KINDS = {"length": "length of the moment", "position": "place of its center in the video"}


def plot_breakdown(
    models: Mapping[str, Mapping[str, Mapping[str, Sequence[RangeScore]]]], *, width: float = PAGE_WIDTH
) -> Figure:
    """Draw metrics by range, with intervals: a column for each kind of range, a row for each metric. Below a range
    stands the number of queries.

    Args:
        models: By name of the model, what `break_down` returns.
        width: Width of the picture in inches.

    Returns:
        The figure, which belongs to no pyplot state.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no models.
    """
    require_matplotlib()
    from matplotlib.patches import Patch

    if not models:
        raise ValueError("There are no models to draw.")
    names = list(models)
    kinds = list(models[names[0]])
    metrics = list(models[names[0]][kinds[0]])
    columns = len(kinds) if width > 1.5 * len(kinds) else 1
    pairs = [(metric, kind) for metric in metrics for kind in kinds]
    figure, grid = make_grid(len(pairs), columns, width, PANEL_HEIGHT, legend_lines(names, width))
    for axes, (metric, kind) in zip(grid, pairs, strict=True):
        dress(axes, f"{metric} (%) by {_KINDS.get(kind, kind)}")
        share = 0.8 / len(names)
        for index, name in enumerate(names):
            bars, style = models[name][kind][metric], series(index)
            places = [place - 0.4 + share * (index + 0.5) for place in range(len(bars))]
            errors = [[bar.value - bar.low for bar in bars], [bar.high - bar.value for bar in bars]]
            look: dict[str, Any] = {"edgecolor": style.color, "hatch": 2 * style.hatch, "linewidth": 0.8}
            color = "white" if style.hatch else style.color
            axes.bar(
                places, [bar.value for bar in bars], width=0.9 * share, color=color, yerr=errors,
                error_kw={"elinewidth": 0.8, "capsize": 1.5, "ecolor": TEXT_COLOR}, **look,
            )  # fmt: skip
        ticks = [f"{bar.name}\n{bar.num_queries}" for bar in models[names[0]][kind][metric]]
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_ylim(0, None)
    handles = [
        Patch(
            facecolor="white" if series(index).hatch else series(index).color,
            edgecolor=series(index).color,
            hatch=2 * series(index).hatch,
        )
        for index in range(len(names))
    ]
    draw_legend(figure, handles, names, width)
    return figure


__all__ = ["plot_breakdown"]
