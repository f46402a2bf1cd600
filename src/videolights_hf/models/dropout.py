"""Dropout, and the steps of a transformer layer that it sits in, at a cost that does not show on a CPU.

PyTorch's CPU kernel draws one random float per value, which takes a fifth of a training step. Here one draw of 64 bits
decides over four values. On other devices and in compiled graphs PyTorch's own dropout is the right one, and is used.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .numerics import is_on_host

_LEVELS = 2**16


def drops_by_bits(values: torch.Tensor, p: float) -> bool:
    """Whether random bits decide over these values: some are to be dropped, on the CPU, outside of compiled graphs."""
    return 0 < p < 1 and is_on_host(values)


def draw_bits(shape: torch.Size) -> torch.Tensor:
    """16 random bits for each value of a tensor, as int16."""
    count = shape.numel()
    # PyTorch's generator seeds one of numpy's, which takes about half the time for a number.
    seed = int(torch.empty((), dtype=torch.int64).random_())
    draws = np.random.SFC64(seed).random_raw((count + 3) // 4)
    return torch.from_numpy(draws.view(np.int16)[:count]).view(shape)


def as_levels(bits: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Random bits as numbers that `keep` compares.

    Between the passes bits are stored, not numbers or factors: that is half the memory, and the conversion is cheap.
    """
    return bits.to(torch.float64 if dtype == torch.float64 else torch.float32)


def keep(values: torch.Tensor, levels: torch.Tensor, p: float) -> torch.Tensor:
    """Values with those dropped at zero, without the scale; a new tensor.

    A value is dropped with the probability `p`, rounded to a multiple of 2 ** -16.
    """
    last_dropped = _num_dropped(p) - _LEVELS // 2 - 1
    if values.dtype != levels.dtype:
        return values.masked_fill(levels <= last_dropped, 0)
    # What PyTorch has in one pass: the gradient where the other is above a threshold, else zero.
    return torch.ops.aten.threshold_backward(values, levels, last_dropped)


def kept_scale(p: float) -> float:
    """What kept values are multiplied with, so that the mean stays."""
    return _LEVELS / (_LEVELS - _num_dropped(p))


def drop(values: torch.Tensor, bits: torch.Tensor, p: float) -> torch.Tensor:
    """Values with those dropped at zero and the others scaled; a new tensor."""
    return keep(values, as_levels(bits, values.dtype), p).mul_(kept_scale(p))


def _num_dropped(p: float) -> int:
    return min(round(p * _LEVELS), _LEVELS - 1)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, p: float) -> torch.Tensor:
        bits = draw_bits(values.shape)
        ctx.p = p
        ctx.save_for_backward(bits)
        return drop(values, bits, p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (bits,) = ctx.saved_tensors
        return drop(gradient, bits, ctx.p), None


class _DropAddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        residual: torch.Tensor,
        update: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        eps: float,
        p: float,
    ) -> torch.Tensor:
        bits = draw_bits(update.shape)
        total = torch.add(residual, keep(update, as_levels(bits, update.dtype), p), alpha=kept_scale(p))
        output, mean, inverse_deviation = torch.native_layer_norm(total, weight.shape, weight, bias, eps)
        ctx.p = p
        ctx.save_for_backward(bits, total, mean, inverse_deviation, weight, bias)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        bits, total, mean, inverse_deviation, weight, bias = ctx.saved_tensors
        of_total, of_weight, of_bias = torch.ops.aten.native_layer_norm_backward(
            gradient.contiguous(), total, weight.shape, mean, inverse_deviation, weight, bias, [True, True, True]
        )
        return of_total, drop(of_total, bits, ctx.p), of_weight, of_bias, None, None


class _DroppedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        p: float,
    ) -> torch.Tensor:
        shape = query.shape
        # One copy with the heads in front, which serves both passes.
        query, key, value = (states.flatten(0, 1) for states in (query, key, value))
        scores = torch.bmm(query, key.transpose(1, 2))
        if mask is not None:
            per_head = scores.view(*shape[:2], *scores.shape[1:])
            if mask.dtype == torch.bool:
                per_head.masked_fill_(~mask, -torch.inf)
            else:
                per_head.add_(mask)
        weights = torch.softmax(scores, -1)
        bits = draw_bits(weights.shape)
        ctx.p = p
        ctx.save_for_backward(query, key, value, weights, bits)
        output = torch.bmm(keep(weights, as_levels(bits, weights.dtype), p), value).mul_(kept_scale(p))
        return output.view(*shape[:2], *output.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, weights, bits = ctx.saved_tensors
        levels = as_levels(bits, weights.dtype)
        # The scale goes where the tensors are small.
        heads, gradient = gradient.shape[:2], gradient.flatten(0, 1) * kept_scale(ctx.p)
        of_value = torch.bmm(keep(weights, levels, ctx.p).transpose(1, 2), gradient)
        of_weights = keep(torch.bmm(gradient, value.transpose(1, 2)), levels, ctx.p)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query, of_key = torch.bmm(of_scores, key), torch.bmm(of_scores.transpose(1, 2), query)
        return *(states.unflatten(0, heads) for states in (of_query, of_key, of_value)), None, None


def dropped_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, p: float
) -> torch.Tensor:
    """Attention with dropout of its weights by random bits.

    Shapes: scaled query (B, H, Q, d), key (B, H, K, d), value (B, H, K, e), mask broadcastable to (B, H, Q, K), boolean
    (True attends) or additive. Returns (B, Q, H, e).
    """
    return _DroppedAttention.apply(query, key, value, mask, p).transpose(1, 2)


class Dropout(nn.Dropout):
    """Dropout of any tensor."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        if not self.training:
            return values
        return _Drop.apply(values, self.p) if drops_by_bits(values, self.p) else super().forward(values)


class DropAddNorm(nn.LayerNorm):
    """What ends the parts of a transformer layer: dropout of the update, sum with the residual, norm."""

    def __init__(self, size: int, p: float):
        super().__init__(size)
        self.p = p

    def forward(self, residual: torch.Tensor, update: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """`norm(residual + dropout(update))` of (..., D) tensors."""
        if not self.training:
            return super().forward(residual + update)
        if drops_by_bits(update, self.p):
            return _DropAddNorm.apply(residual, update, self.weight, self.bias, self.eps, self.p)
        return super().forward(residual + nn.functional.dropout(update, self.p))


class PReLUDropout(nn.PReLU):
    """PReLU with one slope, then dropout."""

    def __init__(self, p: float):
        super().__init__()
        self.dropout = Dropout(p)

    @property
    def slope(self) -> torch.Tensor:
        """(1,) what values below zero are multiplied with."""
        return self.weight

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return self.dropout(super().forward(values))


class ReLUDropout(nn.ReLU):
    """ReLU, then dropout."""

    def __init__(self, p: float):
        super().__init__()
        self.dropout = Dropout(p)

    @property
    def slope(self) -> torch.Tensor:
        """(1,) what values below zero are multiplied with."""
        return torch.zeros(1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return self.dropout(super().forward(values))


__all__ = ["DropAddNorm", "Dropout", "PReLUDropout", "ReLUDropout", "dropped_attention", "drops_by_bits"]
