from .base import FeatureBackbone
from .blip2 import Blip2Backbone
from .checkpoints import complete_checkpoints, load_backbones
from .clip import ClipBackbone
from .features import VideoFeatures
from .image_text import ImageTextBackbone
from .registry import known_backbones, register_backbone
from .runner import VideoEncoder
from .slowfast import SlowFastBackbone

__all__ = [
    "Blip2Backbone",
    "ClipBackbone",
    "FeatureBackbone",
    "ImageTextBackbone",
    "SlowFastBackbone",
    "VideoEncoder",
    "VideoFeatures",
    "complete_checkpoints",
    "known_backbones",
    "load_backbones",
    "register_backbone",
]
