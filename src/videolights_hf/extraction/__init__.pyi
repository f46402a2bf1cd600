from .dataset import collect_queries, extract_feature_dataset
from .sources import VideoSource, find_videos
from .store import SettingsMismatchError
from .summary import ExtractionSummary
from .text import extract_text_features
from .video import extract_video_features

__all__ = [
    "ExtractionSummary",
    "SettingsMismatchError",
    "VideoSource",
    "collect_queries",
    "extract_feature_dataset",
    "extract_text_features",
    "extract_video_features",
    "find_videos",
]
