from .dataset import DatasetTarget, collect_queries, extract_feature_dataset
from .features import load_video_features
from .settings import ExtractionSettings
from .sources import find_videos
from .store import SettingsMismatchError
from .summary import ExtractionSummary
from .text import extract_text_features
from .video import extract_video_features

__all__ = [
    "DatasetTarget",
    "ExtractionSettings",
    "ExtractionSummary",
    "SettingsMismatchError",
    "collect_queries",
    "extract_feature_dataset",
    "extract_text_features",
    "extract_video_features",
    "find_videos",
    "load_video_features",
]
