"""With the paper's losses, two processes with half of the batch each give the gradient of one with the whole."""

from __future__ import annotations

import pytest
import torch

from tests.support.factories import tiny_model
from tests.support.gradients import (
    LOSS_MEMBERS,
    WITHOUT_DROPOUT,
    batch_of_pairs,
    gradient_error,
    gradient_of,
    part_of,
)
from tests.support.launching import launch_two

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("shared")
    launch_two("-m", "tests.support.gradient_distributed_run", str(folder))
    return [torch.load(folder / f"seen-{rank}.pt", weights_only=True) for rank in range(2)]


def whole_gradient(formulation):
    model = tiny_model(**WITHOUT_DROPOUT, **LOSS_MEMBERS[formulation])
    return gradient_of(model, part_of(*batch_of_pairs(model.config), slice(0, 4)))


def test_two_processes_share_the_batch_and_agree(shared):
    assert [seen["world_size"] for seen in shared] == [2, 2]
    for formulation in LOSS_MEMBERS:
        first, second = (seen["gradients"][formulation] for seen in shared)
        assert gradient_error(first, second) == 0


def test_the_gradient_is_that_of_one_process_by_the_papers_losses(shared):
    expected = whole_gradient("paper")
    # All that trains has its part in it, the coupled branch too.
    assert any(name.startswith("moment_to_highlight") and value.abs().max() > 0 for name, value in expected.items())
    assert gradient_error(shared[0]["gradients"]["paper"], expected) < 1e-5


def test_the_released_losses_read_the_batch_of_their_process(shared):
    assert gradient_error(shared[0]["gradients"]["released"], whole_gradient("released")) > 1e-2
