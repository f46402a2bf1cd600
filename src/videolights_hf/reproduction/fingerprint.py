"""What a run depends on, as short texts to compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any

from ..data.tables import TEXT_PREFIX, VIDEO_PREFIX, VIDEOS
from ..training.recipe_fields import is_outbound
from ..training.recipes import Recipe

if TYPE_CHECKING:
    from datasets import Dataset

# They change how a run is carried out, not what it gives.
_WITHOUT_EFFECT = {
    "use_cpu",
    "disable_tqdm",
    "save_total_limit",
    "save_predictions",
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "dataloader_persistent_workers",
    "dataloader_prefetch_factor",
    "resident_features",
}


def fingerprint_data(tables: Mapping[str, Dataset], *splits: str) -> str:
    """Hash of splits of a feature dataset: annotations, order, and the features of their queries and videos.

    Features are known by their stored checksums, so that a dataset of many gigabytes takes seconds.

    Raises:
        ValueError: A split is missing.
    """
    digest = hashlib.sha256()
    vids: set[str] = set()
    for split in splits:
        if split not in tables:
            raise ValueError(f"The data has no split {split!r}; it has {', '.join(n for n in tables if n != VIDEOS)}.")
        _add(digest, split)
        _add_table(digest, tables[split], TEXT_PREFIX)
        vids.update(tables[split]["vid"])
    videos = tables[VIDEOS]
    # In the order of their ids, so that further videos in between change nothing.
    rows = sorted((vid, index) for index, vid in enumerate(videos["vid"]) if vid in vids)
    _add_table(digest, videos.select([index for _, index in rows]), VIDEO_PREFIX)
    return digest.hexdigest()[:16]


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """What a recipe decides of a run: all that differs from the defaults, whatever it was inherited from.

    The recipe's name, its seed and settings without effect on the result are left out, so that two recipes that
    train the same are the same.
    """
    from transformers import PreTrainedConfig

    from ..training.arguments import VideoLightsTrainingArguments

    config = recipe.model_config()
    own = [field for field in fields(config) if field.name not in PreTrainedConfig.__dataclass_fields__]
    values = config.to_dict()
    model = {field.name: values[field.name] for field in own if values[field.name] != _default(field)}
    defaults = {field.name: _default(field) for field in fields(VideoLightsTrainingArguments)}
    training = {
        name: value
        for name, value in recipe.training.items()
        if name != "seed" and name not in _WITHOUT_EFFECT and not is_outbound(name) and value != defaults[name]
    }
    return {
        "model_type": config.model_type,
        "model": model,
        "training": training,
        "data": asdict(recipe.data),
        "pretrained": recipe.pretrained,
    }


def hash_of(content: Any) -> str:
    """Hash of JSON content; numbers are equal as numbers, whole or not."""
    text = json.dumps(_plain(content), sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _add_table(digest: Any, table: Dataset, prefix: str) -> None:
    for name in sorted(table.column_names):
        _add(digest, name)
        if not name.startswith(prefix):
            _add(digest, json.dumps(table[name][:], default=str))
            continue
        # Without the bytes of the matrices, which stay on disk.
        cells = table.with_format("arrow").select_columns([name])
        for batch in cells.iter(1000):
            column = batch.column(name).combine_chunks()
            checksums = column.field("crc32").to_pylist() if "crc32" in _names(column) else [None] * len(column)
            _add(digest, json.dumps([column.field("shape").to_pylist(), column.field("dtype").to_pylist()]))
            data = column.field("data")
            for row, checksum in enumerate(checksums):
                _add(
                    digest,
                    str(checksum) if checksum is not None else hashlib.sha256(data[row].as_buffer()).hexdigest(),
                )


def _names(column: Any) -> list[str]:
    return [column.type.field(index).name for index in range(column.type.num_fields)]


def _add(digest: Any, text: str) -> None:
    digest.update(text.encode())
    digest.update(b"\0")
