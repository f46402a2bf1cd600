"""The two tables of a feature dataset: videos, and the queries of each split.

A `datasets.DatasetDict` holds one table `"videos"` (each video's features once) and one table per split. A feature
matrix is a cell of raw bytes with shape and dtype: it is read at random in a fraction of a millisecond, where nested
lists take up to a hundred times as long.

The Hub wants the tables of one configuration to have the same columns, so there, and in a folder of Parquet files,
the videos are one configuration and the queries another.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, List, Value, load_dataset, load_from_disk

from ..common.files import parse_json

VIDEOS = "videos"
QUERIES = "queries"
VIDEO_PREFIX = "video_"
TEXT_PREFIX = "text_"
AUDIO = "audio"

_ARRAY = {
    "data": Value("large_binary"),
    "shape": List(Value("int32")),
    "dtype": Value("string"),
    "crc32": Value("int64"),
}
_ANNOTATION_FIELDS = {
    "query": Value("string"),
    "vid": Value("string"),
    "duration": Value("float64"),
    "domain": Value("string"),
    "relevant_windows": List(List(Value("float64"))),
    "relevant_clip_ids": List(Value("int32")),
    "saliency_scores": List(List(Value("float64"))),
    "label": List(List(Value("float64"))),
}
_QUERY_EXTRAS = {"extra": Value("string"), "clip_length": Value("float64"), "label_rule": Value("string")}
_FLOAT_BYTES = {"float16": 2, "float32": 4, "float64": 8}


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """A matrix as a table cell, with a checksum."""
    data = array.tobytes()
    return {"data": data, "shape": list(array.shape), "dtype": str(array.dtype), "crc32": zlib.crc32(data)}


def decode_array(cell: Mapping[str, Any], verify: bool = True) -> np.ndarray:
    """The matrix in a table cell; read-only, without a copy.

    Args:
        cell: What `encode_array` returned, or a row of a `RowReader` holds.
        verify: Compare the checksum, which takes about as long as reading the cell. Cells of datasets that were built
            without checksums have none to compare.

    Raises:
        ValueError: The cell is damaged: it does not hold the matrix of floats that it declares.
    """
    data, shape, dtype = cell["data"], cell["shape"], cell["dtype"]
    is_matrix = isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and n > 0 for n in shape)
    if dtype not in _FLOAT_BYTES or not is_matrix or len(data or b"") != math.prod(shape) * _FLOAT_BYTES[dtype]:
        raise ValueError(
            f"A feature cell declares {dtype} of shape {shape}, but holds {len(data or b'')} bytes: the dataset is "
            "damaged, build it again."
        )
    if verify and cell.get("crc32") not in (None, zlib.crc32(data)):
        raise ValueError(
            "The bytes of a feature cell do not match its checksum: the dataset is damaged, build it again."
        )
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def video_schema(backbones: list[str]) -> Features:
    """Columns of the table of videos: `vid`, `num_clips` (of the shortest backbone), and a matrix per backbone."""
    arrays = {f"{VIDEO_PREFIX}{name}": dict(_ARRAY) for name in backbones}
    return Features({"vid": Value("string"), "num_clips": Value("int32"), **arrays})


def query_schema(backbones: list[str], integer_qids: bool) -> Features:
    """Columns of a table of queries: the annotation, what labels and scores need, and a matrix per text encoder."""
    arrays = {f"{TEXT_PREFIX}{name}": dict(_ARRAY) for name in backbones}
    qid = Value("int64" if integer_qids else "string")
    return Features({"qid": qid, **_ANNOTATION_FIELDS, **_QUERY_EXTRAS, "num_clips": Value("int32"), **arrays})


def annotation_to_row(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """The annotation's columns; fields without a column of their own go to `extra`, as JSON."""
    known = {"qid", *_ANNOTATION_FIELDS}
    extra = {key: value for key, value in annotation.items() if key not in known}
    return {key: annotation.get(key) for key in known} | {"extra": json.dumps(extra) if extra else None}


def row_to_annotation(row: Mapping[str, Any]) -> dict[str, Any]:
    """The annotation of a row, as it stood in the file (without fields that were null)."""
    annotation = {key: row[key] for key in ("qid", *_ANNOTATION_FIELDS) if row.get(key) is not None}
    return annotation | parse_json(row.get("extra") or "{}")


def annotation_columns(columns: Iterable[str]) -> list[str]:
    """Columns of a table of queries that hold no features."""
    return [name for name in columns if not name.startswith(TEXT_PREFIX)]


def backbones_of(table: Dataset, prefix: str) -> list[str]:
    """Names of the backbones in a table, in the table's order."""
    return [name.removeprefix(prefix) for name in table.column_names if name.startswith(prefix)]


def load_feature_dataset(path: str | os.PathLike, **kwargs: Any) -> DatasetDict:
    """Load what `build_feature_dataset`, `export_parquet` or `push_feature_dataset` wrote.

    Args:
        path: A folder on disk, or the id of a dataset repository on the Hub.
        **kwargs: Passed to `datasets.load_dataset` for Parquet folders and the Hub (`revision`, `token`, ...).

    Returns:
        The tables `"videos"` and one per split, memory-mapped.

    Raises:
        FileNotFoundError: The folder or repository does not exist.
        ValueError: The folder is damaged, or holds another kind of dataset.
    """
    if Path(path, "dataset_dict.json").is_file():
        tables = _load_folder(path)
    else:
        videos = load_dataset(os.fspath(path), VIDEOS, split=VIDEOS, **kwargs)
        tables = DatasetDict({VIDEOS: videos, **load_dataset(os.fspath(path), QUERIES, **kwargs)})
    _check_tables(tables, path)
    return tables


def _load_folder(path: str | os.PathLike) -> DatasetDict:
    try:
        tables = load_from_disk(os.fspath(path))
    except (LookupError, TypeError, AttributeError, ValueError, OSError, RecursionError, pa.ArrowException) as error:
        # `datasets` looks into its JSON files without checking what kind of values they hold, and how many.
        raise ValueError(
            f"{path} cannot be read as a feature dataset ({type(error).__name__}: {error}). Build it again."
        ) from error
    if not isinstance(tables, DatasetDict):
        raise ValueError(f"{path} holds one table, expected a feature dataset. Build it with `videolights prepare`.")
    return tables


def _check_tables(tables: Mapping[str, Dataset], path: str | os.PathLike) -> None:
    """Check that tables are those of a feature dataset."""
    needed = {name: {"qid", "num_clips", *_ANNOTATION_FIELDS, *_QUERY_EXTRAS} for name in tables}
    needed[VIDEOS] = {"vid", "num_clips"}
    faults = [f"no table {VIDEOS!r}"] if VIDEOS not in tables else []
    if len(tables) < 2:
        faults.append("no split")
    for name, table in tables.items():
        missing = sorted(needed[name] - set(table.column_names))
        if missing:
            faults.append(f"table {name!r} has no column {', '.join(missing)}")
    if faults:
        raise ValueError(
            f"{path} is not a feature dataset ({'; '.join(faults)}). Build it with `videolights prepare`."
        )
