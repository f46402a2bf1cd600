from .base import FeatureBackbone
from .blip2 import Blip2Backbone
from .checkpoints import complete_checkpoints, load_backbones
from .clip import ClipBackbone
from .features import VideoFeatures
from .runner import VideoEncoder
from .slowfast import SlowFastBackbone

__all__ = [
    "Blip2Backbone",
    "ClipBackbone",
    "FeatureBackbone",
    "SlowFastBackbone",
    "VideoEncoder",
    "VideoFeatures",
    "complete_checkpoints",
    "load_backbones",
]
