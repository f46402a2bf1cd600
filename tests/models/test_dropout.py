"""Dropout by random bits: its rates, its independence, and its gradients against plain operators with the same bits."""

import pytest
import torch
from torch import nn

from videolights_hf.models import dropout as module
from videolights_hf.models.dropout import (
    DropAddNorm,
    Dropout,
    PReLUDropout,
    ReLUDropout,
    draw_bits,
    drop,
    dropped_attention,
)

P = 0.3


def factors(shape, p=P):
    """What the next draw of this seed keeps, scaled, in float64."""
    torch.manual_seed(0)
    bits = draw_bits(torch.Size(shape)).to(torch.int64) + 32768
    dropped = round(p * 65536)
    return (bits >= dropped).double() * 65536 / (65536 - dropped)


def check_gradients(function, reference, inputs):
    """Outputs and gradients of both agree in float64; the first draws its bits from the seed of `factors`."""
    torch.manual_seed(0)
    output = function(*inputs)
    torch.testing.assert_close(output, reference(*inputs))
    direction = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape)
    found = torch.autograd.grad((output * direction).sum(), inputs)
    for ours, plain in zip(found, torch.autograd.grad((reference(*inputs) * direction).sum(), inputs), strict=True):
        torch.testing.assert_close(ours, plain)


def leaves(*shapes):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.001])
def test_rate_and_mean(p):
    # Six standard errors of the share of one million draws.
    torch.manual_seed(3)
    values = Dropout(p)(torch.ones(1000, 1003))
    bound = 6 * (p * (1 - p) / values.numel()) ** 0.5
    assert abs((values == 0).float().mean() - p) < bound + 2**-17
    assert abs(values.mean() - 1) < bound / (1 - p)


def test_neighbors_are_independent():
    # Values that share a 64-bit draw, and those beside each other in a row or column, are dropped independently.
    torch.manual_seed(4)
    gone = (Dropout(0.5)(torch.ones(1000, 1000)) == 0).double()
    for rows, columns in ((0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (0, 8)):
        one, other = gone[: 1000 - rows, : 1000 - columns], gone[rows:, columns:]
        covariance = ((one - 0.5) * (other - 0.5)).mean()
        assert abs(covariance) < 6 * 0.25 / one.numel() ** 0.5, (rows, columns)


def test_layers_and_passes_draw_anew():
    torch.manual_seed(5)
    layer, values = Dropout(0.5), torch.ones(64, 64)
    first, second = layer(values), layer(values)
    assert 0.4 < (first == second).double().mean() < 0.6


def test_a_seed_repeats_the_draw():
    layer, values = Dropout(0.5), torch.ones(7, 5)
    torch.manual_seed(6)
    first = layer(values)
    torch.manual_seed(6)
    assert torch.equal(first, layer(values))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 7), (0, 4)])
def test_any_number_of_values(shape):
    values = torch.ones(shape)
    assert Dropout(0.5)(values).shape == values.shape


def test_dropout_gradient():
    check_gradients(Dropout(P), lambda values: values * factors((5, 7)), leaves((5, 7)))


def test_add_norm_gradient():
    layer = DropAddNorm(8, P).double()
    with torch.no_grad():
        layer.weight.uniform_(), layer.bias.uniform_()
    shape = (2, 3, 8)

    def function(residual, update, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (residual, update))

    def reference(residual, update, weight, bias):
        return nn.functional.layer_norm(residual + update * factors(shape), (8,), weight, bias)

    parameters = [layer.weight.detach().requires_grad_(), layer.bias.detach().requires_grad_()]
    check_gradients(function, reference, [*leaves(shape, shape), *parameters])


@pytest.mark.parametrize("slope", [0.25, -0.5, 0.0])
def test_prelu_gradient(slope):
    layer, weight = PReLUDropout(P).double(), torch.full((1,), slope, dtype=torch.float64).requires_grad_()

    def function(values, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (values,))

    check_gradients(
        function,
        lambda values, weight: nn.functional.prelu(values, weight) * factors((4, 6)),
        [*leaves((4, 6)), weight],
    )


def test_relu_gradient():
    check_gradients(ReLUDropout(P), lambda values: values.relu() * factors((4, 6)), leaves((4, 6)))


@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_gradient(mask):
    allowed = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    allowed[1, ..., 3:] = False
    additive = torch.zeros(2, 1, 1, 5, dtype=torch.float64).masked_fill(~allowed, -torch.inf)
    given = {None: None, "bool": allowed, "float": additive}[mask]

    def reference(query, key, value):
        scores = query @ key.transpose(2, 3) + (0 if mask is None else additive)
        kept = factors((6, 4, 5)).view(2, 3, 4, 5)
        return ((scores.softmax(-1) * kept) @ value).transpose(1, 2)

    inputs = leaves((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 6))
    check_gradients(lambda *states: dropped_attention(*states, given, P), reference, inputs)


@pytest.mark.parametrize("layer", [Dropout(0.1), PReLUDropout(0.1), ReLUDropout(0.1)])
def test_evaluation_drops_nothing(layer):
    values = torch.linspace(0, 1, 100)
    assert torch.equal(layer.eval()(values), values)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_of_the_scale(p):
    values = torch.ones(100)
    assert torch.equal(Dropout(p)(values), values * (1 - p))
    norm = DropAddNorm(100, p)
    expected = norm(values, values) if p else nn.functional.layer_norm(values + values, (100,))
    torch.testing.assert_close(norm(values, values), expected)


def test_bfloat16():
    values = torch.ones(1000, dtype=torch.bfloat16)
    assert Dropout(0.5)(values).unique().tolist() == [0, 2]
    assert drop(values, draw_bits(values.shape), 0.5).dtype == torch.bfloat16


def test_compiled_graphs_take_pytorchs_own(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(module, "draw_bits", None)
    assert 0 < (Dropout(0.5)(torch.ones(1000)) == 0).float().mean() < 1
    assert torch.isfinite(DropAddNorm(8, 0.5)(torch.ones(2, 8), torch.rand(2, 8))).all()
