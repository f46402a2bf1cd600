"""Work in batches, which shrink when the device runs out of memory."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class HasBatchSize(Protocol):
    """Anything whose `batch_size` may be set."""

    batch_size: int


def iterate_batches(items: Any, size: int) -> Iterator[Any]:
    """Consecutive slices of `size` items of a sequence or array; the last one holds the rest."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def run_within_memory(owner: HasBatchSize, name: str, run: Callable[[], Result]) -> Result:
    """Run a model, halving its batch size and starting over whenever the device runs out of memory.

    Args:
        owner: Its `batch_size` is what `run` obeys; it stays halved.
        name: What the warning calls the model.
        run: The work, from its start.

    Raises:
        torch.OutOfMemoryError: A batch of one does not fit.
    """
    while True:
        try:
            return run()
        except torch.OutOfMemoryError as error:
            if owner.batch_size == 1:
                raise
            message = str(error).splitlines()[0]
        # Only here, outside the handler, are the failed run's tensors gone.
        gc.collect()
        torch.cuda.empty_cache()
        owner.batch_size //= 2
        warnings.warn(
            f"The device ran out of memory ({message}): {name} continues with batches of {owner.batch_size}.",
            stacklevel=2,
        )


def run_in_batches(
    owner: HasBatchSize, name: str, function: Callable[..., Sequence[Result]], *sequences: Sequence[Any]
) -> list[Result]:
    """Call a function on batches of sequences of one length and join its results; batches shrink as memory demands.

    Args:
        owner: Its `batch_size` is the size of a batch; it stays halved after a shortage.
        name: What the warning calls the model.
        function: Takes a slice of each sequence and returns one result per item.
        *sequences: Sequences of the same length.
    """
    done: list[Result] = []

    def run_next() -> Sequence[Result]:
        part = slice(len(done), len(done) + owner.batch_size)
        return function(*(sequence[part] for sequence in sequences))

    while len(done) < len(sequences[0]):
        done += run_within_memory(owner, name, run_next)
    return done
