"""Layers that start as the released models start theirs; `pretrained.py` draws their weights.

transformers initializes the models of other packages module by module, each by its class and only where it holds
parameters itself: hence a class for each way to start.
"""

import torch
from torch import nn


class XavierLinear(nn.Linear):
    """Linear layer of a transformer, whose weights start Xavier-uniform."""


class ZeroBiasLinear(XavierLinear):
    """The same with a bias that starts at zero."""


class PackedLinear(ZeroBiasLinear):
    """One of the query, key and value projections, which the releases pack in one (3D, D) matrix.

    Xavier's bound follows the shape of that matrix.
    """


def project_together(states: torch.Tensor, *layers: nn.Linear) -> tuple[torch.Tensor, ...]:
    """The outputs of linear layers on the same input (..., D), in training from one matrix product.

    At inference putting the weights together costs more than it saves. Layers that do more than a linear layer does
    (adapters, quantized weights, hooks) run each by itself.
    """
    are_plain = all(type(layer).forward is nn.Linear.forward and not layer._forward_hooks for layer in layers)
    if not are_plain or not torch.is_grad_enabled():
        return tuple(layer(states) for layer in layers)
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return nn.functional.linear(states, weight, bias).split([layer.out_features for layer in layers], dim=-1)


class LocalConvolution(nn.Conv1d):
    """Convolution over clips or words, (B, S, input_size) to (B, S, output_size), to which padding is zero."""

    def __init__(self, input_size: int, output_size: int, kernel_size: int):
        super().__init__(input_size, output_size, kernel_size, padding="same")

    def forward(self, states: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Convolve (B, S, C); `valid` (B, S) marks tokens that are not padding."""
        if valid is not None:
            states = states.masked_fill(~valid.unsqueeze(-1), 0)
        return super().forward(states.transpose(1, 2)).transpose(1, 2)


class XavierModule(nn.Module):
    """Module whose own parameters (not those of its children) are matrices that start Xavier-uniform."""


__all__ = ["LocalConvolution", "PackedLinear", "XavierLinear", "XavierModule", "ZeroBiasLinear", "project_together"]
