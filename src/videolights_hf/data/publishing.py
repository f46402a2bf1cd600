"""Feature datasets as Parquet files and on the Hub, with a card and with what is known of their backbones."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Value
from huggingface_hub import CommitInfo, DatasetCard, DatasetCardData, HfApi, create_branch, create_repo

from ..hub.card import describe_checkpoint
from .provenance import cached_revisions, is_hub_id, write_backbone_checkpoints
from .tables import AUDIO, QUERIES, TEXT_PREFIX, VIDEO_PREFIX, VIDEOS

_PARQUET_GROUP_BYTES = 32 * 1024**2
_PARQUET_FILE_BYTES = 512 * 1024**2

_TEMPLATE = """\
---
{{ card_data }}
---

# {{ title }}

Annotations and frozen features for moment retrieval and highlight detection: a table of videos, and one of queries for
each split. `videolights_hf` trains on it.

| table | rows |
|---|---|
{%- for name, rows in tables %}
| {{ name }} | {{ "{:,}".format(rows) }} |
{%- endfor %}

| features | of | width | computed by |
|---|---|---|---|
{%- for row in features %}
| {{ row | join(" | ") }} |
{%- endfor %}

Clips are {{ clip_length }} long. A feature matrix is a cell of bytes with its shape and type; rows are not normalized.

## How to use

```python
from videolights_hf.data import load_feature_dataset

tables = load_feature_dataset("{{ repo_id }}")
print({name: len(table) for name, table in tables.items()})
```

`videolights train --data {{ repo_id }} --recipe NAME --output DIR` trains on it.

## Licenses

{{ license_note }}
"""


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


def _write_parquet(table: Dataset, folder: Path, name: str) -> None:
    """Write a table as files of about `_PARQUET_FILE_BYTES`, which machines and workers can read apart."""
    bytes_per_row = max(1, table.data.nbytes // max(1, len(table.data)))
    count = max(1, min(len(table), math.ceil(bytes_per_row * len(table) / _PARQUET_FILE_BYTES)))
    for index in range(count):
        table.shard(count, index, contiguous=True).to_parquet(
            folder / f"{name}-{index:05d}-of-{count:05d}.parquet",
            batch_size=max(1, _PARQUET_GROUP_BYTES // bytes_per_row),
        )


def export_parquet(
    tables: Mapping[str, Dataset],
    folder: str | Path,
    *,
    repo_id: str | None = None,
    backbone_checkpoints: Mapping[str, str] | None = None,
    data_license: str | None = None,
) -> None:
    """Write the tables as Parquet files with a card, to be streamed, uploaded, or loaded with `datasets.load_dataset`.

    A table takes one file for each half gigabyte. `load_feature_dataset(folder)` reads them, and
    `StreamingFeatureDataset(folder, split)` streams them. The queries of a split are in the order of their videos.

    Args:
        tables: What `build_feature_dataset` returned.
        folder: A folder that does not exist or is empty.
        repo_id: Where the files will be, for the card; by default the folder.
        backbone_checkpoints: Which checkpoint computed each backbone's features (`read_backbone_checkpoints`).
        data_license: License of the data, an identifier of the Hub; `None`: the card names none.

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
            _write_parquet(table, folder / config, name)
    if backbone_checkpoints:
        write_backbone_checkpoints(folder, backbone_checkpoints)
    make_dataset_card(
        tables, repo_id or str(folder), backbone_checkpoints=backbone_checkpoints, data_license=data_license
    ).save(folder / "README.md")


