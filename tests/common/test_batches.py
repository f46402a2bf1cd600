from types import SimpleNamespace

import pytest
import torch

from videolights_hf.common.batches import iterate_batches, run_in_batches


def test_batches_are_consecutive_and_the_last_holds_the_rest():
    assert list(iterate_batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]


def test_batches_shrink_until_they_fit():
    owner = SimpleNamespace(batch_size=8)
    sizes = []

    def double(items):
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("out of memory\ndetails")
        return [2 * item for item in items]

    with pytest.warns(UserWarning, match="the captioner continues with batches of"):
        assert run_in_batches(owner, "the captioner", double, list(range(10))) == [2 * item for item in range(10)]
    assert sizes == [8, 4, 2, 2, 2, 2, 2]
    assert owner.batch_size == 2


def test_one_item_that_does_not_fit_raises():
    def fail(_):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        run_in_batches(SimpleNamespace(batch_size=1), "it", fail, [1])
