"""The decoder of the original DETR: queries are learned positions without anchors."""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from ..attention import Attention
from ..decoder import DecoderOutput
from ..dropout import DropAddNorm
from ..feed_forward import FeedForward
from ..tokens import Tokens
from .configuration import MomentDetrConfig


class QueryDecoderLayer(GradientCheckpointingLayer):
    """Self-attention among moment queries, cross-attention to clips and words, feed-forward; post-norm."""

    def __init__(self, config: MomentDetrConfig):
        super().__init__()
        self.self_attn = Attention(config)
        self.cross_attn = Attention(config)
        self.feed_forward = FeedForward(config)
        self.norm1 = DropAddNorm(config.hidden_size, config.dropout)
        self.norm2 = DropAddNorm(config.hidden_size, config.dropout)
        self.norm3 = DropAddNorm(config.hidden_size, config.dropout)

    def forward(
        self,
        queries: torch.Tensor,
        query_position: torch.Tensor,
        memory: torch.Tensor,
        placed_memory: torch.Tensor,
        memory_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """(B, M, D) over memory (B, S, D) to (B, M, D), with self- and cross-attention weights or None."""
        placed = queries + query_position
        attended, self_weights = self.self_attn(placed, placed, queries)
        queries = self.norm1(queries, attended)
        attended, cross_weights = self.cross_attn(queries + query_position, placed_memory, memory, memory_mask)
        queries = self.norm2(queries, attended)
        return self.norm3(queries, self.feed_forward(queries)), self_weights, cross_weights


class QueryDecoder(nn.Module):
    """Decoder over moment queries whose positions are learned."""

    def __init__(self, config: MomentDetrConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(QueryDecoderLayer(config) for _ in range(config.num_decoder_layers))
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, query_position: torch.Tensor, memory: Tokens) -> DecoderOutput:
        """Decode moments from learned positions (B, M, D) and the encoded sequence (B, S, D)."""
        queries, states = torch.zeros_like(query_position), []
        mask = memory.attention_mask(self.config, queries)
        self_attentions: tuple[torch.Tensor | None, ...] = ()
        cross_attentions: tuple[torch.Tensor | None, ...] = ()
        for layer in self.layers:
            queries, self_weights, cross_weights = layer(queries, query_position, memory.states, memory.placed, mask)
            states.append(self.norm(queries))
            self_attentions += (self_weights,)
            cross_attentions += (cross_weights,)
        return DecoderOutput(torch.stack(states), None, self_attentions, cross_attentions)


__all__ = ["QueryDecoder"]
