"""Time the full-size VideoLights-B on a GPU: eager, compiled and as CUDA graphs, in float32, tf32 and bfloat16.

    python -m benchmarks.device [--device cuda] [--rounds 5] [--precision bfloat16] [--way captured] [--small]

What is timed is the training step on batches of 32 (forward, loss, backward, clipping, AdamW) and inference on batches of
100, on one pair, and on 64 sentences about one video. `release` is the released model of `plain_release.py` with all that
it computes, eager. Ours runs in four ways:

- `eager`;
- `compiled`: `torch.compile(fullgraph=True)`;
- `graphs`: the same with `mode="reduce-overhead"`, which replays CUDA graphs of the forward and of the backward pass;
- `captured`: the whole step, optimizer included, as one CUDA graph. Only this way is not an option of a recipe.

bfloat16 is autocast, as `bf16=true` trains. In training ways alternate within a round; times are medians of the rounds. 200 epochs are
projected from the steps of QVHighlights: 226 for each epoch.

Prints tables, and writes a JSON report to `--output`.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from videolights_hf import VideoLightsConfig
from videolights_hf.cli.terminal import errors_as_lines

from .machine import describe_machine
from .plain_release import PlainRelease, packaged_model
from .speed import Clock, Work, make_batch, make_labels

PRECISIONS = ("float32", "tf32", "bfloat16")
WAYS = ("release", "eager", "compiled", "graphs", "captured")
STEPS_PER_EPOCH, EPOCHS = 226, 200
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}


def autocast(device: str, precision: str) -> torch.autocast:
    """bfloat16 where that is the precision; and PyTorch's setting of float32 products."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")


def training_step(
    model: torch.nn.Module,
    call: Callable[..., Any],
    batch: dict[str, torch.Tensor],
    labels: dict[str, torch.Tensor],
    precision: str,
    capturable: bool,
) -> Work:
    """A step as the Trainer makes it; `call` is the model or what it was compiled to."""
    device = str(batch["video_features"].device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True, capturable=capturable)

    def step() -> None:
        with autocast(device, precision):
            loss = call(**batch, labels=labels)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()

    return step


