"""A record of what is done, appended to line by line, that survives a kill at any moment.

Every process appends to a file of its own. A line holds all that became of one video, and counts when its line break
is there: what a kill cut off is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from ..common.files import parse_json
from .records import VideoRecord

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
        """Add records, and flush them to disk.

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
            advice = f"{error.strerror}; finished videos are kept. Fix this and repeat the command to continue"
            raise OSError(error.errno, advice, os.fspath(self.path)) from error


def read_journal(folder: str | os.PathLike) -> dict[str, VideoRecord]:
    """What is on record, in the parts of all processes.

    Returns:
        Vid to record; of several the first.

    Raises:
        ValueError: A line is not a record: something else changed the file.
    """
    records: dict[str, VideoRecord] = {}
    for path in sorted(Path(folder).glob(_PARTS)):
        if not path.is_file():
            raise ValueError(f"{path} is not a regular file: delete it.")
        content = path.read_bytes()
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
            record = _parse(line)
            if record is None:
                raise ValueError(
                    f"{path}:{number} is not the record of a video: delete the file, and repeat the command to caption "
                    "its videos again."
                )
            records.setdefault(record["vid"], record)
    return records


def _parse(line: bytes) -> VideoRecord | None:
    try:
        record = parse_json(line.decode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    is_record = (
        isinstance(record, dict)
        and isinstance(record.get("vid"), str)
        and isinstance(record.get("rows"), list)
        and all(isinstance(row, dict) for row in record["rows"])
        and all(type(record.get(name)) is int for name in ("duplicates", "empty"))
        and record.get("skipped", "") in (None, "too_long", "too_short")
    )
    return cast(VideoRecord, record) if is_record else None
