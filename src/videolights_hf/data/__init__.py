"""Annotations, feature files, label rules, datasets and batches.

Names are imported on first use: labels and batches need neither `datasets` nor `pyarrow`.
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "DATASETS": "specs",
    "DatasetSpec": "specs",
    "LABEL_RULES": "labels",
    "VideoLightsDataCollator": "collator",
    "draw_generator": "labels",
    "get_dataset_spec": "specs",
    "make_labels": "labels",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
