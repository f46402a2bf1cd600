"""Layers that start as the released models start theirs; `pretrained.py` draws their weights.

transformers initializes the models of other packages module by module, each by its class and only where it holds
parameters itself: hence a class for each way to start.
"""

import torch
from torch import nn

from .numerics import is_mixed_precision


class XavierLinear(nn.Linear):
    """Linear layer of a transformer, whose weights start Xavier-uniform."""


class ZeroBiasLinear(XavierLinear):
    """The same with a bias that starts at zero."""


class PackedLinear(ZeroBiasLinear):
    """One of the query, key and value projections, which the releases pack in one (3D, D) matrix.

    Xavier's bound follows the shape of that matrix.
    """


def has_hooks(module: nn.Module) -> bool:
    """Whether someone wants to be called when this module runs."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def are_plain(*layers: nn.Module) -> bool:
    """Whether linear layers and norms do what PyTorch's do and nothing else: no adapters, quantized weights or hooks."""
    plain = nn.Linear.forward, nn.LayerNorm.forward
    return all(
        type(layer).forward in plain and "forward" not in vars(layer) and not has_hooks(layer) for layer in layers
    )


def project_together(states: torch.Tensor, *layers: nn.Linear) -> tuple[torch.Tensor, ...]:
    """The outputs of linear layers on the same input (..., D), in training from one matrix product.

    At inference putting the weights together costs more than it saves. Layers that do more than a linear layer does
    run each by itself.
    """
    if not are_plain(*layers) or not torch.is_grad_enabled():
        return tuple(layer(states) for layer in layers)
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return nn.functional.linear(states, weight, bias).split([layer.out_features for layer in layers], dim=-1)


def projected_dot(states: torch.Tensor, layer: nn.Linear, vectors: torch.Tensor) -> torch.Tensor:
    """Dot products (B, S) of `layer(states)` with one vector (B, D) or (1, D) per sample, without the outputs of the layer.

    The layer moves to the vectors, of which there are fewer: `(x W' + b) v = x (W' v) + b v`. In mixed precision it does
    not, as there sums are in full precision and products are not.
    """
    if not are_plain(layer) or is_mixed_precision(states):
        return (layer(states) * vectors.unsqueeze(1)).sum(-1)
    return (states @ (vectors @ layer.weight).unsqueeze(-1)).squeeze(-1) + (vectors @ layer.bias).unsqueeze(-1)


def projected_sum(states: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """Sums (B, S) over the outputs of a linear layer on states (B, S, D)."""
    return projected_dot(states, layer, states.new_ones(1, layer.out_features))


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


__all__ = [
    "LocalConvolution",
    "PackedLinear",
    "XavierLinear",
    "XavierModule",
    "ZeroBiasLinear",
    "are_plain",
    "has_hooks",
    "project_together",
    "projected_dot",
    "projected_sum",
]
