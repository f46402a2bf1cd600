"""Peak resident memory of a training step of the full-size VideoLights-B, beside the released model's.

    python -m benchmarks.memory [--output memory.json]

Each model trains for three steps on batches of 32 in a process of its own; what the process takes at rest, with the libraries
imported and nothing else, is measured too. The released model is that of `plain_release.py`. Two ways to take less are
measured beside: an allocator that returns what is freed (glibc keeps blocks of up to 32 MiB for later, unless
MALLOC_MMAP_THRESHOLD_ is set), and gradient checkpointing (`--set gradient_checkpointing=true` of `videolights train`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from videolights_hf.cli.terminal import errors_as_lines

from .machine import describe_machine

RETURNS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072"}
# What is measured, and with which environment.
KINDS: dict[str, dict[str, str]] = {
    "at rest": {},
    "release": {},
    "ours": {},
    "ours, freed memory returned": RETURNS_MEMORY,
    "ours, freed memory returned, gradient checkpointing": RETURNS_MEMORY,
}
TARGET_MIB = 1000
STEPS = 3


def peak_mib() -> float:
    """The most that this process has held."""
    # Not `ru_maxrss`, which a child inherits from its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def train(name: str) -> float:
    """Peak of this process after a few steps of one of the models."""
    from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval

    from .plain_release import PlainRelease
    from .speed import make_batch, make_labels, training_step

    if name == "at rest":
        return peak_mib()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    config = VideoLightsConfig.from_preset("videolights-b", "qvhighlights")
    model = PlainRelease(config, keep_waste=True) if name == "release" else VideoLightsForMomentRetrieval(config)
    if "checkpointing" in name:
        model.gradient_checkpointing_enable()
    step = training_step(model, make_batch(config, 32, 32, "cpu", torch.float32), make_labels(32, "cpu"))
    for _ in range(STEPS):
        step()
    return peak_mib()


def main(
    only: Annotated[str | None, typer.Option(help=f"Measure this process: {'; '.join(KINDS)}.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file of the peaks.")] = None,
) -> None:
    """Print peaks in MiB."""
    if only is not None:
        print(json.dumps(train(only)))
        return
    peaks = {}
    for name, environment in KINDS.items():
        command, variables = [sys.executable, "-m", "benchmarks.memory", "--only", name], {**os.environ, **environment}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
        peaks[name] = json.loads(done.stdout)
    print("| | peak resident memory |\n| --- | ---: |")
    for name, peak in peaks.items():
        print(f"| {name} | {peak:,.0f} MiB |")
    print(f"\nTarget: {TARGET_MIB:,} MiB.")
    if output is not None:
        output.write_text(json.dumps({**describe_machine("torch"), "target": TARGET_MIB, "mib": peaks}, indent=1))


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
