"""Multi-head attention, through whichever implementation the configuration names."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import is_flash_attention_requested

from .configuration import DetectorConfig
from .dropout import dropped_attention, drops_by_bits
from .linear import PackedLinear, ZeroBiasLinear, project_together
from .numerics import is_on_host
from .tokens import repeat_to


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled dot-product attention that also returns its weights.

    Shapes: query (B, H, Q, d), key (B, H, K, d), value (B, H, K, e), mask broadcastable to (B, H, Q, K), additive or
    boolean (True attends).
    Returns (B, Q, H, e) and (B, H, Q, K).
    """
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            weights = weights.masked_fill(~attention_mask, torch.finfo(weights.dtype).min)
        else:
            weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1)
    dropped = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(dropped, value).transpose(1, 2), weights


class AttentionBase(nn.Module):
    """Heads, scaling and dispatch to the attention implementation that the configuration names."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.is_causal = False
        self.out_proj = ZeroBiasLinear(config.hidden_size, config.hidden_size)

    def split_heads(self, states: torch.Tensor) -> torch.Tensor:
        """(B, S, D) to (B, H, S, D / H)."""
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend per head and project. Inputs (B, H, S, d); returns (B, Q, D) and (B, H, Q, K) or None."""
        implementation = self.config._attn_implementation
        if is_flash_attention_requested(self.config) and attention_mask is not None and attention_mask.ndim == 4:
            # Flash attention takes padding only where queries and keys are the same sequence (`Tokens.attention_mask`).
            implementation = "sdpa"
        # Scaling the query before the product, as the release does, keeps the rounding of its numbers.
        query = query * query.shape[-1] ** -0.5
        dropout = self.config.dropout if self.training else 0.0
        if implementation == "sdpa" and drops_by_bits(query, dropout):
            return self.out_proj(dropped_attention(query, key, value, attention_mask, dropout).flatten(2)), None
        if implementation == "sdpa" and query.shape[-1] != value.shape[-1] and is_on_host(query):
            # PyTorch has no fused kernel for that on a CPU, and its fallback is slower than this.
            output, _ = eager_attention_forward(self, query, key, value, attention_mask, 1.0, dropout)
            return self.out_proj(output.flatten(2)), None
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        output, weights = attention(
            self,
            query,
            key,
            value,
            attention_mask,
            scaling=1.0,
            dropout=dropout,
        )
        return self.out_proj(output.flatten(2)), weights


class Attention(AttentionBase):
    """Multi-head attention over one sequence as keys and another, or the same, as values."""

    def __init__(self, config: DetectorConfig):
        super().__init__(config)
        self.q_proj = PackedLinear(config.hidden_size, config.hidden_size)
        self.k_proj = PackedLinear(config.hidden_size, config.hidden_size)
        self.v_proj = PackedLinear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from query (B, Q, D) to key and value (B, K, D); returns (B, Q, D) and (B, H, Q, K) or None.

        Queries, or keys and values, may be of fewer samples: they are projected once and then repeated (`repeat_to`).
        """
        size = query.shape[0] if query.shape[0] > key.shape[0] else key.shape[0]
        if query is key:
            projected_query, projected_key = project_together(query, self.q_proj, self.k_proj)
            projected_value = self.v_proj(value)
        elif key is value:
            projected_query = self.q_proj(query)
            projected_key, projected_value = project_together(key, self.k_proj, self.v_proj)
        else:
            projected_query, projected_key, projected_value = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        return self.attend(
            self.split_heads(repeat_to(projected_query, size)),
            self.split_heads(repeat_to(projected_key, size)),
            self.split_heads(repeat_to(projected_value, size)),
            attention_mask,
        )


__all__ = ["Attention", "AttentionBase"]
