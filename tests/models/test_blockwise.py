"""Networks that run block by block of rows, against the same steps in one piece."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.support.factories import random_inputs, random_labels, tiny_config
from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
from videolights_hf.models import blockwise
from videolights_hf.models.dropout import draw_bits
from videolights_hf.models.feed_forward import FeedForward
from videolights_hf.models.linear import projected_dot, projected_sum
from videolights_hf.models.projection import ProjectionLayer

P = 0.3


def make_config(activation="prelu"):
    return VideoLightsConfig(
        hidden_size=8,
        num_attention_heads=2,
        intermediate_size=12,
        dropout=P,
        input_dropout=P,
        activation_function=activation,
    )


def factors(rows, width):
    """What the next draw of this seed keeps, scaled, in float64."""
    torch.manual_seed(0)
    dropped = round(P * 65536)
    kept = draw_bits(torch.Size((rows, width))).to(torch.int64) + 32768 >= dropped
    return kept.double() * 65536 / (65536 - dropped)


def with_gradients(network, states, parameters):
    output = network(states)
    direction = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape)
    return output, torch.autograd.grad((output * direction).sum(), [states, *parameters])


@pytest.fixture(params=[1, 4, 800], ids=["a row", "some rows", "all rows"])
def block_rows(request, monkeypatch):
    monkeypatch.setattr(blockwise, "_BLOCK_ROWS", request.param)


@pytest.fixture
def states():
    return torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.mark.usefixtures("block_rows")
class TestTraining:
    """Outputs and gradients are those of the same steps in one piece with the same bits."""

    @pytest.mark.parametrize("activation", ["prelu", "relu"])
    def test_feed_forward(self, states, activation):
        network = FeedForward(make_config(activation)).double()

        def plain(values):
            hidden = network.up_proj(values)
            slope = network.activation.slope.double()
            activated = nn.functional.prelu(hidden, slope) * factors(15, 12).view(3, 5, 12)
            return network.down_proj(activated)

        parameters = list(network.parameters())
        expected, expected_gradients = with_gradients(plain, states, parameters)
        torch.manual_seed(0)
        found, gradients = with_gradients(network, states, parameters)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients, expected_gradients)

    @pytest.mark.parametrize("has_gradient", [True, False])
    def test_projection(self, states, has_gradient):
        layer = ProjectionLayer(8, make_config()).double()
        with torch.no_grad():
            layer.norm.weight.uniform_(), layer.norm.bias.uniform_()
        inputs = states if has_gradient else states.detach()
        parameters = list(layer.parameters())

        def plain(values):
            return layer.projection(layer.norm(values) * factors(15, 8).view(3, 5, 8))

        def gradients_of(network):
            output = network(inputs)
            return output, torch.autograd.grad(output.square().sum(), [inputs] * has_gradient + parameters)

        expected, expected_gradients = gradients_of(plain)
        torch.manual_seed(0)
        found, gradients = gradients_of(layer)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients, expected_gradients)


@pytest.mark.usefixtures("block_rows")
@pytest.mark.parametrize("make", [FeedForward, lambda config: ProjectionLayer(8, config)])
def test_inference_gives_the_same(states, make):
    network = make(make_config()).double().eval()
    expected = network(states)
    with torch.no_grad():
        torch.testing.assert_close(network(states), expected)


def test_inference_takes_blocks(states, monkeypatch):
    monkeypatch.setattr(blockwise, "_BLOCK_ROWS", 4)
    network, sizes = FeedForward(make_config()).double().eval(), []
    monkeypatch.setattr(nn.functional, "prelu", lambda values, weight: sizes.append(len(values)) or values)
    with torch.no_grad():
        network(states)
    assert sum(sizes) == 15
    assert len(sizes) > 3


@pytest.mark.parametrize("name", ["up_proj", "activation", "down_proj"])
@pytest.mark.parametrize("mode", [True, False])
def test_hooks_see_the_whole_batch(states, name, mode, monkeypatch):
    # An adapter or someone who looks at a layer gets what an ordinary network would give it.
    monkeypatch.setattr(blockwise, "_BLOCK_ROWS", 1)
    network, seen = FeedForward(make_config()).double().train(mode), []
    getattr(network, name).register_forward_hook(lambda module, inputs, output: seen.append(output.shape[:2]))
    with torch.set_grad_enabled(mode):
        network(states)
    assert seen == [(3, 5)]


def test_mixed_precision_runs_in_one_piece(states):
    network = FeedForward(make_config())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(states.float())
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.parametrize("make", [FeedForward, lambda config: ProjectionLayer(8, config)])
def test_an_exported_graph_has_no_bound_of_rows(make, monkeypatch):
    monkeypatch.setattr(blockwise, "_BLOCK_ROWS", 4)
    network = make(make_config()).eval()
    with torch.no_grad():
        dynamic = {0: torch.export.Dim("size", min=1, max=1000)}
        graph = torch.export.export(network, (torch.randn(3, 2, 8),), dynamic_shapes=(dynamic,)).module()
        for size in (1, 50):
            values = torch.randn(size, 2, 8)
            torch.testing.assert_close(graph(values), network(values))


@pytest.mark.parametrize("activation", ["prelu", "relu"])
def test_a_loaded_model_trains(activation, tmp_path):
    # transformers makes models without numbers first: what is neither a parameter nor a buffer would stay so.
    config = tiny_config(activation_function=activation, dropout=P)
    VideoLightsForMomentRetrieval(config).save_pretrained(tmp_path)
    model = VideoLightsForMomentRetrieval.from_pretrained(tmp_path).train()
    inputs = random_inputs(config)
    model(**inputs, labels=random_labels(inputs)).loss.backward()
    assert model.model.encoder.layers[0].feed_forward.up_proj.weight.grad.any()


def test_fake_tensors_and_vmap_are_not_asked():
    config = tiny_config()
    model, inputs = VideoLightsForMomentRetrieval(config).eval(), random_inputs(config)
    with torch.no_grad():
        expected = model(**inputs)
        each = {name: values.unsqueeze(1) for name, values in inputs.items()}
        found = torch.func.vmap(lambda one: model(**one, return_dict=False)[0])(each)
        torch.testing.assert_close(found.squeeze(1), expected.to_tuple()[0], atol=1e-5, rtol=1e-4)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake = model(**{name: mode.from_tensor(values) for name, values in inputs.items()})
    assert fake.saliency_scores.shape == expected.saliency_scores.shape


def test_a_model_without_numbers_tells_shapes():
    config = tiny_config()
    inputs = {name: values.to("meta") for name, values in random_inputs(config).items()}
    with torch.device("meta"):
        output = VideoLightsForMomentRetrieval(config).eval()(**inputs)
    assert output.saliency_scores.shape == (3, 7)


@pytest.mark.parametrize("shape", [(0, 5, 8), (2, 0, 8)])
def test_no_rows(shape):
    for network in (FeedForward(make_config()), ProjectionLayer(8, make_config())):
        output = network(torch.zeros(shape, requires_grad=True))
        output.sum().backward()
        assert output.shape == shape


class TestProjectedDot:
    def test_is_the_dot_product_of_the_outputs(self, states):
        layer, vectors = nn.Linear(8, 6).double(), torch.randn(3, 6, dtype=torch.float64)
        expected = (layer(states) * vectors.unsqueeze(1)).sum(-1)
        torch.testing.assert_close(projected_dot(states, layer, vectors), expected)
        torch.testing.assert_close(projected_sum(states, layer), layer(states).sum(-1))

    def test_mixed_precision_sums_as_before(self, states):
        layer, states = nn.Linear(8, 6), states.float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(projected_sum(states, layer), (layer(states) * torch.ones(6)).sum(-1))

    def test_runs_a_layer_whose_forward_was_replaced(self, states):
        layer = nn.Linear(8, 6).double()
        layer.forward = lambda values: values[..., :6]
        torch.testing.assert_close(projected_sum(states, layer), states[..., :6].sum(-1))

    def test_runs_a_layer_that_does_more(self, states):
        layer = nn.Linear(8, 6).double()
        layer.register_forward_hook(lambda module, inputs, output: 2 * output)
        torch.testing.assert_close(projected_sum(states, layer), layer(states).sum(-1))
