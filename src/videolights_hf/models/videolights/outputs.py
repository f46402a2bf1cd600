"""What VideoLights returns beside what every detector does; shapes as in `models/outputs.py`."""

from dataclasses import dataclass

import torch

from ..outputs import DetectorModelOutput, MomentRetrievalOutput


@dataclass
class VideoLightsModelOutput(DetectorModelOutput):
    """Output of [`VideoLightsModel`]: that of every detector's network, and the global token and negative pairs.

    Args:
        global_state (`torch.FloatTensor` of shape `(B, D)`): the encoded global token.
        negative_hidden_state (`torch.FloatTensor` of shape `(B, L, D)`, *optional*): the encoded clips with the next
            sample's sentence, when asked for.
        negative_global_state (`torch.FloatTensor` of shape `(B, D)`, *optional*): their global token.
        video_mask (`torch.BoolTensor` of shape `(B, L)`): valid clips.
        text_mask (`torch.BoolTensor` of shape `(B, N)`): valid words.
    """

    global_state: torch.Tensor | None = None
    negative_hidden_state: torch.Tensor | None = None
    negative_global_state: torch.Tensor | None = None
    video_mask: torch.Tensor | None = None
    text_mask: torch.Tensor | None = None


@dataclass
class VideoLightsMomentRetrievalOutput(MomentRetrievalOutput):
    """Output of [`VideoLightsForMomentRetrieval`]: that of every detector, and what its saliency losses read.

    Args:
        negative_saliency_scores (`torch.FloatTensor` of shape `(B, L)`, *optional*, with `labels`): scores against the
            next sample's sentence.
        moment_saliency_scores (`torch.FloatTensor` of shape `(B, L)`, *optional*, with `labels`): scores derived from
            the predicted moment (task coupling).
    """

    negative_saliency_scores: torch.Tensor | None = None
    moment_saliency_scores: torch.Tensor | None = None


__all__ = ["VideoLightsModelOutput", "VideoLightsMomentRetrievalOutput"]
