"""Feature tables written part by part, in parallel, so that an interrupted run continues where it stopped.

A part holds dozens of videos or hundreds of queries. Beside its table is a fingerprint of everything that it was made
from: a finished part is read again only if that has changed.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, concatenate_datasets
from tqdm.auto import tqdm

from ..common.batches import iterate_batches
from ..common.files import read_json_object, write_json
from .features import FeatureFileError, feature_files, read_feature_matrix
from .tables import encode_array

_ROWS_PER_BATCH = 16
_SAMPLED_FILES = 16


@dataclass(frozen=True)
class Problem:
    """A feature file that could not be used.

    Attributes:
        kind: See `FeatureFileError`.
        item: The vid or qid.
        path: The file.
        message: What is wrong with it.
    """

    kind: str
    item: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def digest(value: Any) -> str:
    """A short name for a JSON-serializable value that changes with it."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class FeatureReader:
    """Reads the features of one id from the folders of all backbones.

    Attributes:
        folders: Backbone name to folder.
        patterns: See `feature_files`.
        keys: See `read_features`.
        prefix: Of the column names.
        widths: Backbone name to the width of its features.
    """

    folders: dict[str, str]
    patterns: tuple[tuple[str, ...], ...]
    keys: tuple[str, ...]
    prefix: str
    widths: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_folders(
        cls, folders: Mapping, ids: Sequence[int | str], patterns: tuple, keys: tuple, prefix: str
    ) -> FeatureReader:
        """A reader whose widths are those that most of the first readable files of each folder have."""
        reader = cls({name: os.path.abspath(folder) for name, folder in folders.items()}, patterns, keys, prefix)
        for name, folder in reader.folders.items():
            widths: collections.Counter[int] = collections.Counter()
            for item in dict.fromkeys(ids):
                try:
                    widths[read_feature_matrix(feature_files(folder, item, patterns), keys).shape[1]] += 1
                except FeatureFileError:
                    continue
                if widths.total() == _SAMPLED_FILES:
                    break
            if widths:
                reader.widths[name] = widths.most_common(1)[0][0]
        return reader

    def read(self, item: int | str, expected: int | None, tolerance: int) -> tuple[dict[str, Any], list[Problem]]:
        """Table cells of an id, and what is wrong with its files.

        Args:
            item: The vid or qid.
            expected: How many clips the annotation implies; `None` for text.
            tolerance: By how many clips the features may differ from that.
        """
        cells: dict[str, Any] = {}
        problems = []
        lengths = []
        for name, folder in self.folders.items():
            try:
                matrix = self._matrix(name, folder, item, expected, tolerance)
            except FeatureFileError as error:
                problems.append(Problem(error.kind, str(item), error.path, error.message))
            else:
                cells[f"{self.prefix}{name}"] = encode_array(matrix)
                lengths.append(len(matrix))
        if expected is not None and lengths:
            cells["num_clips"] = min(lengths)
        return cells, problems

    def _matrix(self, name: str, folder: str, item: int | str, expected: int | None, tolerance: int) -> np.ndarray:
        paths = feature_files(folder, item, self.patterns)
        matrix = read_feature_matrix(paths, self.keys)
        length, width = matrix.shape
        if width != self.widths[name]:
            message = f"is {width} wide, other files of {name!r} are {self.widths[name]} wide"
            raise FeatureFileError("mismatched", paths[0], message)
        if expected is not None and abs(length - expected) > tolerance:
            message = f"has {length} clips, the annotation implies {expected} (at most {tolerance} more or fewer)"
            raise FeatureFileError("mismatched", paths[0], message)
        return matrix

    def state(self, item: int | str) -> list:
        """Name, size and time of every file of an id."""
        state: list = []
        for folder in self.folders.values():
            try:
                files = [(path, path.stat()) for path in feature_files(folder, item, self.patterns)]
                state += [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files]
            except FeatureFileError as error:
                state.append(error.kind)
        return state


@dataclass(frozen=True)
class Part:
    """Some rows of one table.

    Attributes:
        name: File name without ending.
        id_field: The column that names the feature files.
        rows: The columns that are not features; `expected`, if there, is the number of clips to expect.
        reader: Where the features come from.
        schema: Columns of the table.
        length_tolerance: See `FeatureReader.read`.
    """

    name: str
    id_field: str
    rows: list[dict[str, Any]]
    reader: FeatureReader
    schema: Features
    length_tolerance: int = 0

    def fingerprint(self) -> str:
        """Changes with the rows, the settings, and the size or time of any file that the part reads."""
        files = [self.reader.state(row[self.id_field]) for row in self.rows]
        return digest([self.rows, asdict(self.reader), self.schema.to_dict(), self.length_tolerance, files])

    def write(self, folder: Path) -> int:
        """Write `{name}.arrow` and then `{name}.json`, unless both are there and still right.

        Returns:
            The number of rows, usable or not.
        """
        sidecar = folder / f"{self.name}.json"
        fingerprint = self.fingerprint()
        if _fingerprint_in(sidecar) == fingerprint:
            return len(self.rows)
        sidecar.unlink(missing_ok=True)
        problems: list[Problem] = []
        schema = self.schema.arrow_schema
        table = os.fspath(folder / f"{self.name}.arrow")
        with pa.OSFile(table, "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in iterate_batches(self.rows, _ROWS_PER_BATCH):
                usable = []
                for row in batch:
                    cells, found = self.reader.read(row[self.id_field], row.get("expected"), self.length_tolerance)
                    problems += found
                    usable += [] if found else [row | cells]
                writer.write_batch(pa.RecordBatch.from_pylist(usable, schema=schema))
        # The sidecar says that the table is whole, so it must appear after it and at once.
        write_json(sidecar, {"fingerprint": fingerprint, "problems": [asdict(problem) for problem in problems]})
        return len(self.rows)


def write_parts(
    parts: Sequence[Part], folder: Path, schema: Features, num_proc: int, progress: tqdm
) -> tuple[Dataset, list[Problem]]:
    """Write all parts of one table.

    Args:
        parts: The parts.
        folder: Where to.
        schema: Columns of the table.
        num_proc: Processes to use.
        progress: Is advanced by the rows of every part that is done.

    Returns:
        The usable rows of all parts as one memory-mapped table, and every problem.
    """
    if num_proc == 1 or len(parts) < 2:
        for part in parts:
            progress.update(part.write(folder))
    else:
        with ProcessPoolExecutor(
            min(num_proc, len(parts)), initializer=_end_with_parent, initargs=(os.getpid(),)
        ) as pool:
            for done in as_completed([pool.submit(part.write, folder) for part in parts]):
                progress.update(done.result())
    problems = []
    tables = [Dataset.from_dict({name: [] for name in schema}, features=schema)]
    for part in parts:
        content = json.loads((folder / f"{part.name}.json").read_text(encoding="utf-8", errors="surrogatepass"))
        problems += [Problem(**problem) for problem in content["problems"]]
        tables.append(Dataset.from_file(os.fspath(folder / f"{part.name}.arrow")))
    filled = [table for table in tables if len(table)]
    return concatenate_datasets(filled) if filled else tables[0], problems


def _fingerprint_in(sidecar: Path) -> str | None:
    try:
        content = read_json_object(sidecar) or {}
    except ValueError:  # damaged: the part is written again
        return None
    return content.get("fingerprint")


def _end_with_parent(parent: int) -> None:
    """End this worker when the process that started it is gone: a killed one cannot, and its workers would wait."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
