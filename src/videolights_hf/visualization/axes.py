"""What rows of a picture over the time of a video share: their frame, names, and the axis of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..common.times import format_time
from .style import MUTED_COLOR, NAME_SIZE, TEXT_COLOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MAX_TICKS = 11


@dataclass
class Page:
    """A figure that is filled from top to bottom, in inches, so that text keeps its size whatever the number of rows.

    Attributes:
        width: Width of the figure.
        left: Left margin, which holds the names of the rows.
        right: Right margin.
        height: Height of the figure.
        top: Where the next row begins.
    """

    width: float
    left: float
    right: float
    height: float
    top: float
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(self.width, self.height), facecolor="white")

    @property
    def inner_width(self) -> float:
        """Width of the rows."""
        return self.width - self.left - self.right

    def add_row(self, height: float, duration: float) -> Axes:
        """Axes over the whole time of the video, below what is there."""
        axes = self.add_box(0.0, self.inner_width, height)
        axes.set_xlim(0, duration)
        self.top += height
        return axes

    def add_box(self, left: float, width: float, height: float) -> Axes:
        """Axes at the height of the next row, `left` inches into it."""
        return self.figure.add_axes(
            (
                (self.left + left) / self.width,
                1 - (self.top + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )

    def add_text(self, text: str, height: float, **style: object) -> None:
        """A line of text, below what is there."""
        self.figure.text(self.left / self.width, 1 - self.top / self.height, text, va="top", **style)  # type: ignore[arg-type]
        self.top += height


def name_row(axes: Axes, row: float, name: str, color: str, margin: float) -> None:
    """Write the name of a row, at height `row` in its own coordinates, into the left margin (inches)."""
    axes.annotate(
        name,
        (0, row),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-72 * margin, 0),
        textcoords="offset points",
        color=color,
        fontsize=NAME_SIZE,
        weight="bold",
        ha="left",
        va="center",
        annotation_clip=False,
    )


def draw_time_axis(axes: Axes, duration: float, max_ticks: int = MAX_TICKS, size: float = NAME_SIZE) -> None:
    """Ticks of time below a row, at most one more than `max_ticks`, in a font of this size."""
    longest = math.ceil(duration / max_ticks / 3600) * 3600
    step = next((step for step in TICK_STEPS if duration / step <= max_ticks), longest)
    times = np.arange(0, duration + step / 1000, step)
    axes.set_xticks(times, [format_time(time, decimals=int(step < 1)) for time in times])
    axes.tick_params(axis="x", labelsize=size, labelcolor=TEXT_COLOR, color=MUTED_COLOR, length=size / 2.2)


def strip_frame(axes: Axes) -> None:
    """No ticks and no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


__all__ = ["Page", "draw_time_axis", "name_row", "strip_frame"]
