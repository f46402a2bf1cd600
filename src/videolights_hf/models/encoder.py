"""The transformer encoder."""

from typing import NamedTuple

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import Attention
from .configuration import DetectorConfig
from .dropout import DropAddNorm
from .feed_forward import FeedForward
from .tokens import Tokens, add_position


class EncoderOutput(NamedTuple):
    """What the encoder returns.

    Attributes:
        states: (B, S, D) after the last layer.
        all_states: (B, S, D) before the first and after each layer.
        attentions: Weights (B, H, S, S) of each layer, or None from an implementation that computes none.
    """

    states: torch.Tensor
    all_states: tuple[torch.Tensor, ...]
    attentions: tuple[torch.Tensor | None, ...]


class EncoderLayer(GradientCheckpointingLayer):
    """Post-norm self-attention layer; positions are added to queries and keys, not to values."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.self_attn = Attention(config)
        self.feed_forward = FeedForward(config)
        self.norm1 = DropAddNorm(config.hidden_size, config.dropout)
        self.norm2 = DropAddNorm(config.hidden_size, config.dropout)

    def forward(
        self, hidden_states: torch.Tensor, position: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, S, D) to (B, S, D), with attention weights (B, H, S, S) or None."""
        placed = add_position(hidden_states, position)
        attended, weights = self.self_attn(placed, placed, hidden_states, attention_mask)
        hidden_states = self.norm1(hidden_states, attended)
        return self.norm2(hidden_states, self.feed_forward(hidden_states)), weights


class Encoder(nn.Module):
    """Self-attention over one sequence."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_encoder_layers))

    def forward(self, tokens: Tokens) -> EncoderOutput:
        """Encode (B, S, D) tokens."""
        states = tokens.states
        all_states: tuple[torch.Tensor, ...] = (states,)
        attentions: tuple[torch.Tensor | None, ...] = ()
        mask = tokens.attention_mask(self.config, states)
        for layer in self.layers:
            states, weights = layer(states, tokens.position, mask)
            all_states += (states,)
            attentions += (weights,)
        return EncoderOutput(states, all_states, attentions)


__all__ = ["Encoder", "EncoderOutput"]
