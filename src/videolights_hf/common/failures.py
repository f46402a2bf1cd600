"""Videos that a run over a folder could not use."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from .json_lines import write_json_lines

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

    @classmethod
    def of(cls, vid: str, video: object, error: Exception | str) -> Failure:
        """A failure of a video, which may be a path, frames in memory, or `None`."""
        path = os.fspath(video) if isinstance(video, (str, os.PathLike)) else None
        return cls(vid, path, str(error) or type(error).__name__)


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
            file.write(json.dumps(asdict(failure)) + "\n")

    def replace(self, failures: Iterable[Failure]) -> None:
        """Write all failures of the run; no file, if there are none."""
        rows = [asdict(failure) for failure in failures]
        if rows:
            write_json_lines(self.path, rows)
        else:
            self.clear()
