"""Networks that treat every token alone."""

import itertools

import torch
from torch import nn

from .blockwise import feed_forward, runs_blockwise
from .configuration import DetectorConfig
from .dropout import PReLUDropout, ReLUDropout
from .linear import XavierLinear, has_hooks

ACTIVATIONS: dict[str, type[PReLUDropout] | type[ReLUDropout]] = {"prelu": PReLUDropout, "relu": ReLUDropout}


class MLP(nn.Module):
    """Linear layers with ReLU between them; the last may start in another way than the rest."""

    def __init__(
        self, sizes: list[int], linear: type[nn.Linear] = nn.Linear, last_linear: type[nn.Linear] | None = None
    ):
        super().__init__()
        *first, last = itertools.pairwise(sizes)
        self.layers = nn.ModuleList(linear(*shape) for shape in first)
        self.layers.append((last_linear or linear)(*last))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., first size) to (..., last size)."""
        for layer in self.layers[:-1]:
            hidden_states = nn.functional.relu(layer(hidden_states))
        return self.layers[-1](hidden_states)


class FeedForward(nn.Module):
    """Feed-forward network of a transformer layer; a PReLU learns one slope."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.up_proj = XavierLinear(config.hidden_size, config.intermediate_size)
        self.activation: PReLUDropout | ReLUDropout = ACTIVATIONS[config.activation_function](config.dropout)
        self.down_proj = XavierLinear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, S, D) to (B, S, D)."""
        up_proj, activation, down_proj = self.up_proj, self.activation, self.down_proj
        is_due = runs_blockwise(hidden_states, activation.dropout, up_proj, down_proj)
        if is_due and not has_hooks(activation):
            return feed_forward(hidden_states, up_proj, activation, down_proj)
        return down_proj(activation(up_proj(hidden_states)))


__all__ = ["MLP", "FeedForward"]
