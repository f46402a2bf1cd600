"""JSON Lines files: one object per line, read line by line so that every fault can be named with its line."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .files import check_is_no_named_pipe, written_aside

_MAX_LISTED_PROBLEMS = 10


class FileProblemsError(ValueError):
    """Text files that cannot be used.

    Attributes:
        problems: Every problem found, as `"FILE:LINE: what is wrong"`.
    """

    subject = "files"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        listed = "\n".join(f"  {problem}" for problem in self.problems[:_MAX_LISTED_PROBLEMS])
        more = len(self.problems) - _MAX_LISTED_PROBLEMS
        tail = f"\n  ... and {more} more" if more > 0 else ""
        super().__init__(f"{len(self.problems)} problem(s) in the {self.subject}:\n{listed}{tail}")


class JsonLine(NamedTuple):
    """A line that is not blank.

    Attributes:
        number: Its number in the file, from 1.
        row: The object that it holds; empty if it holds none.
        fault: What is wrong with it, or `None`.
    """

    number: int
    row: dict[str, Any]
    fault: str | None


def iterate_json_lines(path: str | os.PathLike) -> Iterator[JsonLine]:
    """Read a file line by line, blank lines left out. A byte order mark is allowed.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is a named pipe.
    """
    check_is_no_named_pipe(path)
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield JsonLine(number, *_parse(line))


def write_json_lines(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one object per line; the file appears whole or not at all.

    Raises:
        OSError: The file cannot be written.
        ValueError: A row holds NaN or infinity.
    """
    with written_aside(path) as partial, open(partial, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _parse(line: bytes) -> tuple[dict[str, Any], str | None]:
    try:
        row = json.loads(line.decode("utf-8-sig", "surrogatepass"), object_pairs_hook=_object)
    except RecursionError:
        return {}, "not JSON that can be read (nested too deeply)"
    except ValueError as error:
        return {}, f"not JSON ({error})"
    if not isinstance(row, dict):
        return {}, f"expected a JSON object, found {type(row).__name__}"
    return row, None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, in which a key may not occur twice: which of the values was meant?"""
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {repeated!r} occurs twice in one object")
    return content
