"""Linear layers with dropout or a norm between or before them, block by block of rows, for the caches of a CPU.

In training what lies between the layers is computed again in the backward pass: only random bits and the input of the
activation are kept. Gradients of weights are summed up over the blocks, which rounds otherwise than one product.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .dropout import Dropout, PReLUDropout, ReLUDropout, as_levels, draw_bits, drops_by_bits, keep, kept_scale
from .linear import are_plain, has_hooks
from .numerics import is_mixed_precision, is_on_host

# Few enough rows that a layer's tensors stay in the caches; enough that products run at full rate, and that gradients of
# weights are not added to too often.
_BLOCK_ROWS = 800


def runs_blockwise(values: torch.Tensor, dropout: Dropout, *layers: nn.Module) -> bool:
    """Whether layers around the dropout of `values` run block by block: on a CPU, in training with dropout or at
    inference on more than two blocks, in one full precision, and if they do nothing else than layers of their kind do.
    """
    # First, as an exported graph would take the question about sizes for a bound.
    if not is_on_host(values):
        return False
    if torch.is_grad_enabled() or dropout.training:
        is_due = dropout.training and drops_by_bits(values, dropout.p)
    else:
        is_due = values.numel() // values.shape[-1] > 2 * _BLOCK_ROWS
    return (
        is_due
        and not has_hooks(dropout)
        and are_plain(*layers)
        and not is_mixed_precision(values)
        and values.dtype in (torch.float32, torch.float64)
        and all(parameter.dtype == values.dtype for layer in layers for parameter in layer.parameters())
    )


def _blocks(num_rows: int) -> Iterator[slice]:
    count = max(1, round(num_rows / _BLOCK_ROWS))
    size = max(1, -(-num_rows // count))
    return (slice(start, start + size) for start in range(0, num_rows, size))


def _map_blocks(network: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    rows = states.flatten(0, -2)
    outputs = [network(rows[block]) for block in _blocks(len(rows))]
    return torch.cat(outputs).unflatten(0, states.shape[:-1])


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        up_weight: torch.Tensor,
        up_bias: torch.Tensor,
        slope: torch.Tensor,
        down_weight: torch.Tensor,
        down_bias: torch.Tensor,
        p: float,
    ) -> torch.Tensor:
        rows = states.flatten(0, -2)
        hidden, output = rows.new_empty(len(rows), len(up_weight)), rows.new_empty(len(rows), len(down_weight))
        bits = draw_bits(hidden.shape)
        # Only on the CPU, where reading the slope waits for nothing.
        rate, scale = slope.item(), kept_scale(p)
        for block in _blocks(len(rows)):
            torch.addmm(up_bias, rows[block], up_weight.t(), out=hidden[block])
            levels = as_levels(bits[block], rows.dtype)
            activated = keep(nn.functional.leaky_relu(hidden[block], rate), levels, p)
            torch.addmm(down_bias, activated, down_weight.t(), alpha=scale, out=output[block])
        ctx.p = p
        ctx.save_for_backward(rows, up_weight, slope, down_weight, bits, hidden)
        return output.view(*states.shape[:-1], len(down_weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, up_weight, slope, down_weight, bits, hidden = ctx.saved_tensors
        of_output, rate, scale = gradient.flatten(0, -2), slope.item(), kept_scale(ctx.p)
        of_rows, of_up, of_up_bias = (
            torch.empty_like(rows),
            torch.zeros_like(up_weight),
            rows.new_zeros(len(up_weight)),
        )
        of_slope, of_down = torch.zeros_like(slope), torch.zeros_like(down_weight)
        for block in _blocks(len(rows)):
            levels = as_levels(bits[block], rows.dtype)
            values, scaled = hidden[block], of_output[block] * scale
            of_down.addmm_(scaled.t(), keep(nn.functional.leaky_relu(values, rate), levels, ctx.p))
            of_activated = keep(scaled @ down_weight, levels, ctx.p)
            if ctx.needs_input_grad[3]:
                # PyTorch's backward of PReLU writes the slope's gradient for every value before it sums them up.
                of_slope += torch.dot(values.clamp(max=0).view(-1), of_activated.view(-1))
            of_values = torch.ops.aten.leaky_relu_backward(of_activated, values, rate, False)
            of_up.addmm_(of_values.t(), rows[block])
            of_up_bias += of_values.sum(0)
            torch.mm(of_values, up_weight, out=of_rows[block])
        of_states = of_rows.view(*gradient.shape[:-1], rows.shape[-1])
        return of_states, of_up, of_up_bias, of_slope, of_down, of_output.sum(0), None


class _NormDropProject(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        norm_weight: torch.Tensor,
        norm_bias: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        eps: float,
        p: float,
    ) -> torch.Tensor:
        rows = features.flatten(0, -2)
        output = rows.new_empty(len(rows), len(weight))
        bits = draw_bits(rows.shape)
        for block in _blocks(len(rows)):
            normed = nn.functional.layer_norm(rows[block], norm_weight.shape, norm_weight, norm_bias, eps)
            dropped = keep(normed, as_levels(bits[block], rows.dtype), p)
            torch.addmm(bias, dropped, weight.t(), alpha=kept_scale(p), out=output[block])
        ctx.eps, ctx.p = eps, p
        ctx.save_for_backward(rows, norm_weight, norm_bias, weight, bits)
        return output.view(*features.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, norm_weight, norm_bias, weight, bits = ctx.saved_tensors
        of_output, shape = gradient.flatten(0, -2), norm_weight.shape
        needs_features = ctx.needs_input_grad[0]
        of_rows = torch.empty_like(rows) if needs_features else None
        of_norm_weight, of_norm_bias, of_weight = (torch.zeros_like(x) for x in (norm_weight, norm_bias, weight))
        for block in _blocks(len(rows)):
            normed, mean, inverse_deviation = torch.native_layer_norm(
                rows[block], shape, norm_weight, norm_bias, ctx.eps
            )
            levels = as_levels(bits[block], rows.dtype)
            scaled = of_output[block] * kept_scale(ctx.p)
            of_weight.addmm_(scaled.t(), keep(normed, levels, ctx.p))
            of_block, of_block_weight, of_block_bias = torch.ops.aten.native_layer_norm_backward(
                keep(scaled @ weight, levels, ctx.p), rows[block], shape, mean, inverse_deviation, norm_weight, norm_bias,
                [needs_features, True, True],
            )  # fmt: skip
            of_norm_weight += of_block_weight
            of_norm_bias += of_block_bias
            if of_rows is not None:
                of_rows[block] = of_block
        of_features = None if of_rows is None else of_rows.view(*gradient.shape[:-1], rows.shape[-1])
        return of_features, of_norm_weight, of_norm_bias, of_weight, of_output.sum(0), None, None


def feed_forward(
    states: torch.Tensor, up_proj: nn.Linear, activation: PReLUDropout | ReLUDropout, down_proj: nn.Linear
) -> torch.Tensor:
    """`down_proj(activation(up_proj(states)))` of (..., D)."""
    if activation.dropout.training and drops_by_bits(states, activation.dropout.p):
        parameters = up_proj.weight, up_proj.bias, activation.slope, down_proj.weight, down_proj.bias
        return _FeedForward.apply(states, *parameters, activation.dropout.p)
    return _map_blocks(lambda rows: down_proj(activation(up_proj(rows))), states)


def norm_drop_project(
    features: torch.Tensor, norm: nn.LayerNorm, dropout: Dropout, projection: nn.Linear
) -> torch.Tensor:
    """`projection(dropout(norm(features)))` of (..., input size)."""
    if dropout.training and drops_by_bits(features, dropout.p):
        parameters = norm.weight, norm.bias, projection.weight, projection.bias
        return _NormDropProject.apply(features, *parameters, norm.eps, dropout.p)
    return _map_blocks(lambda rows: projection(dropout(norm(rows))), features)


__all__ = ["feed_forward", "norm_drop_project", "runs_blockwise"]
