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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, List, Value, load_dataset, load_from_disk

from ..common.files import write_text

VIDEOS = "videos"
QUERIES = "queries"
VIDEO_PREFIX = "video_"
TEXT_PREFIX = "text_"
AUDIO = "audio"

_ARRAY = {"data": Value("large_binary"), "shape": List(Value("int32")), "dtype": Value("string")}
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
_PARQUET_GROUP_BYTES = 32 * 1024**2
_CARD = """---
configs:
- config_name: {queries}
  default: true
  data_files:
{splits}
- config_name: {videos}
  data_files:
  - split: {videos}
    path: {videos}/{videos}-*.parquet
---

Features for moment retrieval and highlight detection: one table of videos, and one of queries for each split.
"""


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """A matrix as a table cell."""
    return {"data": array.tobytes(), "shape": list(array.shape), "dtype": str(array.dtype)}


def decode_array(cell: Mapping[str, Any]) -> np.ndarray:
    """The matrix in a table cell; read-only, without a copy.

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
    return annotation | json.loads(row.get("extra") or "{}")


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
        FileNotFoundError: There is no such folder or repository.
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
    except (KeyError, TypeError, AttributeError, ValueError, OSError, RecursionError, pa.ArrowException) as error:
        # `datasets` looks into its JSON files without checking what kind of values they hold.
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


def _splits(tables: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """The tables of queries, each in the order of the table of videos, as streaming needs it.

    Where one split's qids are text, all are: the splits of a Hub configuration share their columns.
    """
    position = {vid: index for index, vid in enumerate(tables[VIDEOS]["vid"])}
    queries = [table for name, table in tables.items() if name != VIDEOS]
    if len({table.features["qid"].dtype for table in queries}) > 1:
        tables = {
            name: table if name == VIDEOS else table.cast_column("qid", Value("string"))
            for name, table in tables.items()
        }
    splits = {}
    for name, table in tables.items():
        if name != VIDEOS:
            splits[name] = table.select(np.argsort([position[vid] for vid in table["vid"]], kind="stable"))
    return splits


def _rows_per_group(table: Dataset) -> int:
    bytes_per_row = max(1, table.data.nbytes // max(1, len(table.data)))
    return max(1, _PARQUET_GROUP_BYTES // bytes_per_row)


def export_parquet(tables: Mapping[str, Dataset], folder: str | os.PathLike) -> None:
    """Write the tables as Parquet files, to be streamed, uploaded, or loaded with `datasets.load_dataset`.

    `load_dataset(folder, "queries")` and `load_dataset(folder, "videos")` read them, and
    `StreamingFeatureDataset(folder, split)` streams them. The queries of a split are in the order of their videos.

    Args:
        tables: What `build_feature_dataset` returned.
        folder: A folder that does not exist or is empty.

    Raises:
        FileExistsError: The folder is not empty.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; export to another folder or remove it.")
    splits = _splits(tables)
    for config, members in ((VIDEOS, {VIDEOS: tables[VIDEOS]}), (QUERIES, splits)):
        (folder / config).mkdir(parents=True)
        for name, table in members.items():
            path = folder / config / f"{name}-00000-of-00001.parquet"
            table.to_parquet(path, batch_size=_rows_per_group(table))
    files = "\n".join(f"  - split: {name}\n    path: {QUERIES}/{name}-*.parquet" for name in splits)
    write_text(folder / "README.md", _CARD.format(queries=QUERIES, videos=VIDEOS, splits=files))


def push_feature_dataset(tables: Mapping[str, Dataset], repo_id: str, **kwargs: Any) -> None:
    """Upload the tables to a dataset repository on the Hub, as the configurations `"videos"` and `"queries"`.

    Args:
        tables: What `build_feature_dataset` returned.
        repo_id: Id of the repository; it is created if it does not exist.
        **kwargs: Passed to `push_to_hub` of both (`private`, `token`, `revision`, ...).
    """
    # `datasets` cannot make a configuration the default where another one stands alone: the default comes first.
    DatasetDict(_splits(tables)).push_to_hub(repo_id, config_name=QUERIES, set_default=True, **kwargs)
    tables[VIDEOS].push_to_hub(repo_id, config_name=VIDEOS, split=VIDEOS, **kwargs)
