"""The moment decoder: learned anchors refined layer by layer, in the manner of conditional DETR and DAB-DETR."""

import math

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import (
    VideoLightsAttentionBase,
    VideoLightsFeedForward,
    VideoLightsMLP,
    XavierLinear,
    sine_embedding,
)
from .videolights.configuration import VideoLightsConfig


def inverse_sigmoid(value: torch.Tensor, eps: float = 1e-3) -> torch.Tensor:
    """Logit of fractions, with both sides kept at least `eps` away from 0."""
    value = value.clamp(0, 1)
    return torch.log(value.clamp(min=eps) / (1 - value).clamp(min=eps))


class VideoLightsDecoderSelfAttention(VideoLightsAttentionBase):
    """Attention among moment queries; content and position have projections of their own, added up."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__(config)
        hidden_size = config.hidden_size
        self.q_content_proj = XavierLinear(hidden_size, hidden_size)
        self.q_position_proj = XavierLinear(hidden_size, hidden_size)
        self.k_content_proj = XavierLinear(hidden_size, hidden_size)
        self.k_position_proj = XavierLinear(hidden_size, hidden_size)
        self.v_proj = XavierLinear(hidden_size, hidden_size)

    def forward(self, queries: torch.Tensor, query_position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, M, D) and (B, M, D) to (B, M, D), with weights (B, H, M, M) or None."""
        query = self.q_content_proj(queries) + self.q_position_proj(query_position)
        key = self.k_content_proj(queries) + self.k_position_proj(query_position)
        value = self.v_proj(queries)
        return self.attend(self.split_heads(query), self.split_heads(key), self.split_heads(value), None)


class VideoLightsDecoderCrossAttention(VideoLightsAttentionBase):
    """Attention from moment queries to clips; content and position sit side by side within each head."""

    def __init__(self, config: VideoLightsConfig, is_first: bool):
        super().__init__(config)
        hidden_size = config.hidden_size
        self.q_content_proj = XavierLinear(hidden_size, hidden_size)
        # Only the first layer also adds the positions to the content: there the queries are still empty.
        self.q_position_proj = XavierLinear(hidden_size, hidden_size) if is_first else None
        self.q_sine_proj = XavierLinear(hidden_size, hidden_size)
        self.k_content_proj = XavierLinear(hidden_size, hidden_size)
        self.k_position_proj = XavierLinear(hidden_size, hidden_size)
        self.v_proj = XavierLinear(hidden_size, hidden_size)

    def forward(
        self,
        queries: torch.Tensor,
        query_position: torch.Tensor,
        query_sine: torch.Tensor,
        memory: torch.Tensor,
        memory_position: torch.Tensor,
        memory_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Queries (B, M, D) over memory (B, L, D) to (B, M, D), with weights (B, H, M, L) or None."""
        query, key = self.q_content_proj(queries), self.k_content_proj(memory)
        key_position = self.k_position_proj(memory_position)
        if self.q_position_proj is not None:
            query = query + self.q_position_proj(query_position)
            key = key + key_position
        query = torch.cat((self.split_heads(query), self.split_heads(self.q_sine_proj(query_sine))), dim=-1)
        key = torch.cat((self.split_heads(key), self.split_heads(key_position)), dim=-1)
        return self.attend(query, key, self.split_heads(self.v_proj(memory)), memory_mask)


class VideoLightsDecoderLayer(GradientCheckpointingLayer):
    """Self-attention among moment queries, cross-attention to the clips, feed-forward; post-norm."""

    def __init__(self, config: VideoLightsConfig, is_first: bool):
        super().__init__()
        self.self_attn = VideoLightsDecoderSelfAttention(config)
        self.cross_attn = VideoLightsDecoderCrossAttention(config, is_first)
        self.feed_forward = VideoLightsFeedForward(config)
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size)
        self.norm3 = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        queries: torch.Tensor,
        query_position: torch.Tensor,
        query_sine: torch.Tensor,
        memory: torch.Tensor,
        memory_position: torch.Tensor,
        memory_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """(B, M, D) to (B, M, D), with self- and cross-attention weights or None."""
        attended, self_weights = self.self_attn(queries, query_position)
        queries = self.norm1(queries + self.dropout(attended))
        attended, cross_weights = self.cross_attn(
            queries, query_position, query_sine, memory, memory_position, memory_mask
        )
        queries = self.norm2(queries + self.dropout(attended))
        queries = self.norm3(queries + self.dropout(self.feed_forward(queries)))
        return queries, self_weights, cross_weights


class VideoLightsDecoder(nn.Module):
    """Decoder over moment queries, each a (centre, width) anchor that every layer moves."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        hidden_size = config.hidden_size
        self.hidden_size = hidden_size
        self.layers = nn.ModuleList(VideoLightsDecoderLayer(config, i == 0) for i in range(config.num_decoder_layers))
        self.norm = nn.LayerNorm(hidden_size)
        self.position_head = VideoLightsMLP(hidden_size, hidden_size, hidden_size, 2, linear=XavierLinear)
        self.position_scale = VideoLightsMLP(hidden_size, hidden_size, hidden_size, 2, linear=XavierLinear)
        self.width_head = VideoLightsMLP(hidden_size, hidden_size, 1, 2, linear=XavierLinear)
        self.anchor_head = VideoLightsMLP(hidden_size, hidden_size, 2, 3, linear=XavierLinear)
        self.anchor_head.layers[-1].zero_bias = True

    def embed_anchors(self, anchors: torch.Tensor) -> torch.Tensor:
        """(B, M, 2) anchors to (B, M, D) sine embeddings, half the channels for the centre, half for the width."""
        return sine_embedding(anchors.float() * (2 * math.pi), self.hidden_size // 2).flatten(-2)

    def forward(
        self,
        anchors: torch.Tensor,
        memory: torch.Tensor,
        memory_position: torch.Tensor,
        memory_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor | None, ...], tuple[torch.Tensor | None, ...]]:
        """Decode moments from the encoded clips.

        Args:
            anchors: (B, M, 2) initial (centre, width), fractions of the video.
            memory: (B, L, D) encoded clips.
            memory_position: (B, L, D) their positions.
            memory_mask: attention mask over the clips, or None.

        Returns:
            The normalised query states (layers, B, M, D); the anchors each layer started from (layers, B, M, 2), to
            which the span head adds; self-attention weights; cross-attention weights (B, H, M, L).
        """
        queries = memory.new_zeros(*anchors.shape[:2], self.hidden_size)
        all_states, all_anchors, all_self_weights, all_cross_weights = [], [anchors], (), ()
        for index, layer in enumerate(self.layers):
            sine = self.embed_anchors(anchors).to(memory.dtype)
            query_position = self.position_head(sine)
            if index > 0:
                sine = sine * self.position_scale(queries)
            # Wider anchors look less sharply at their centre (width-modulated attention).
            sine = sine * (self.width_head(queries).sigmoid() / anchors[..., 1:])
            queries, self_weights, cross_weights = layer(
                queries, query_position, sine, memory, memory_position, memory_mask
            )
            all_states.append(self.norm(queries))
            all_self_weights += (self_weights,)
            all_cross_weights += (cross_weights,)
            if index + 1 < len(self.layers):
                moved = (self.anchor_head(queries) + inverse_sigmoid(anchors)).sigmoid()
                # The span head adds to the moved anchor and sends it gradient; the next layer's attention does not.
                all_anchors.append(moved)
                anchors = moved.detach()
        return torch.stack(all_states), torch.stack(all_anchors), all_self_weights, all_cross_weights
