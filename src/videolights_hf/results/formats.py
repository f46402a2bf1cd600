"""The formats of results by name: how each is written, its usual ending, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..common.files import write_json
from ..visualization.saving import PICTURE_FORMATS
from .answers import VideoAnswers
from .captions import write_vtt
from .films import write_best, write_cut_archive
from .page import write_page
from .pictures import write_gif, write_plot
from .tables import write_csv
from .timelines import write_edl, write_otio


class Format(NamedTuple):
    """A format of results.

    Attributes:
        write: Writes a file. `False` says that there was nothing to write.
        ending: Ending of the file where the user gives no name.
        endings: Endings that it must have; empty for any.
        module: Third-party module that it needs, and the extra that installs it.
    """

    write: Callable[[VideoAnswers, Path], bool | None]
    ending: str
    endings: tuple[str, ...] = ()
    module: tuple[str, str] | None = None


FORMATS: Mapping[str, Format] = {
    "json": Format(lambda answers, path: write_json(path, answers.content()), ".json"),
    "csv": Format(write_csv, ".csv"),
    "plot": Format(write_plot, ".png", PICTURE_FORMATS, ("matplotlib", "viz")),
    "html": Format(write_page, ".html"),
    "embedded html": Format(partial(write_page, embed=True), ".html"),
    "edl": Format(write_edl, ".edl"),
    "otio": Format(write_otio, ".otio"),
    "vtt": Format(write_vtt, ".vtt"),
    "gif": Format(write_gif, ".gif", (".gif",)),
    "reel": Format(write_best, ".mp4", (".mp4",)),
    "cuts": Format(write_cut_archive, ".zip", (".zip",)),
}
