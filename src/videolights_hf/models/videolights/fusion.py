"""Cross-modal fusion (Bi-CMF and its one-way variant) and the video encoder."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from ..attention import VideoLightsAttention, VideoLightsFeedForward, XavierLinear
from .configuration import VideoLightsConfig


class VideoLightsBidirectionalFusionLayer(GradientCheckpointingLayer):
    """One layer of the Bi-Directional Cross-Modal Fusion Network (paper, section III-C, Fig. 4)."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        hidden_size = config.hidden_size
        self.video_from_text = VideoLightsAttention(config)
        self.text_from_video = VideoLightsAttention(config)
        self.video_from_fused_text = VideoLightsAttention(config)
        self.video_from_text_proj = XavierLinear(hidden_size, hidden_size)
        self.text_from_video_proj = XavierLinear(hidden_size, hidden_size)
        self.video_from_fused_text_proj = XavierLinear(hidden_size, hidden_size)
        self.feed_forward = VideoLightsFeedForward(config)
        self.norm1 = nn.LayerNorm(hidden_size)
        # The released layer holds this norm without using it; it stays so that checkpoints pass both ways unchanged.
        self.norm2 = nn.LayerNorm(hidden_size)
        self.norm3 = nn.LayerNorm(hidden_size)
        self.norm4 = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        video: torch.Tensor,
        text: torch.Tensor,
        video_position: torch.Tensor,
        text_position: torch.Tensor | None,
        video_mask: torch.Tensor | None,
        text_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Fuse text into video (B, L, D) and return it with the weights (B, H, L, N) of its last attention.

        `video_mask` and `text_mask` are attention masks over clips and over words as keys.
        """
        placed_text = text if text_position is None else text + text_position
        attended, _ = self.video_from_text(video + video_position, placed_text, text, text_mask)
        fused_video = self.norm1(video + self.video_from_text_proj(self.dropout(attended)))

        attended, _ = self.text_from_video(placed_text, video + video_position, video, video_mask)
        fused_text = text + self.text_from_video_proj(self.dropout(attended))

        attended, weights = self.video_from_fused_text(fused_video, fused_text, fused_text, text_mask)
        fused_video = self.norm3(fused_video + self.video_from_fused_text_proj(self.dropout(attended)))

        # The release adds the feed-forward output to itself here, not to its input.
        update = self.feed_forward(fused_video)
        return self.norm4(update + self.dropout(update)), weights


class VideoLightsTextToVideoFusionLayer(GradientCheckpointingLayer):
    """One-way fusion, the Uni-CMF of the ablation in the paper's Table VI: clips attend to words."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        self.video_from_text = VideoLightsAttention(config)
        self.feed_forward = VideoLightsFeedForward(config)
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        video: torch.Tensor,
        text: torch.Tensor,
        video_position: torch.Tensor,
        text_position: torch.Tensor | None,
        video_mask: torch.Tensor | None,
        text_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Same signature and returns as [`VideoLightsBidirectionalFusionLayer`]."""
        placed_text = text if text_position is None else text + text_position
        attended, weights = self.video_from_text(video + video_position, placed_text, text, text_mask)
        video = self.norm1(video + self.dropout(attended))
        return self.norm2(video + self.dropout(self.feed_forward(video))), weights


FUSION_LAYERS = {"bi": VideoLightsBidirectionalFusionLayer, "uni": VideoLightsTextToVideoFusionLayer}


class VideoLightsFusion(nn.Module):
    """The stack of cross-modal fusion layers; the text passes through to each layer unchanged."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        layer = FUSION_LAYERS[config.cross_modal_fusion]
        self.layers = nn.ModuleList(layer(config) for _ in range(config.num_fusion_layers))

    def forward(
        self,
        video: torch.Tensor,
        text: torch.Tensor,
        video_position: torch.Tensor,
        text_position: torch.Tensor | None,
        video_mask: torch.Tensor | None,
        text_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor | None, ...]]:
        """Returns the fused video (B, L, D) and each layer's attention weights (B, H, L, N)."""
        all_weights = ()
        for layer in self.layers:
            video, weights = layer(video, text, video_position, text_position, video_mask, text_mask)
            all_weights += (weights,)
        return video, all_weights


class VideoLightsEncoderLayer(GradientCheckpointingLayer):
    """Post-norm self-attention layer; positions are added to queries and keys, not to values."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        self.self_attn = VideoLightsAttention(config)
        self.feed_forward = VideoLightsFeedForward(config)
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden_states: torch.Tensor, position: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, S, D) to (B, S, D), with attention weights (B, H, S, S) or None."""
        placed = hidden_states + position
        attended, weights = self.self_attn(placed, placed, hidden_states, attention_mask)
        hidden_states = self.norm1(hidden_states + self.dropout(attended))
        return self.norm2(hidden_states + self.dropout(self.feed_forward(hidden_states))), weights


class VideoLightsEncoder(nn.Module):
    """Self-attention over the global token and the fused clips."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        self.layers = nn.ModuleList(VideoLightsEncoderLayer(config) for _ in range(config.num_encoder_layers))

    def forward(
        self, hidden_states: torch.Tensor, position: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor | None, ...]]:
        """Returns (B, S, D), the states before the first and after every layer, and the attention weights."""
        all_states, all_weights = (hidden_states,), ()
        for layer in self.layers:
            hidden_states, weights = layer(hidden_states, position, attention_mask)
            all_states += (hidden_states,)
            all_weights += (weights,)
        return hidden_states, all_states, all_weights
