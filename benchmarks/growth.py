"""Measure how inference time and memory grow with the clips of a video, the sentences, and the batch.

    python -m benchmarks.growth [--threads 1] [--rounds 3] [--limit 4800] [--small]

A full-size VideoLights of random weights, float32, on made-up features (SlowFast and CLIP, 12 words a sentence), on the CPU:

- `clips`: the pipeline on one sentence and a video of 75 to 4,800 clips, which it sees in overlapping windows of 75;
- `one pass`: a model that sees as many clips at once, without windows;
- `sentences`: the pipeline on 1 to 256 sentences and a video of 75 clips;
- `batch`: the model on 1 to 64 pairs of 75 clips and a sentence.

For each size it gives the median time, the peak of resident memory above that before the run, and the exponent of either
against the next smaller size: 1 is linear growth, 2 quadratic.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.machine import describe_machine
from videolights_hf import (
    VideoFeatures,
    VideoLightsConfig,
    VideoLightsForMomentRetrieval,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.backbones import FeatureBackbone
from videolights_hf.cli.terminal import errors_as_lines

SIZES = {
    "clips": (75, 150, 300, 600, 1200, 2400, 4800),
    "one pass": (75, 150, 300, 600, 1200, 2400, 4800),
    "sentences": (1, 4, 16, 64, 256),
    "batch": (1, 4, 16, 64),
}
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "video_backbones": [["slowfast", 12], ["clip", 8]],
    "text_backbones": [["clip", 8]],
}
WORDS, CLIPS = 12, 75


class RandomText(FeatureBackbone):
    """Made-up token features in place of CLIP's."""

    name = "clip"
    frame_size = 32
    sampling = "even"

    def __init__(self, width: int):
        self.video_dim = self.text_dim = width

    def encode_text(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Features of a dozen words for each sentence."""
        return [random_features(WORDS, self.text_dim) for _ in sentences]

    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """Not used: the video comes as features."""
        raise NotImplementedError

    def to(self, device: Any = None, dtype: Any = None) -> RandomText:
        """Nothing to move."""
        return self

    def save_pretrained(self, save_directory: Any) -> None:
        """Nothing to save."""

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> RandomText:
        """Nothing to load."""
        raise NotImplementedError


def random_features(rows: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, width), dtype=np.float32)


def make_model(small: bool, clips: int = CLIPS) -> VideoLightsForMomentRetrieval:
    config = VideoLightsConfig.from_preset(
        "videolights", "qvhighlights", max_video_length=clips, **(SMALL if small else {})
    )
    return VideoLightsForMomentRetrieval(config).eval()


def pipeline_run(small: bool, clips: int, sentences: int) -> Callable[[], object]:
    model = make_model(small)
    processor = VideoLightsProcessor.from_config(model.config)
    processor.set_backbone(RandomText(dict(model.config.text_backbones)["clip"]))
    pipe = VideoMomentRetrievalPipeline(model, processor, device="cpu")
    features = {name: random_features(clips, width) for name, width in model.config.video_backbones}
    video = VideoFeatures(features, 2.0 * clips, 2.0)
    texts = [f"sentence {number}" for number in range(sentences)]
    return lambda: pipe(video, texts, show_progress=False)


def model_run(small: bool, clips: int, batch: int) -> Callable[[], object]:
    model = make_model(small, clips)
    inputs = {
        "video_features": torch.randn(batch, clips, model.config.video_dim),
        "text_features": torch.randn(batch, WORDS, model.config.text_dim),
        "video_attention_mask": torch.ones(batch, clips, dtype=torch.long),
        "text_attention_mask": torch.ones(batch, WORDS, dtype=torch.long),
    }
    return lambda: model(**inputs)


RUNS: dict[str, Callable[[bool, int], Callable[[], object]]] = {
    "clips": lambda small, size: pipeline_run(small, size, 1),
    "one pass": lambda small, size: model_run(small, size, 1),
    "sentences": lambda small, size: pipeline_run(small, CLIPS, size),
    "batch": lambda small, size: model_run(small, CLIPS, size),
}


def memory_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


@contextlib.contextmanager
def watched_memory(found: list[float]) -> Iterator[None]:
    """Append the peak of resident memory within, in MiB above what it was before."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    # The kernel forgets the peak so far.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = memory_mib("VmRSS")
    yield
    found.append(memory_mib("VmHWM") - before)


def measure(run: Callable[[], object], rounds: int) -> dict[str, float]:
    """Median seconds and MiB of some runs after a first one."""
    seconds: list[float] = []
    memory: list[float] = []
    with torch.inference_mode():
        run()
        for _ in range(rounds):
            with watched_memory(memory):
                start = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "mib": statistics.median(memory)}


def with_exponents(rows: dict[int, dict[str, float]]) -> dict[int, dict[str, float | None]]:
    """The rows with the exponent of their growth since the row before."""
    result: dict[int, dict[str, float | None]] = {}
    before: int | None = None
    for size, row in rows.items():
        result[size] = dict(row)
        for name, value in row.items():
            earlier = rows[before][name] if before is not None else 0.0
            grows = before is not None and earlier > 0 and value > 0
            result[size][f"{name}_exponent"] = math.log(value / earlier) / math.log(size / before) if grows else None
        before = size
    return result


def main(
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each size after a first one.")] = 3,
    limit: Annotated[int, typer.Option(min=1, help="Leave out larger sizes.")] = 4800,
    small: Annotated[bool, typer.Option("--small", help="A small model, to try the benchmark.")] = False,
) -> None:
    """Print a JSON report and a table."""
    setting = {**locals(), **describe_machine("torch", "transformers", "videolights-hf")}
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    report = {
        name: with_exponents({size: measure(make(small, size), rounds) for size in SIZES[name] if size <= limit})
        for name, make in RUNS.items()
    }
    print(json.dumps({"setting": setting, "growth": report}, indent=1))
    print("\n| what grows | size | seconds | exponent | MiB | exponent |\n|---|---|---|---|---|---|")
    for name, rows in report.items():
        for size, row in rows.items():
            exponents = ["" if row[key] is None else f"{row[key]:.2f}" for key in ("seconds_exponent", "mib_exponent")]
            print(f"| {name} | {size:,} | {row['seconds']:.3f} | {exponents[0]} | {row['mib']:.0f} | {exponents[1]} |")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
