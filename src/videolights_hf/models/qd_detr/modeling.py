"""QD-DETR (Moon et al., CVPR 2023).

VideoLights is built on it: its network is VideoLights' with one-way fusion in place of Bi-CMF, and its heads are
VideoLights' without the task coupling.
"""

from ..videolights.modeling import VideoLightsForMomentRetrieval, VideoLightsModel
from .configuration import QDDetrConfig
from .loss import QDDetrLoss


class QDDetrModel(VideoLightsModel):
    """The QD-DETR network without its heads: project, fuse, encode, decode."""

    config_class = QDDetrConfig


class QDDetrForMomentRetrieval(VideoLightsForMomentRetrieval):
    """QD-DETR with its heads: the moments that a sentence describes, and every clip's highlight score."""

    config_class = QDDetrConfig
    model_class = QDDetrModel
    loss_class = QDDetrLoss


__all__ = ["QDDetrForMomentRetrieval", "QDDetrModel"]
