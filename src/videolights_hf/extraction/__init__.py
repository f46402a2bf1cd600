"""Features of frozen backbones for whole corpora of videos and sentences, as files and as datasets to train on.

Names are imported on first use, so that the command line stays quick.
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "ExtractionSummary": "summary",
    "Failure": "summary",
    "Processes": "processes",
    "SettingsMismatchError": "store",
    "VideoSource": "sources",
    "collect_queries": "dataset",
    "complete_checkpoints": "backbones",
    "extract_feature_dataset": "dataset",
    "extract_text_features": "text",
    "extract_video_features": "video",
    "find_videos": "sources",
    "load_backbones": "backbones",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
