"""Bi-CMF, the Bi-Directional Cross-Modal Fusion network (paper, section III-C), and its one-way variant Uni-CMF."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from ..attention import Attention
from ..dropout import DropAddNorm, Dropout
from ..feed_forward import FeedForward
from ..fusion import TextToVideoLayer
from ..linear import XavierLinear
from ..tokens import add_position, repeat_to
from .configuration import VideoLightsConfig


class BidirectionalLayer(GradientCheckpointingLayer):
    """One layer of Bi-CMF (paper, Fig. 4): video from text, text from video, video from the fused text."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        hidden_size = config.hidden_size
        self.as_printed = config.fusion_form == "paper"
        self.positions_everywhere = config.fusion_positions == "all"
        self.video_from_text = Attention(config)
        self.text_from_video = Attention(config)
        self.video_from_fused_text = Attention(config)
        self.video_from_text_proj = XavierLinear(hidden_size, hidden_size)
        self.text_from_video_proj = XavierLinear(hidden_size, hidden_size)
        self.video_from_fused_text_proj = XavierLinear(hidden_size, hidden_size)
        self.feed_forward = FeedForward(config)
        self.norm1 = nn.LayerNorm(hidden_size)
        # The released layer holds this norm without using it; the paper's form does.
        self.norm2 = nn.LayerNorm(hidden_size)
        self.norm3 = nn.LayerNorm(hidden_size)
        self.norm4 = DropAddNorm(hidden_size, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        video: torch.Tensor,
        text: torch.Tensor,
        video_position: torch.Tensor,
        text_position: torch.Tensor | None,
        video_mask: torch.Tensor | None,
        text_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Fuse text (B, N, D) into video (B, L, D); also returns weights (B, H, L, N) of its last attention or None.

        The video may be of fewer samples than the text: it repeats for the rest.

        `video_mask` and `text_mask` are attention masks over clips and over words as keys.
        """
        placed_video, placed_text = add_position(video, video_position), add_position(text, text_position)
        video_value, text_value = (placed_video, placed_text) if self.positions_everywhere else (video, text)
        attended, _ = self.video_from_text(placed_video, placed_text, text_value, text_mask)
        video = repeat_to(video, text.shape[0])
        fused_video = self.norm1(video + self.video_from_text_proj(self.dropout(attended)))

        attended, _ = self.text_from_video(placed_text, placed_video, video_value, video_mask)
        fused_text = text + self.text_from_video_proj(self.dropout(attended))
        if self.as_printed:
            fused_text = self.norm2(fused_text)

        query, key = fused_video, fused_text
        if self.positions_everywhere:
            query, key = add_position(fused_video, video_position), add_position(fused_text, text_position)
        attended, weights = self.video_from_fused_text(query, key, key, text_mask)
        fused_video = self.norm3(fused_video + self.video_from_fused_text_proj(self.dropout(attended)))

        update = self.feed_forward(fused_video)
        # The release adds the feed-forward output to itself here, not to its input.
        residual = fused_video if self.as_printed else update
        return self.norm4(residual, update), weights


FUSION_LAYERS = {"bi": BidirectionalLayer, "uni": TextToVideoLayer}

__all__ = ["FUSION_LAYERS", "BidirectionalLayer"]
