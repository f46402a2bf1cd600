"""The moment decoder: learned anchors refined layer by layer, in the manner of conditional DETR and DAB-DETR."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import AttentionBase
from .configuration import DetectorConfig
from .dropout import DropAddNorm
from .feed_forward import MLP, FeedForward
from .linear import XavierLinear, ZeroBiasLinear, project_together
from .numerics import inverse_sigmoid
from .positions import sine_embedding
from .tokens import Tokens


class DecoderOutput(NamedTuple):
    """What a decoder returns.

    Attributes:
        states: (layers, B, M, D) normalized query states after each layer.
        anchors: (layers, B, M, 2) center and width that each layer started from, to which the span head adds; None
            from a decoder without anchors.
        self_attentions: Weights (B, H, M, M) of each layer, or None from an implementation that computes none.
        cross_attentions: Weights (B, H, M, S) of queries over the encoded sequence, the same.
    """

    states: torch.Tensor
    anchors: torch.Tensor | None
    self_attentions: tuple[torch.Tensor | None, ...]
    cross_attentions: tuple[torch.Tensor | None, ...]


class AnchorSelfAttention(AttentionBase):
    """Attention among moment queries; content and position have projections of their own, added up."""

    def __init__(self, config: DetectorConfig):
        super().__init__(config)
        hidden_size = config.hidden_size
        self.q_content_proj = XavierLinear(hidden_size, hidden_size)
        self.q_position_proj = XavierLinear(hidden_size, hidden_size)
        self.k_content_proj = XavierLinear(hidden_size, hidden_size)
        self.k_position_proj = XavierLinear(hidden_size, hidden_size)
        self.v_proj = XavierLinear(hidden_size, hidden_size)

    def forward(self, queries: torch.Tensor, query_position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, M, D) and (B, M, D) to (B, M, D), with weights (B, H, M, M) or None."""
        query, key, value = project_together(queries, self.q_content_proj, self.k_content_proj, self.v_proj)
        query_place, key_place = project_together(query_position, self.q_position_proj, self.k_position_proj)
        query, key = query + query_place, key + key_place
        return self.attend(self.split_heads(query), self.split_heads(key), self.split_heads(value), None)


class ProjectedMemory(NamedTuple):
    """Encoded clips as one layer's cross-attention reads them, (B, L, D).

    Attributes:
        key: Of the content.
        key_position: Of the positions, or (1, L, D) where they are the same for all.
        value: Of the content.
    """

    key: torch.Tensor
    key_position: torch.Tensor
    value: torch.Tensor


