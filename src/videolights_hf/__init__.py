"""VideoLights for Transformers: find the moments in a video that a sentence describes, and score every clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_exports
from .hub.registration import register_with_transformers

__version__ = "0.1.0"

# Names are imported from their modules when first used, so that `import videolights_hf` costs little.
_EXPORTS = {
    "models.videolights.configuration": ["VideoLightsConfig"],
    "models.videolights.modeling": ["VideoLightsForMomentRetrieval", "VideoLightsModel"],
    "models.pretrained": ["VideoLightsPreTrainedModel"],
    "models.outputs": ["VideoLightsModelOutput", "VideoLightsMomentRetrievalOutput"],
    "models.videolights.loss": ["VideoLightsLoss"],
    "inference.processing": ["VideoLightsProcessor"],
    "backbones.features": ["VideoFeatures"],
    "backbones.base": ["ClipBackbone", "FeatureBackbone"],
    "backbones.blip2": ["Blip2Backbone"],
    "backbones.runner": ["VideoEncoder"],
    "video.reader": ["VideoSource"],
    "backbones.slowfast": ["SlowFastBackbone"],
    "backbones.slowfast_network": ["VideoLightsSlowFastConfig", "VideoLightsSlowFastModel"],
    "inference.pipeline": ["VideoMomentRetrievalPipeline"],
    "convert.checkpoints": ["convert_checkpoint", "convert_to_release"],
    "convert.slowfast": ["convert_slowfast_checkpoint"],
    "visualization.moments": ["plot_moments"],
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

if TYPE_CHECKING:
    from .backbones.base import ClipBackbone, FeatureBackbone
    from .backbones.blip2 import Blip2Backbone
    from .backbones.features import VideoFeatures
    from .backbones.runner import VideoEncoder
    from .backbones.slowfast import SlowFastBackbone
    from .backbones.slowfast_network import VideoLightsSlowFastConfig, VideoLightsSlowFastModel
    from .convert.checkpoints import convert_checkpoint, convert_to_release
    from .convert.slowfast import convert_slowfast_checkpoint
    from .inference.pipeline import VideoMomentRetrievalPipeline
    from .inference.processing import VideoLightsProcessor
    from .models.outputs import VideoLightsModelOutput, VideoLightsMomentRetrievalOutput
    from .models.pretrained import VideoLightsPreTrainedModel
    from .models.videolights.configuration import VideoLightsConfig
    from .models.videolights.loss import VideoLightsLoss
    from .models.videolights.modeling import VideoLightsForMomentRetrieval, VideoLightsModel
    from .video.reader import VideoSource
    from .visualization.moments import plot_moments

__all__ = [
    "Blip2Backbone",
    "ClipBackbone",
    "FeatureBackbone",
    "SlowFastBackbone",
    "VideoEncoder",
    "VideoFeatures",
    "VideoLightsConfig",
    "VideoLightsForMomentRetrieval",
    "VideoLightsLoss",
    "VideoLightsModel",
    "VideoLightsModelOutput",
    "VideoLightsMomentRetrievalOutput",
    "VideoLightsPreTrainedModel",
    "VideoLightsProcessor",
    "VideoLightsSlowFastConfig",
    "VideoLightsSlowFastModel",
    "VideoMomentRetrievalPipeline",
    "VideoSource",
    "__version__",
    "convert_checkpoint",
    "convert_slowfast_checkpoint",
    "convert_to_release",
    "plot_moments",
]


__getattr__, _ = lazy_exports(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return sorted(__all__)


register_with_transformers()
