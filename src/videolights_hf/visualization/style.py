"""Colors and sizes that all pictures share."""

from __future__ import annotations

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

__all__ = [
    "GRID_COLOR",
    "LABEL_SIZE",
    "MOMENT_COLOR",
    "MUTED_COLOR",
    "NAME_SIZE",
    "NOTE_SIZE",
    "SALIENCY_COLOR",
    "TEXT_COLOR",
    "TITLE_SIZE",
    "TRUTH_COLOR",
]
