"""Figures to files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.files import written_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_FORMATS = (".jpg", ".pdf", ".png", ".svg")


def check_picture_path(path: str | PathLike[str]) -> None:
    """Check, before the long work, that a figure can be written to a path; its folder is made.

    Raises:
        ValueError: The ending is none of a picture's.
    """
    if Path(path).suffix.lower() not in PICTURE_FORMATS:
        raise ValueError(f"{path}: choose one of {', '.join(PICTURE_FORMATS)}")
    Path(path).parent.mkdir(parents=True, exist_ok=True)


def save_figure(figure: Figure, path: str | PathLike[str], dpi: float = 150) -> None:
    """Write a figure whole or not at all, in the format of the ending; text stays text in PDF and SVG.

    Raises:
        OSError: The file cannot be written.
    """
    import matplotlib

    picture_format = Path(path).suffix[1:].lower()
    # Equal figures make equal files.
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(picture_format)
    fonts: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "videolights"}
    with matplotlib.rc_context(fonts), written_aside(path) as partial:
        figure.savefig(partial, format=picture_format, dpi=dpi, metadata=undated)


__all__ = ["PICTURE_FORMATS", "check_picture_path", "save_figure"]
