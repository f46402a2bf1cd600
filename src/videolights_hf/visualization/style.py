"""Colors, lines and sizes that all pictures share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# The colors of Okabe and Ito: distinguishable with every kind of color blindness, and by brightness in print.
MOMENT_COLOR = "#D55E00"
TRUTH_COLOR = "#009E73"
SALIENCY_COLOR = "#0072B2"
TEXT_COLOR = "#222222"
MUTED_COLOR = "#6B6B6B"
GRID_COLOR = "#DDDDDD"

# In points.
TITLE_SIZE = 11.0
NAME_SIZE = 9.0
LABEL_SIZE = 8.5
NOTE_SIZE = 8.5
# Of figures for papers, which are printed at the size that they are drawn in.
PRINT_SIZE = 7.5
SMALL_PRINT_SIZE = 6.5

# In inches: a column and a page of two-column journals.
COLUMN_WIDTH, PAGE_WIDTH = 3.5, 7.16


@dataclass(frozen=True)
class Series:
    """How one of several models or runs is drawn: told apart by color, and in gray print by line and hatching."""

    color: str
    line: Literal["-"] | tuple[float, tuple[float, ...]]
    hatch: str
    marker: str


# Without green, which is the truth's.
_SERIES = (
    Series("#0072B2", "-", "", "o"),
    Series("#D55E00", (0, (4, 1.5)), "////", "s"),
    Series("#CC79A7", (0, (1, 1)), "....", "^"),
    Series("#E69F00", (0, (5, 1, 1, 1)), "xxxx", "D"),
    Series("#56B4E9", (0, (8, 2)), "----", "v"),
    Series("#000000", (0, (3, 1, 1, 1, 1, 1)), "++++", "P"),
)


def series(index: int) -> Series:
    """How the model or run of this number is drawn; after six they repeat."""
    return _SERIES[index % len(_SERIES)]


def require_matplotlib() -> None:
    """Check that pictures can be drawn.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "videolights-hf[viz]".') from error


__all__ = [
    "COLUMN_WIDTH",
    "GRID_COLOR",
    "LABEL_SIZE",
    "MOMENT_COLOR",
    "MUTED_COLOR",
    "NAME_SIZE",
    "NOTE_SIZE",
    "PAGE_WIDTH",
    "PRINT_SIZE",
    "SALIENCY_COLOR",
    "SMALL_PRINT_SIZE",
    "TEXT_COLOR",
    "TITLE_SIZE",
    "TRUTH_COLOR",
    "Series",
    "require_matplotlib",
    "series",
]
