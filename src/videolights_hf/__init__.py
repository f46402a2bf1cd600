"""VideoLights for Transformers: find the moments in a video that a sentence describes, and score every clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_exports
from ._registration import register_with_transformers

__version__ = "0.1.0"

# Names are imported from their modules when first used, so that `import videolights_hf` costs little.
_EXPORTS = {
    "models.configuration_videolights": ["VideoLightsConfig"],
    "models.modeling_videolights": ["VideoLightsForMomentRetrieval", "VideoLightsModel"],
    "models.pretrained_videolights": ["VideoLightsPreTrainedModel"],
    "models.outputs_videolights": ["VideoLightsModelOutput", "VideoLightsMomentRetrievalOutput"],
    "models.loss_videolights": ["VideoLightsLoss"],
    "models.processing_videolights": ["VideoLightsProcessor"],
    "models.features_videolights": ["VideoFeatures"],
    "models.backbones_videolights": ["ClipBackbone", "FeatureBackbone"],
    "models.blip2_videolights": ["Blip2Backbone"],
    "models.encoding_videolights": ["VideoEncoder"],
    "models.video_videolights": ["VideoSource"],
    "models.slowfast_backbone_videolights": ["SlowFastBackbone"],
    "models.slowfast_videolights": ["VideoLightsSlowFastConfig", "VideoLightsSlowFastModel"],
    "models.pipeline_videolights": ["VideoMomentRetrievalPipeline"],
    "conversion": ["convert_checkpoint", "convert_to_release"],
    "slowfast_conversion": ["convert_slowfast_checkpoint"],
    "visualization": ["plot_moments"],
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

if TYPE_CHECKING:
    from .conversion import convert_checkpoint, convert_to_release
    from .models.backbones_videolights import ClipBackbone, FeatureBackbone
    from .models.blip2_videolights import Blip2Backbone
    from .models.configuration_videolights import VideoLightsConfig
    from .models.encoding_videolights import VideoEncoder
    from .models.features_videolights import VideoFeatures
    from .models.loss_videolights import VideoLightsLoss
    from .models.modeling_videolights import VideoLightsForMomentRetrieval, VideoLightsModel
    from .models.outputs_videolights import VideoLightsModelOutput, VideoLightsMomentRetrievalOutput
    from .models.pipeline_videolights import VideoMomentRetrievalPipeline
    from .models.pretrained_videolights import VideoLightsPreTrainedModel
    from .models.processing_videolights import VideoLightsProcessor
    from .models.slowfast_backbone_videolights import SlowFastBackbone
    from .models.slowfast_videolights import VideoLightsSlowFastConfig, VideoLightsSlowFastModel
    from .models.video_videolights import VideoSource
    from .slowfast_conversion import convert_slowfast_checkpoint
    from .visualization import plot_moments

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