class AnchorCrossAttention(AttentionBase):
    """Attention from moment queries to clips; content and position sit side by side within each head."""

    def __init__(self, config: DetectorConfig, is_first: bool):
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
        memory: ProjectedMemory,
        memory_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Queries (B, M, D) over memory (B, L, D) to (B, M, D), with weights (B, H, M, L) or None."""
        query, (key, key_position, value) = self.q_content_proj(queries), memory
        if self.q_position_proj is not None:
            query = query + self.q_position_proj(query_position)
            key = key + key_position
        query = torch.cat((self.split_heads(query), self.split_heads(self.q_sine_proj(query_sine))), dim=-1)
        key = torch.cat((self.split_heads(key), self.split_heads(key_position.expand_as(key))), dim=-1)
        return self.attend(query, key, self.split_heads(value), memory_mask)

    @staticmethod
    def project_memory(attentions: list[AnchorCrossAttention], memory: Tokens) -> list[ProjectedMemory]:
        """What the attentions of all layers make of the memory (B, L, D), in two matrix products."""
        layers = [layer for attention in attentions for layer in (attention.k_content_proj, attention.v_proj)]
        projected = project_together(memory.states, *layers)
        # Clips always have positions.
        position = cast("torch.Tensor", memory.position)
        places = project_together(position, *(attention.k_position_proj for attention in attentions))
        return [ProjectedMemory(*parts) for parts in zip(projected[::2], places, projected[1::2], strict=True)]


class AnchorDecoderLayer(GradientCheckpointingLayer):
    """Self-attention among moment queries, cross-attention to the clips, feed-forward; post-norm."""

    def __init__(self, config: DetectorConfig, is_first: bool):
        super().__init__()
        self.self_attn = AnchorSelfAttention(config)
        self.cross_attn = AnchorCrossAttention(config, is_first)
        self.feed_forward = FeedForward(config)
        self.norm1 = DropAddNorm(config.hidden_size, config.dropout)
        self.norm2 = DropAddNorm(config.hidden_size, config.dropout)
        self.norm3 = DropAddNorm(config.hidden_size, config.dropout)

    def forward(
        self,
        queries: torch.Tensor,
        query_position: torch.Tensor,
        query_sine: torch.Tensor,
        memory: ProjectedMemory,
        memory_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """(B, M, D) to (B, M, D), with self- and cross-attention weights or None."""
        attended, self_weights = self.self_attn(queries, query_position)
        queries = self.norm1(queries, attended)
        attended, cross_weights = self.cross_attn(queries, query_position, query_sine, memory, memory_mask)
        queries = self.norm2(queries, attended)
        queries = self.norm3(queries, self.feed_forward(queries))
        return queries, self_weights, cross_weights


class AnchorDecoder(nn.Module):
    """Decoder over moment queries, each a (center, width) anchor that every layer moves."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        size = config.hidden_size
        self.config = config
        self.layers = nn.ModuleList(AnchorDecoderLayer(config, i == 0) for i in range(config.num_decoder_layers))
        self.norm = nn.LayerNorm(size)
        self.position_head = MLP([size, size, size], XavierLinear)
        self.position_scale = MLP([size, size, size], XavierLinear)
        self.width_head = MLP([size, size, 1], XavierLinear)
        self.anchor_head = MLP([size, size, size, 2], XavierLinear, last_linear=ZeroBiasLinear)

    def embed_anchors(self, anchors: torch.Tensor) -> torch.Tensor:
        """(B, M, 2) anchors to (B, M, D) sine embeddings, half the channels for the center, half for the width."""
        return sine_embedding(anchors * (2 * math.pi), self.config.hidden_size // 2).flatten(-2)

    def forward(self, anchors: torch.Tensor, memory: Tokens) -> DecoderOutput:
        """Decode moments from the encoded clips.

        Args:
            anchors: (B, M, 2) initial (center, width), fractions of the video.
            memory: (B, L, D) encoded clips.
        """
        mask = memory.attention_mask(self.config, anchors)
        queries = memory.states.new_zeros(*anchors.shape[:2], self.config.hidden_size)
        attentions = [cast("AnchorDecoderLayer", layer).cross_attn for layer in self.layers]
        projected = AnchorCrossAttention.project_memory(attentions, memory)
        states, all_anchors = [], [anchors]
        self_attentions: tuple[torch.Tensor | None, ...] = ()
        cross_attentions: tuple[torch.Tensor | None, ...] = ()
        for index, layer in enumerate(self.layers):
            sine = self.embed_anchors(anchors).to(queries.dtype)
            query_position = self.position_head(sine)
            if index > 0:
                sine = sine * self.position_scale(queries)
            # Wider anchors look less sharply at their center (width-modulated attention).
            sine = sine * (self.width_head(queries).sigmoid() / anchors[..., 1:])
            queries, self_weights, cross_weights = layer(queries, query_position, sine, projected[index], mask)
            states.append(self.norm(queries))
            self_attentions += (self_weights,)
            cross_attentions += (cross_weights,)
            if index + 1 < len(self.layers):
                moved = (self.anchor_head(queries) + inverse_sigmoid(anchors)).sigmoid()
                # The span head adds to the moved anchor and sends it gradient; the next layer's attention does not.
                all_anchors.append(moved)
                anchors = moved.detach()
        return DecoderOutput(torch.stack(states), torch.stack(all_anchors), self_attentions, cross_attentions)


__all__ = ["AnchorDecoder", "DecoderOutput"]
