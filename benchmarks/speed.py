"""Time a training step and inference of the full-size VideoLights-B, in units that compare between machines.

    python benchmarks/speed.py [--threads 2] [--rounds 8] [--device cpu] [--dtype float32] [--compile]

One *unit* is the time of a forward and backward pass of `torch.nn.TransformerEncoder` (3 layers, width 256, 8 heads,
FFN 1024) on a (32, 76, 256) batch in float32; a *forward unit* is its forward pass. Rounds of units and of the model
alternate and medians are divided, so that a busy machine slows both alike. The released code, measured the same way on
two CPU threads, takes 9.88 units per training step, 5.88 forward units for inference on a batch of 32, and 0.604 for a
single video.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Literal

import torch
import typer

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
from videolights_hf.cli.terminal import errors_as_lines

RELEASE = {"train_step_in_units": 9.875, "inference_in_forward_units": 5.879, "single_in_forward_units": 0.604}


def make_unit(device: str) -> tuple[Callable[[], None], Callable[[], None]]:
    layer = torch.nn.TransformerEncoderLayer(256, 8, 1024, dropout=0.0, batch_first=True)
    network = torch.nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).to(device)
    batch = torch.randn(32, 76, 256, device=device)

    def both() -> None:
        network.train()
        network(batch).square().mean().backward()
        network.zero_grad(set_to_none=True)

    def forward() -> None:
        network.eval()
        with torch.no_grad():
            network(batch)

    return both, forward


def make_batch(
    config: VideoLightsConfig, size: int, words: int, device: str, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    video = torch.randn(size, 75, config.video_dim, device=device, dtype=dtype)
    text = torch.randn(size, words, config.text_dim, device=device, dtype=dtype)
    ones = {"device": device, "dtype": torch.long}
    return {
        "video_features": video,
        "text_features": text,
        "video_attention_mask": torch.ones(size, 75, **ones),
        "text_attention_mask": torch.ones(size, words, **ones),
    }


def make_labels(size: int, device: str) -> dict[str, torch.Tensor]:
    return {
        "spans": torch.rand(size, 2, 2, device=device) * 0.4 + 0.3,
        "span_mask": torch.ones(size, 2, dtype=torch.bool, device=device),
        "saliency": torch.randint(0, 13, (size, 75), device=device).float(),
        "positive_clips": torch.zeros(size, 2, dtype=torch.long, device=device),
        "negative_clips": torch.ones(size, 2, dtype=torch.long, device=device),
    }


def main(
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds.")] = 8,
    device: Annotated[str, typer.Option(help="Where to run.")] = "cpu",
    dtype_name: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option("--dtype", help="Type that the model computes in.")
    ] = "float32",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the inference path.")] = False,
) -> None:
    """Print a JSON report of times and ratios."""
    setting = {**locals(), "torch": torch.__version__}
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)
    dtype = getattr(torch, dtype_name)

    config = VideoLightsConfig.from_preset("videolights-b", "qvhighlights")
    model = VideoLightsForMomentRetrieval(config).to(device, dtype)
    # `Trainer` uses the fused optimizer by default.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)
    infer = torch.compile(model) if compiled else model
    batch, labels = make_batch(config, 32, 32, device, dtype), make_labels(32, device)
    single = make_batch(config, 1, 16, device, dtype)
    unit, forward_unit = make_unit(device)

    def train_step() -> None:
        model.train()
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    def inference(inputs: dict[str, torch.Tensor]) -> None:
        model.eval()
        with torch.inference_mode():
            infer(**inputs)

    works = {
        "unit": unit,
        "forward_unit": forward_unit,
        "train_step": train_step,
        "inference": lambda: inference(batch),
        "single": lambda: inference(single),
    }

    def seconds(work: Callable[[], None]) -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - start

    for work in works.values():
        for _ in range(2):
            work()
    times = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {
        "train_step_in_units": medians["train_step"] / medians["unit"],
        "inference_in_forward_units": medians["inference"] / medians["forward_unit"],
        "single_in_forward_units": medians["single"] / medians["forward_unit"],
    }
    report = {
        "setting": setting,
        "seconds": medians,
        "ratios": ratios,
        "release_over_ours": {name: RELEASE[name] / ratio for name, ratio in ratios.items()},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
