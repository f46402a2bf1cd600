"""TR-DETR (Sun et al., AAAI 2024): highlights weigh the clips before moments are decoded, and moments give highlights."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.utils import can_return_tuple

from ..decoder import AnchorDecoder
from ..detector import DetectorForMomentRetrieval, DetectorModel
from ..encoder import Encoder
from ..fusion import Fusion
from ..linear import projected_sum
from ..numerics import masked_softmax
from ..outputs import DetectorModelOutput
from ..videolights.coupling import MomentReader
from .configuration import TRDetrConfig
from .loss import TRDetrLoss
from .refinement import VisualRefinement


@dataclass
class TRDetrModelOutput(DetectorModelOutput):
    """Output of [`TRDetrModel`]: that of every detector's network, and what its heads and loss read.

    Args:
        first_hidden_state (`torch.FloatTensor` of shape `(B, L, D)`): clips after the encoder's first pass.
        highlight_weights (`torch.FloatTensor` of shape `(B, L)`): weight of each clip in the second pass.
        feature_refined_video (`torch.FloatTensor` of shape `(B, L, D)`): clips after FRA alone.
        video_mask (`torch.BoolTensor` of shape `(B, L)`): valid clips.
        text_mask (`torch.BoolTensor` of shape `(B, N)`): valid words.
    """

    first_hidden_state: torch.Tensor | None = None
    highlight_weights: torch.Tensor | None = None
    feature_refined_video: torch.Tensor | None = None
    video_mask: torch.Tensor | None = None
    text_mask: torch.Tensor | None = None


class TRDetrModel(DetectorModel):
    """The TR-DETR network without its heads: project, refine, fuse, encode, weigh by highlights, encode again, decode."""

    config_class = TRDetrConfig
    config: TRDetrConfig

    def __init__(self, config: TRDetrConfig):
        super().__init__(config)
        self.visual_refinement = VisualRefinement(config) if config.refinement_order == "before" else None
        self.fusion = Fusion(config)
        self.encoder = Encoder(config)
        self.highlight_head = nn.Linear(config.hidden_size, config.hidden_size)
        self.query_anchors = nn.Embedding(config.num_queries, 2)
        self.decoder = AnchorDecoder(config)
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
    ) -> TRDetrModelOutput:
        """Run the network; the arguments are those of [`TRDetrForMomentRetrieval`]."""
        masks = video_attention_mask, text_attention_mask
        projected, words = self.project(video_features, text_features, *masks, audio_features)
        clips = feature_refined = self.refine(projected, words)
        if self.visual_refinement is not None:
            clips = clips.with_states(self.visual_refinement(clips, words))
        fused = self.fusion(clips, words)
        first = self.encoder(clips.with_states(fused.states)).states
        weights = masked_softmax(self.score_highlights(first), clips.is_valid())
        encoded = self.encoder(clips.with_states(first + weights.unsqueeze(-1) * fused.states))
        anchors = self.query_anchors.weight.sigmoid().expand(clips.states.shape[0], -1, -1)
        decoded = self.decoder(anchors, clips.with_states(encoded.states))

        return TRDetrModelOutput(
            last_hidden_state=encoded.states,
            query_states=decoded.states,
            anchors=decoded.anchors,
            projected_video=projected.states,
            projected_text=words.states,
            refined_video=clips.states,
            fused_video=fused.states,
            first_hidden_state=first,
            highlight_weights=weights,
            feature_refined_video=feature_refined.states,
            video_mask=clips.is_valid(),
            text_mask=words.is_valid(),
            **self.record(output_hidden_states, output_attentions, encoded, decoded, fused),
        )

    def score_highlights(self, clips: torch.Tensor) -> torch.Tensor:
        """Highlight scores (B, L) of clips (B, L, D)."""
        return projected_sum(clips, self.highlight_head) * clips.shape[-1] ** -0.5


class TRDetrForMomentRetrieval(DetectorForMomentRetrieval):
    """TR-DETR with its heads: the moments that a sentence describes, and every clip's highlight score.

    A GRU reads the best moment, at inference too: `torch.compile` breaks the graph there unless
    `torch._dynamo.config.allow_rnn` is set, and an export has a fixed number of clips, to which videos are padded.
    """

    config_class = TRDetrConfig
    config: TRDetrConfig
    model_class = TRDetrModel
    loss_class = TRDetrLoss

    def __init__(self, config: TRDetrConfig):
        super().__init__(config)
        self.moment_reader = MomentReader(config)
        self.post_init()

    def predict(self, features: DetectorModelOutput) -> dict[str, Any]:
        """The last layer's moments, and `saliency_scores` (B, L) from the best of them."""
        output = self.moment_heads(features)
        video, memory = features["projected_video"], features["last_hidden_state"]
        # Of the sample's own clips, so that a prediction does not depend on the longest video of the batch.
        num_clips = features["video_mask"].sum(1, keepdim=True)
        moment = self.moment_reader.read_moment(video, output["logits"], output["pred_spans"], num_clips)
        weight = video @ moment.unsqueeze(-1)
        return {**output, "saliency_scores": self.model.score_highlights(memory * weight + memory)}


__all__ = ["TRDetrForMomentRetrieval", "TRDetrModel"]
