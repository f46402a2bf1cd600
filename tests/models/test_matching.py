"""The dynamic program finds what scipy finds."""

import itertools
import operator

import pytest
import torch

from tests.support.factories import random_inputs, random_labels, tiny_config, tiny_model
from videolights_hf.models import matching
from videolights_hf.models.matching import MAX_PROGRAM_MOMENTS, Matcher, match_by_program, match_on_host


def total_costs(costs, matched):
    """Sum (layers, B) of the costs of matched pairs, and the number of pairs."""
    costs = costs.double().masked_fill(~torch.isfinite(costs), 0).transpose(2, 3)
    picked = costs.gather(3, matched.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (picked * (matched >= 0)).sum(-1), (matched >= 0).sum(-1)


def check(costs, span_mask):
    ours, scipys = match_by_program(costs, span_mask), match_on_host(costs, span_mask)
    assert ours.shape == scipys.shape
    assert (ours[:, ~span_mask] == -1).all()
    for problem in ours.flatten(0, 1).tolist():
        queries = [query for query in problem if query >= 0]
        assert len(set(queries)) == len(queries)
    (found, pairs), (optimal, all_pairs) = total_costs(costs, ours), total_costs(costs, scipys)
    assert torch.equal(pairs, all_pairs)
    torch.testing.assert_close(found, optimal, rtol=1e-6, atol=1e-6)
    return ours, scipys


@pytest.mark.parametrize("ties", [False, True])
def test_as_good_as_scipy_in_ten_thousand_cases(ties):
    generator = torch.Generator().manual_seed(0)
    differing = 0
    for num_queries, num_moments in itertools.product((1, 3, 10), (1, 2, 5, 8)):
        costs = torch.rand(2, 210, num_queries, num_moments, generator=generator) * 10 - 5
        if ties:
            costs = costs.round()
        span_mask = torch.rand(210, num_moments, generator=generator) < 0.7
        ours, scipys = check(costs, span_mask)
        differing += int((ours != scipys).any(-1).sum())
    # Where the optimum is unique the indices agree; without ties it is.
    assert differing == 0 or ties


def test_the_most_moments_that_it_takes():
    costs = torch.rand(1, 2, 10, MAX_PROGRAM_MOMENTS, generator=torch.Generator().manual_seed(1))
    check(costs, torch.ones(2, MAX_PROGRAM_MOMENTS, dtype=torch.bool))


def test_no_moments_at_all():
    assert match_by_program(torch.rand(2, 3, 4, 0), torch.ones(3, 0, dtype=torch.bool)).shape == (2, 3, 0)
    matched = match_by_program(torch.rand(2, 3, 4, 2), torch.zeros(3, 2, dtype=torch.bool))
    assert (matched == -1).all()


def test_compiled_graphs_run_the_program(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(matching, "match_on_host", None)
    predictions = torch.tensor([[[[0.9, 0.1], [0.1, 0.1]]]])
    matched = Matcher(tiny_config())(
        torch.zeros(1, 1, 2, 2), predictions, torch.tensor([[[0.1, 0.1]]]), torch.tensor([[True]])
    )
    assert matched.tolist() == [[[1]]]


def test_a_compiled_training_step_is_one_graph(monkeypatch):
    # Without this option dynamo leaves the GRU of the task coupling to Python.
    monkeypatch.setattr(torch._dynamo.config, "allow_rnn", True)
    model = tiny_model()
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    expected = model(**inputs, labels=labels).loss
    expected.backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    loss = torch.compile(model, fullgraph=True, backend="aot_eager")(**inputs, labels=labels).loss
    loss.backward()
    torch.testing.assert_close(loss, expected)
    for name, gradient in gradients.items():
        torch.testing.assert_close(model.get_parameter(name).grad, gradient, msg=name)


def test_no_size_of_a_compiled_graph_is_two_to_the_power_of_a_symbol():
    # Code for a GPU cannot index by those.
    sizes = []

    def keep(graph, inputs):
        sizes.extend(
            node.target for node in graph.graph.nodes if isinstance(node.meta.get("example_value"), torch.SymInt)
        )
        return graph.forward

    program = torch.compile(match_by_program, fullgraph=True, dynamic=True, backend=keep)
    generator = torch.Generator().manual_seed(0)
    for num_moments in (2, 3):
        costs = torch.randn(5, 3, 4, num_moments, generator=generator)
        span_mask = torch.ones(3, num_moments, dtype=torch.bool)
        assert torch.equal(program(costs, span_mask), match_on_host(costs, span_mask))
    assert sizes
    assert operator.pow not in sizes
