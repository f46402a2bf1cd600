"""Features of frozen backbones for whole corpora of videos and sentences, as files and as datasets to train on.

Names are imported on first use, so that the command line stays quick.
"""

from .._lazy import lazy_exports

_EXPORTS = {
    "ExtractionSummary": ".common.failures",
    "Failure": ".common.failures",
    "Processes": ".common.processes",
    "SettingsMismatchError": "store",
    "VideoSource": "sources",
    "collect_queries": "dataset",
    "complete_checkpoints": ".backbones.checkpoints",
    "extract_feature_dataset": "dataset",
    "extract_text_features": "text",
    "extract_video_features": "video",
    "find_videos": "sources",
    "load_backbones": ".backbones.checkpoints",
}

__all__ = sorted(_EXPORTS)
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
