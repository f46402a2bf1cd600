"""Count the operators that a training step of the full-size VideoLights-B dispatches, from the forward pass to the optimizer.

    python -m benchmarks.operators [--output operators.json]

Views and aliases, which launch nothing, and the GRU's own steps are counted apart: a GRU of 75 steps dispatches some 2,400
operators on a CPU and one on CUDA. The step is counted twice: as the CPU runs it, and as a device does. There dropout and
attention are one operator each, and moments are matched without asking the host; here PyTorch's own native dropout, its fused
attention without dropout, and the same matching stand in. Reads by the host, which a device would wait for, are counted too.
"""

from __future__ import annotations

import collections
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import torch
import typer
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.models import attention, blockwise, detector, dropout, matching

from .machine import describe_machine
from .speed import make_batch, make_labels, training_step

# They return their input, or part of it, without saying so in their schema.
ALIASES = {"detach", "alias", "_unsafe_view", "lift_fresh"}
HOST_READS = {"_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero", "masked_select"}
# Entered by the optimizer for the profiler.
MARKS = {"_record_function_enter_new", "_record_function_exit"}
TARGET = 2000


class Count(TorchDispatchMode):
    """Counts what is dispatched below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: collections.Counter[str] = collections.Counter()
        self.views = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Count one operator and run it."""
        name = function.overloadpacket.__name__
        returns = function._schema.returns
        is_view = any(value.alias_info is not None and not value.alias_info.is_write for value in returns)
        if is_view or name in ALIASES:
            self.views += 1
        elif name not in MARKS:
            self.operators[name] += 1
        return function(*args, **(kwargs or {}))


def count_gru(gru: torch.nn.GRU, num_samples: int) -> int:
    """Operators of the GRU alone, forward and backward, over 75 clips."""
    clips = torch.randn(num_samples, 75, gru.input_size, requires_grad=True)
    with Count() as count:
        gru(clips)[1].sum().backward()
    return count.operators.total()


@contextlib.contextmanager
def as_on_a_device() -> Iterator[None]:
    """Dropout, attention and matching as a device runs them."""
    attend = functional.scaled_dot_product_attention

    def native_dropout(
        values: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        return torch.native_dropout(values, p, True)[0] if training and p else values

    def fused_attention(*states: torch.Tensor, dropout_p: float = 0.0, **options: Any) -> torch.Tensor:
        return attend(*states, **options)

    with (
        mock.patch.object(attention, "is_on_host", return_value=False),
        mock.patch.object(blockwise, "is_on_host", return_value=False),
        mock.patch.object(detector, "is_on_host", return_value=False),
        mock.patch.object(dropout, "is_on_host", return_value=False),
        mock.patch.object(functional, "dropout", native_dropout),
        mock.patch.object(functional, "scaled_dot_product_attention", fused_attention),
        mock.patch.object(matching, "match_on_host", matching.match_by_program),
    ):
        yield


def count_step(num_samples: int = 4) -> dict[str, Any]:
    """Counts of one training step, after one that makes the optimizer's state."""
    torch.manual_seed(0)
    config = VideoLightsConfig.from_preset("videolights-b", "qvhighlights")
    model = VideoLightsForMomentRetrieval(config)
    batch, labels = make_batch(config, num_samples, 32, "cpu", torch.float32), make_labels(num_samples, "cpu")
    step = training_step(model, batch, labels)
    step()
    with Count() as count:
        step()
    coupling = model.moment_to_highlight
    assert coupling is not None
    gru = count_gru(coupling.gru, num_samples)
    return {
        "operators": count.operators.total() - gru,
        "views": count.views,
        "gru": gru,
        "host_reads": sum(count.operators[name] for name in HOST_READS),
        "most": dict(count.operators.most_common(15)),
    }


def main(output: Annotated[Path | None, typer.Option(help="JSON file of the counts.")] = None) -> None:
    """Print both counts."""
    torch.set_num_threads(1)
    counts = {"CPU": count_step()}
    with as_on_a_device():
        counts["device"] = count_step()
    print("| run as on a | operators | views | the GRU's own | reads by the host |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, row in counts.items():
        print(f"| {name} | {row['operators']} | {row['views']} | {row['gru']} | {row['host_reads']} |")
    print(f"\nTarget: {TARGET} operators.")
    if output is not None:
        output.write_text(json.dumps({**describe_machine("torch"), "target": TARGET, "counts": counts}, indent=1))


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
