"""Moment-DETR (Lei et al., NeurIPS 2021): clips and words in one encoder, and the decoder of DETR."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.utils import can_return_tuple

from ..detector import DetectorForMomentRetrieval, DetectorModel
from ..encoder import Encoder
from ..outputs import DetectorModelOutput
from .configuration import MomentDetrConfig
from .decoder import QueryDecoder
from .loss import MomentDetrLoss


@dataclass
class MomentDetrModelOutput(DetectorModelOutput):
    """Output of [`MomentDetrModel`]: that of every detector's network, and the encoded words.

    Args:
        encoded_text (`torch.FloatTensor` of shape `(B, N, D)`): the encoded words.
    """

    encoded_text: torch.Tensor | None = None


class MomentDetrModel(DetectorModel):
    """The Moment-DETR network without its heads: project, encode clips and words together, decode."""

    config_class = MomentDetrConfig
    config: MomentDetrConfig

    def __init__(self, config: MomentDetrConfig):
        super().__init__(config)
        self.encoder = Encoder(config)
        self.query_positions = nn.Embedding(config.num_queries, config.hidden_size)
        self.decoder = QueryDecoder(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        video_features: torch.FloatTensor,
        text_features: torch.FloatTensor,
        video_attention_mask: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
        audio_features: torch.FloatTensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> MomentDetrModelOutput:
        """Run the network; the arguments are those of [`MomentDetrForMomentRetrieval`]."""
        masks = video_attention_mask, text_attention_mask
        projected, words = self.project(video_features, text_features, *masks, audio_features)
        clips = self.refine(projected, words)
        sequence = clips.then(words)
        encoded = self.encoder(sequence)
        queries = self.query_positions.weight.expand(clips.states.shape[0], -1, -1)
        decoded = self.decoder(queries, sequence.with_states(encoded.states))

        num_clips = clips.states.shape[1]
        return MomentDetrModelOutput(
            last_hidden_state=encoded.states[:, :num_clips],
            encoded_text=encoded.states[:, num_clips:],
            query_states=decoded.states,
            projected_video=projected.states,
            projected_text=words.states,
            refined_video=clips.states,
            fused_video=clips.states,
            **self.record(output_hidden_states, output_attentions, encoded, decoded),
        )


class MomentDetrForMomentRetrieval(DetectorForMomentRetrieval):
    """Moment-DETR with its heads: the moments that a sentence describes, and every clip's highlight score."""

    config_class = MomentDetrConfig
    config: MomentDetrConfig
    model_class = MomentDetrModel
    loss_class = MomentDetrLoss

    def __init__(self, config: MomentDetrConfig):
        super().__init__(config)
        self.saliency_head = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def predict(self, features: DetectorModelOutput) -> dict[str, Any]:
        """The last layer's moments, and `saliency_scores` (B, L): one linear unit over the encoded clips."""
        scores = self.saliency_head(features["last_hidden_state"]).squeeze(-1)
        return {**self.moment_heads(features), "saliency_scores": scores}

    def text_to_align(self, features: DetectorModelOutput) -> torch.Tensor:
        """Words (B, N, D) of the alignment loss: the encoded ones, or with FRA the projected ones."""
        return features["projected_text" if self.config.use_feature_refinement else "encoded_text"]


__all__ = ["MomentDetrForMomentRetrieval", "MomentDetrModel"]