def captured(step: Work) -> Work:
    """A CUDA graph of a work that waits for nothing."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    # The graph reads and writes memory that the step holds: model, batch and optimizer must live as long.
    held = (graph, step)
    return lambda: held[0].replay()


def compiled_as(model: torch.nn.Module, way: str) -> Callable[..., Any]:
    """The model in one of the ways, before its first call."""
    if way not in ("compiled", "graphs"):
        return model
    mode = "reduce-overhead" if way == "graphs" else None
    return torch.compile(model, fullgraph=True, dynamic=False, mode=mode)


def make_training(config: VideoLightsConfig, way: str, device: str, precision: str) -> Work:
    """The training step in one of the ways."""
    release = PlainRelease(config, keep_waste=True)
    model: torch.nn.Module = release if way == "release" else packaged_model(release)
    model = model.to(device).train()
    batch, labels = make_batch(config, 32, 32, device, torch.float32), make_labels(32, device)
    step = training_step(model, compiled_as(model, way), batch, labels, precision, way == "captured")
    return captured(step) if way == "captured" else step


def make_inference(config: VideoLightsConfig, way: str, device: str, precision: str) -> dict[str, Work]:
    """Predictions for a batch of 100, for one pair, and for 64 sentences about one video, in one of the ways."""
    release = PlainRelease(config, keep_waste=True)
    model: torch.nn.Module = release if way == "release" else packaged_model(release)
    model = model.to(device).eval()
    call = compiled_as(model, way)
    one, many = (make_batch(config, size, 16, device, torch.float32) for size in (1, 64))
    together = many | {name: one[name] for name in ("video_features", "video_attention_mask")}
    singles = [{name: rows[index : index + 1] for name, rows in many.items()} for index in range(64)]
    batches = {
        "100 pairs": [make_batch(config, 100, 32, device, torch.float32)],
        "one pair": [one],
        "64 sentences": singles if way == "release" else [together],
    }

    def work(inputs: list[dict[str, torch.Tensor]]) -> Work:
        def run() -> None:
            with torch.inference_mode(), autocast(device, precision):
                for batch in inputs:
                    call(**batch)

        return captured(run) if way == "captured" else run

    return {name: work(inputs) for name, inputs in batches.items()}


def measure(works: dict[str, Work], device: str, rounds: int, seconds: float) -> dict[str, float]:
    """Median milliseconds of one call of each work: in each round a work is called for some seconds."""
    clock = Clock(device)
    repeats = {}
    for name, work in works.items():
        # The first calls compile and record.
        start = time.perf_counter()
        for _ in range(3):
            work()
        print(f"# {name}: set up in {time.perf_counter() - start:.1f} s", flush=True)
        repeats[name] = max(1, round(seconds / max(clock.seconds(work), 1e-5)))
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(clock.seconds(lambda work=work, name=name: [work() for _ in range(repeats[name])]))
    return {name: 1000 * statistics.median(found) / repeats[name] for name, found in times.items()}


def training_rows(config: VideoLightsConfig, device: str, precision: str, ways: list[str], rounds: int) -> dict:
    """Milliseconds of a training step by way, and what follows from them."""
    works, memory = {}, {}
    on_gpu = device.startswith("cuda")
    for way in ways:
        before = torch.cuda.memory_allocated() if on_gpu else 0
        if on_gpu:
            # Capturing is counted: a replay allocates nothing.
            torch.cuda.reset_peak_memory_stats()
        works[way] = make_training(config, way, device, precision)
        for _ in range(3):
            works[way]()
        memory[way] = (torch.cuda.max_memory_allocated() - before) / 2**20 if on_gpu else 0.0
    times = measure(works, device, rounds, 0.3)
    return {
        way: {
            "ms": time_,
            "steps_per_s": 1000 / time_,
            "minutes_for_200_epochs": time_ * STEPS_PER_EPOCH * EPOCHS / 60_000,
            "peak_mib": memory[way],
        }
        for way, time_ in times.items()
    }


def inference_rows(config: VideoLightsConfig, device: str, precision: str, ways: list[str], rounds: int) -> dict:
    """Milliseconds of each kind of inference by way."""
    rows = {}
    for way in ways:
        rows[way] = measure(make_inference(config, way, device, precision), device, rounds, 0.2)
    return rows


def print_training(precision: str, rows: dict) -> None:
    print(f"\n| training step, {precision} | ms | steps per s | 200 epochs, minutes | release / this | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for way, row in rows.items():
        ratio = f"{rows['release']['ms'] / row['ms']:.2f}" if "release" in rows else ""
        print(
            f"| {way} | {row['ms']:.2f} | {row['steps_per_s']:.1f} | {row['minutes_for_200_epochs']:.1f} | {ratio} | "
            f"{row['peak_mib']:.0f} |"
        )


def print_inference(precision: str, rows: dict) -> None:
    print(f"\n| inference, {precision} | pairs per s in batches of 100 | one pair, ms | 64 sentences, ms |")
    print("| --- | ---: | ---: | ---: |")
    for way, row in rows.items():
        print(
            f"| {way} | {100_000 / row['100 pairs']:.0f} | {row['one pair']:.2f} | {row['64 sentences']:.2f} |",
            flush=True,
        )


def main(
    device: Annotated[str, typer.Option(help="Where to run.")] = "cuda",
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds.")] = 5,
    precisions: Annotated[
        list[str] | None, typer.Option("--precision", help=f"Only this: {', '.join(PRECISIONS)}. Repeat for several.")
    ] = None,
    ways: Annotated[
        list[str] | None, typer.Option("--way", help=f"Only this: {', '.join(WAYS)}. Repeat for several.")
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="A small model.")] = False,
    training: Annotated[bool, typer.Option(help="Time the training step.")] = True,
    inference: Annotated[bool, typer.Option(help="Time inference.")] = True,
    output: Annotated[Path | None, typer.Option(help="JSON file of the report.")] = None,
) -> None:
    """Print tables of times."""
    for chosen, known in ((precisions, PRECISIONS), (ways, WAYS)):
        if unknown := set(chosen or ()) - set(known):
            raise ValueError(f"{sorted(unknown)[0]!r} is not one of {', '.join(known)}.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("There is no GPU: try --device cpu --small --way release --way eager --way compiled.")
    if not device.startswith("cuda") and (not ways or {"graphs", "captured"} & set(ways)):
        raise ValueError("CUDA graphs need a GPU: choose --way release, eager or compiled.")
    # Else dynamo leaves the GRU of the task coupling to Python.
    torch._dynamo.config.allow_rnn = True
    torch._dynamo.config.recompile_limit = 64
    torch.backends.mha.set_fastpath_enabled(False)
    torch.manual_seed(0)
    config = VideoLightsConfig.from_preset("videolights-b", "qvhighlights", **(SMALL if small else {}))
    report: dict[str, Any] = {
        "setting": {
            **describe_machine("torch", "transformers"),
            "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
            "rounds": rounds,
            "small": small,
        },
        "training": {},
        "inference": {},
    }
    print(json.dumps(report["setting"]))
    for precision in precisions or PRECISIONS:
        if training:
            rows = training_rows(config, device, precision, ways or list(WAYS), rounds)
            report["training"][precision] = rows
            print_training(precision, rows)
        if inference:
            rows = inference_rows(config, device, precision, ways or list(WAYS), rounds)
            report["inference"][precision] = rows
            print_inference(precision, rows)
        torch.compiler.reset()
        if output is not None:
            output.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
