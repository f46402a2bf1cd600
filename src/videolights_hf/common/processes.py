"""The processes that share the work, if `accelerate launch` or `torchrun` started several."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch

from .locks import locked_folder

Item = TypeVar("Item")

# Processes wait for the slowest one; the default gives up after ten minutes.
_TIMEOUT = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """This process among those that share the work.

    Attributes:
        index: Its number, from 0.
        count: How many there are, on all machines.
        device: Where this one computes.
    """

    index: int
    count: int
    device: torch.device

    @classmethod
    def current(cls, device: str | torch.device | None = None) -> Processes:
        """Detect the processes, and connect them if there are several.

        Args:
            device: Where to compute; by default on this process's accelerator, if there is one.

        Raises:
            ImportError: There are several processes, and accelerate is not installed.
            ValueError: The device does not exist.
        """
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            if device is None:
                accelerator = torch.accelerator.current_accelerator(check_available=True)
                device = accelerator if accelerator is not None else "cpu"
            return cls(0, 1, _device(device))
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise ImportError('Several processes need accelerate: pip install "videolights-hf[train]".') from error
        on_cpu = device is not None and _device(device).type == "cpu"
        state = PartialState(cpu=on_cpu, timeout=_TIMEOUT)
        return cls(state.process_index, state.num_processes, _device(device) if device is not None else state.device)

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that does what must be done once."""
        return self.index == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's share of the items: every `count`-th."""
        return list(items[self.index :: self.count])

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def gather(self, items: list[Item]) -> list[Item]:
        """The items of all processes, process by process."""
        if self.count == 1:
            return items
        from accelerate.utils import gather_object

        return gather_object(items)


@contextlib.contextmanager
def locked_by_main(folder: str | os.PathLike, processes: Processes) -> Iterator[None]:
    """`locked_folder` for processes that share the work: the main one holds the lock for all."""
    with locked_folder(folder) if processes.is_main else contextlib.nullcontext():
        yield


def _device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
        # Tensors of the device `meta` exist, but hold nothing.
        exists = not torch.empty(1, device=found).is_meta
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        exists = False
    if not exists:
        raise ValueError(f"There is no device {str(device)!r} here; name one such as cpu, cuda or cuda:1.")
    return found
