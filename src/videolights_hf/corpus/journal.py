"""A record of what is done, appended to line by line, that survives a kill at any moment.

Every process appends to a file of its own. A line holds all that became of one video, and counts when its line break
is there: what a kill cut off is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_PARTS = "part-*.jsonl"


class Journal:
    """The records of one process.

    Args:
        folder: Folder of the parts of all processes.
        rank: The process.

    Raises:
        OSError: The folder or the file cannot be written.
    """

    def __init__(self, folder: str | os.PathLike, rank: int = 0):
        self.path = Path(folder) / f"part-{rank:05d}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():
            content = self.path.read_bytes()
            os.truncate(self.path, content.rfind(b"\n") + 1)

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Add records, and see to it that they are on the disk.

        Raises:
            OSError: They cannot be written, as on a full disk; what was there before stays.
        """
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        try:
            with open(self.path, "ab") as file:
                file.write(lines.encode("utf-8", "surrogatepass"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _write_error(error, self.path) from error


def read_journal(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """What is on record, in the parts of all processes.

    Returns:
        Vid to record; of several the first.

    Raises:
        ValueError: A line is no record; it was changed by another hand.
    """
    records: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(folder).glob(_PARTS)):
        content = path.read_bytes()
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
            try:
                record = json.loads(line.decode("utf-8", "surrogatepass"))
                records.setdefault(record["vid"], record)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}:{number} is no record of a video: remove the file and repeat.") from error
    return records


def write_json_lines(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON Lines file that appears whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    unfinished = Path(f"{os.fspath(path)}.tmp")
    try:
        with open(unfinished, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise _write_error(error, path) from error


def _write_error(error: OSError, path: str | os.PathLike) -> OSError:
    advice = (
        f"{error.strerror}; what is done so far is kept. Mend this and repeat the command, which goes on from there"
    )
    return OSError(error.errno, advice, os.fspath(path))
