"""Videos that a run over a folder could not use."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .files import write_text

FAILURES_FILE = "failed.jsonl"


@dataclass(frozen=True)
class Failure:
    """A video that could not be used.

    Attributes:
        vid: The video.
        path: Its file, if there is one.
        error: What is wrong with it.
    """

    vid: str
    path: str | None
    error: str

    def to_json(self) -> str:
        """The failure as a line of `failed.jsonl`."""
        return json.dumps({"vid": self.vid, "path": self.path, "error": self.error}) + "\n"


class FailureLog:
    """The failures of a run, in `failed.jsonl`.

    Processes append to the file as failures occur, so that they can be seen while a long run goes on; at the end the
    whole is written in order.

    Args:
        folder: Where the file is.
    """

    def __init__(self, folder: str | os.PathLike):
        self.path = Path(folder, FAILURES_FILE)

    def clear(self) -> None:
        """Forget the failures of an earlier run, which are tried again."""
        self.path.unlink(missing_ok=True)

    def append(self, failure: Failure) -> None:
        """Add a failure."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(failure.to_json())

    def replace(self, failures: Iterable[Failure]) -> None:
        """Write all failures of the run; no file, if there are none."""
        lines = [failure.to_json() for failure in failures]
        if lines:
            write_text(self.path, "".join(lines))
        else:
            self.clear()