def push_feature_dataset(
    tables: Mapping[str, Dataset],
    repo_id: str,
    *,
    backbone_checkpoints: Mapping[str, str] | None = None,
    data_license: str | None = None,
    **upload: Any,
) -> CommitInfo:
    """Upload the tables, a card, and the names of the backbones to a dataset repository on the Hub, in one commit.

    Args:
        tables: What `build_feature_dataset` returned.
        repo_id: Id of the repository; it is created if it does not exist.
        backbone_checkpoints: Which checkpoint computed each backbone's features (`read_backbone_checkpoints`). Those in
            folders of this machine are left out, with a warning.
        data_license: License of the data, an identifier of the Hub; `None`: the card names none.
        **upload: `private`, `token`, `revision`, `create_pr`, `commit_message`.
    """
    api = HfApi(token=upload.pop("token", None))
    private, revision = upload.pop("private", None), upload.pop("revision", None)
    upload.setdefault("commit_message", "Upload feature dataset")
    repo_id = create_repo(repo_id, repo_type="dataset", private=private, token=api.token, exist_ok=True).repo_id
    with tempfile.TemporaryDirectory() as folder:
        export_parquet(
            tables,
            Path(folder, "export"),
            repo_id=repo_id,
            backbone_checkpoints=_public(backbone_checkpoints or {}),
            data_license=data_license,
        )
        if revision is not None and not upload.get("create_pr") and not revision.startswith("refs/"):
            create_branch(repo_id, branch=revision, repo_type="dataset", token=api.token, exist_ok=True)
        return api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=Path(folder, "export"),
            revision=revision,
            # Tables of another build go in the same commit.
            delete_patterns=["*.parquet"],
            **upload,
        )


def make_dataset_card(
    tables: Mapping[str, Dataset],
    repo_id: str,
    *,
    backbone_checkpoints: Mapping[str, str] | None = None,
    data_license: str | None = None,
) -> DatasetCard:
    """Card of a feature dataset, with the configurations that `datasets.load_dataset` reads.

    Args:
        tables: The tables.
        repo_id: Where they are.
        backbone_checkpoints: Which checkpoint computed each backbone's features, as far as that is known.
        data_license: License of the data, an identifier of the Hub.
    """
    splits = [name for name in tables if name != VIDEOS]
    first = tables[splits[0]]
    lengths = {float(value) for name in splits for value in tables[name].unique("clip_length")}
    configs = [
        {
            "config_name": QUERIES,
            "default": True,
            "data_files": [{"split": name, "path": f"{QUERIES}/{name}-*.parquet"} for name in splits],
        },
        {"config_name": VIDEOS, "data_files": [{"split": VIDEOS, "path": f"{VIDEOS}/{VIDEOS}-*.parquet"}]},
    ]
    revisions = cached_revisions(backbone_checkpoints or {})
    known = {
        name: describe_checkpoint(checkpoint, revisions.get(name))
        for name, checkpoint in (backbone_checkpoints or {}).items()
    }
    note = f"The data's license is `{data_license}`." if data_license else "No license has been named for this data."
    return DatasetCard.from_template(
        DatasetCardData(
            license=data_license,
            language="en",
            task_categories=["video-text-to-text"],
            tags=["video", "moment-retrieval", "highlight-detection", "features"],
            size_categories=None,
            configs=configs,
        ),
        template_str=_TEMPLATE,
        title=repo_id.rstrip("/").rpartition("/")[2],
        repo_id=repo_id,
        tables=[(name, len(table)) for name, table in tables.items()],
        features=[
            *_feature_rows("clips", VIDEO_PREFIX, tables[VIDEOS], known),
            *_feature_rows("words", TEXT_PREFIX, first, known),
            *(
                [("audio", "clips", str(_width(tables[VIDEOS], AUDIO)), "")]
                if AUDIO in tables[VIDEOS].features
                else []
            ),
        ],
        clip_length=" or ".join(f"{length:g} s" for length in sorted(lengths)),
        license_note=f"{note} Annotations and videos keep the licenses of their authors.",
    )


def _feature_rows(of: str, prefix: str, table: Dataset, known: Mapping[str, str]) -> list[Sequence[str]]:
    names = [name.removeprefix(prefix) for name in table.column_names if name.startswith(prefix)]
    return [(name, of, str(_width(table, f"{prefix}{name}")), known.get(name, "not recorded")) for name in names]


def _width(table: Dataset, column: str) -> int:
    return table[0][column]["shape"][1]


def _public(checkpoints: Mapping[str, str]) -> dict[str, str]:
    """The checkpoints that others can load."""
    left_out = [name for name, path in checkpoints.items() if not is_hub_id(path)]
    if left_out:
        warnings.warn(
            f"The checkpoints of {', '.join(left_out)} are folders of this machine, which others cannot load: their names "
            "are left out. Push them to the Hub and build the dataset with their ids to have them named.",
            stacklevel=3,
        )
    return {name: path for name, path in checkpoints.items() if name not in left_out}
