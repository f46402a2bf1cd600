import numpy as np
import pytest
import torch

from videolights_hf.common.intervals import temporal_iou
from videolights_hf.models import spans


def test_overlaps_of_intervals():
    first = np.array([[0.0, 4.0], [5.0, 5.0]])
    second = np.array([[2.0, 6.0, 0.9], [4.0, 8.0, 0.5], [5.0, 5.0, 0.1]])
    assert temporal_iou(first, second).tolist() == [[2 / 6, 0.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("shape", [(), (3,)])
def test_arrays_and_tensors_overlap_alike(shape):
    generator = np.random.default_rng(0)
    first, second = (np.sort(generator.uniform(0, 10, (*shape, count, 2))) for count in (4, 5))
    expected = spans.temporal_iou(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(temporal_iou(first, second), expected, rtol=1e-12)
