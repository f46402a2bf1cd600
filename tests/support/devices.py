"""What a device would wait for, seen without one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from torch.utils._python_dispatch import TorchDispatchMode

from videolights_hf.models import attention, dropout, matching


class CountSyncs(TorchDispatchMode):
    """Counts the operations that wait for the device: scalars and shapes that depend on values."""

    SYNCING = ("_local_scalar_dense", "nonzero", "masked_select", "unique")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += any(name in str(function) for name in self.SYNCING)
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def device_paths() -> Iterator[None]:
    """Run what a device runs: PyTorch's own dropout, and matching without scipy."""
    with (
        mock.patch.object(dropout, "drops_by_bits", return_value=False),
        mock.patch.object(attention, "drops_by_bits", return_value=False),
        mock.patch.object(matching, "match_on_host", matching.match_by_program),
    ):
        yield
