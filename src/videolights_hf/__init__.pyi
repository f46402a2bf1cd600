from .backbones.base import FeatureBackbone
from .backbones.blip2 import Blip2Backbone
from .backbones.clip import ClipBackbone
from .backbones.features import VideoFeatures
from .backbones.registry import register_backbone
from .backbones.runner import VideoEncoder
from .backbones.similarity import SimilarityBackbone
from .backbones.slowfast import SlowFastBackbone
from .backbones.slowfast_configuration import VideoLightsSlowFastConfig
from .backbones.slowfast_network import VideoLightsSlowFastModel
from .backbones.slowfast_weights import convert_slowfast_checkpoint
from .convert.checkpoints import convert_checkpoint, convert_to_release
from .inference.moments import Moment, MomentResult, MomentSelection
from .inference.pipeline import VideoMomentRetrievalPipeline
from .inference.processing import VideoLightsProcessor
from .inference.zero_shot import zero_shot_pipeline
from .models.moment_detr.configuration import MomentDetrConfig
from .models.moment_detr.modeling import MomentDetrForMomentRetrieval, MomentDetrModel
from .models.qd_detr.configuration import QDDetrConfig
from .models.qd_detr.modeling import QDDetrForMomentRetrieval, QDDetrModel
from .models.tr_detr.configuration import TRDetrConfig
from .models.tr_detr.modeling import TRDetrForMomentRetrieval, TRDetrModel
from .models.videolights.configuration import VideoLightsConfig
from .models.videolights.loss import VideoLightsLoss
from .models.videolights.modeling import (
    VideoLightsForMomentRetrieval,
    VideoLightsModel,
    VideoLightsPreTrainedModel,
)
from .models.videolights.outputs import VideoLightsModelOutput, VideoLightsMomentRetrievalOutput
from .models.zero_shot.configuration import ZeroShotConfig
from .models.zero_shot.modeling import ZeroShotForMomentRetrieval
from .video.reader import VideoSource
from .visualization.moments import plot_moments

__version__: str

__all__ = [
    "Blip2Backbone",
    "ClipBackbone",
    "FeatureBackbone",
    "Moment",
    "MomentDetrConfig",
    "MomentDetrForMomentRetrieval",
    "MomentDetrModel",
    "MomentResult",
    "MomentSelection",
    "QDDetrConfig",
    "QDDetrForMomentRetrieval",
    "QDDetrModel",
    "SimilarityBackbone",
    "SlowFastBackbone",
    "TRDetrConfig",
    "TRDetrForMomentRetrieval",
    "TRDetrModel",
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
    "ZeroShotConfig",
    "ZeroShotForMomentRetrieval",
    "convert_checkpoint",
    "convert_slowfast_checkpoint",
    "convert_to_release",
    "plot_moments",
    "register_backbone",
    "zero_shot_pipeline",
]
