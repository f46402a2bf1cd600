"""Every loss term and metric of runs, over their epochs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.values import is_number
from .grids import draw_legend, dress, legend_lines, line_handles, make_grid
from .style import MUTED_COLOR, PAGE_WIDTH, TEXT_COLOR, Series, require_matplotlib, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH, PANEL_HEIGHT = 1.75, 1.2

_EVALUATED = "eval_"
_OTHER = ("epoch", "step")
_TIMINGS = re.compile(r".*(_runtime|_per_second|_preparation_time)|total_flos|train_loss")
# A term of a decoder layer before the last, which has no number.
_LAYER = re.compile(r"(?P<term>(loss|class_error).*)_(?P<layer>\d+)")


@dataclass
class _Panel:
    """Curves of one quantity: (epochs, values) by run, in training, evaluation and earlier decoder layers."""

    training: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    evaluation: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    layers: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)


def plot_training(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    best_epochs: Mapping[str, float] | None = None,
    width: float = PAGE_WIDTH,
) -> Figure:
    """Draw every loss term and metric of runs, a panel for each.

    Of a loss term, the solid line is training (of one run; the run's own line of several), the thin dotted line evaluation,
    and the faint lines are the earlier decoder layers in training.

    Args:
        histories: By name of the run its `log_history`, as in `trainer_state.json`.
        best_epochs: Epoch of the checkpoint that was kept, by name of the run: a tick at the bottom.
        width: Width of the picture in inches.

    Returns:
        The figure, which belongs to no pyplot state.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: Nothing was logged.
    """
    require_matplotlib()
    from matplotlib.ticker import MaxNLocator

    panels = _panels(histories)
    if not panels:
        raise ValueError("The runs have logged nothing: there is no loss or metric to draw.")
    names = list(histories)
    entries = [*names, *_KEY] if len(names) > 1 else ["training", *_KEY]
    columns = max(1, round(width / PANEL_WIDTH))
    figure, grid = make_grid(len(panels), columns, width, PANEL_HEIGHT, legend_lines(entries, width))
    for axes, (name, panel) in zip(grid, panels.items(), strict=True):
        dress(axes, name)
        for index, run in enumerate(names):
            _draw_run(axes, panel, run, index)
            if best_epochs and run in best_epochs:
                axes.axvline(best_epochs[run], 0, 0.08, color=series(index).color, linewidth=1.6)
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    for axes in grid[-columns:]:
        axes.set_xlabel("epoch", fontsize=6.5, color=MUTED_COLOR, labelpad=1)
    draw_legend(figure, [*line_handles(entries[: -len(_KEY)]), *_key_handles()], entries, width)
    return figure


_KEY = ("evaluation", "earlier decoder layers", "checkpoint kept")


def _key_handles() -> list[object]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=TEXT_COLOR, linestyle=":", linewidth=1.0),
        Line2D([], [], color=TEXT_COLOR, linewidth=0.6, alpha=0.4),
        Line2D([], [], color=TEXT_COLOR, marker="|", linestyle="", markersize=5, markeredgewidth=1.6),
    ]


def _draw_run(axes: Axes, panel: _Panel, run: str, index: int) -> None:
    style = series(index)
    for epochs, values in panel.layers.get(run, []):
        axes.plot(epochs, values, color=style.color, linewidth=0.6, alpha=0.4)
    if run in panel.training:
        _draw_curve(axes, panel.training[run], style, style.line)
    if run in panel.evaluation:
        # A metric has no counterpart in training.
        _draw_curve(axes, panel.evaluation[run], style, ":" if panel.training else style.line)


def _draw_curve(axes: Axes, curve: tuple[np.ndarray, np.ndarray], style: Series, line: Any) -> None:
    # A single point has no line.
    marker = style.marker if len(curve[0]) == 1 else None
    axes.plot(*curve, color=style.color, linestyle=line, linewidth=1.2, marker=marker, markersize=3)


def _panels(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, _Panel]:
    """Loss first, then its terms, then metrics, then what the optimizer logs."""
    panels: dict[str, _Panel] = {}
    for run, history in histories.items():
        for name, (epochs, values) in _curves(history).items():
            evaluated = name.startswith(_EVALUATED)
            name = name.removeprefix(_EVALUATED)
            layer = _LAYER.fullmatch(name)
            panel = panels.setdefault(layer["term"] if layer else name, _Panel())
            if layer:
                if not evaluated:
                    panel.layers.setdefault(run, []).append((epochs, values))
            else:
                (panel.evaluation if evaluated else panel.training)[run] = (epochs, values)
    return dict(sorted(panels.items(), key=lambda item: (_rank(item[0]), item[0])))


def _rank(name: str) -> int:
    if name == "loss":
        return 0
    if name.startswith(("loss_", "saliency_", "class_error")):
        return 1
    return {"score": 2, "grad_norm": 5, "learning_rate": 5}.get(name, 4 if name.startswith("nms_") else 3)


def _curves(history: Sequence[Mapping[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    points: dict[str, dict[float, float]] = {}
    for row in history:
        epoch: Any = row.get("epoch")
        if not is_number(epoch):
            continue
        for name, value in row.items():
            if name not in _OTHER and not _TIMINGS.fullmatch(name) and is_number(value):
                # The last evaluation repeats that of the checkpoint that was kept: the first of an epoch counts.
                points.setdefault(name, {}).setdefault(float(epoch), float(value))
    return {name: (np.array(list(curve)), np.array(list(curve.values()))) for name, curve in points.items()}


__all__ = ["plot_training"]
