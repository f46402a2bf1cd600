"""What a device would wait for, seen without one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from videolights_hf.models import attention, blockwise, detector, dropout, matching


class CountSyncs(TorchDispatchMode):
    """Counts the operations that wait for the device: scalars and shapes that depend on values; see `CountConstants`."""

    SYNCING = ("_local_scalar_dense", "nonzero", "masked_select", "unique")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += any(name in str(function) for name in self.SYNCING)
        return function(*args, **(kwargs or {}))


class CountConstants(TorchFunctionMode):
    """Counts what would copy a number or a list from the host to a device, which waits for it."""

    COPYING = ("tensor", "as_tensor", "new_tensor", "from_numpy")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("__getitem__", "__setitem__"):
            indices = args[1] if isinstance(args[1], tuple) else (args[1],)
            self.count += any(isinstance(index, list) for index in indices)
        self.count += name in self.COPYING
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def device_paths() -> Iterator[None]:
    """Run what a device runs: PyTorch's own dropout and attention, masks as they are, and matching without scipy."""
    with (
        mock.patch.object(attention, "is_on_host", return_value=False),
        mock.patch.object(blockwise, "is_on_host", return_value=False),
        mock.patch.object(detector, "is_on_host", return_value=False),
        mock.patch.object(dropout, "is_on_host", return_value=False),
        mock.patch.object(matching, "match_on_host", matching.match_by_program),
    ):
        yield
