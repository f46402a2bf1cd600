"""Time the full-size VideoLights-B beside the released model, in one process, alternating.

    python -m benchmarks.speed [--threads 2] [--rounds 8] [--device cpu] [--dtype float32] [--work inference] [--profile]
    python -m benchmarks.speed --ours exported --work inference --work "one sentence"

The released model is `plain_release.py` with all that the release computes, also what it drops. What is timed is the mean
training step on batches of 32 (forward, loss, backward, clipping, AdamW), inference on 32 pairs of a video and a sentence, on
one pair, and on 64 sentences about one video, for which the release runs 64 times. Rounds alternate and ratios are medians
of the rounds', so that a busy machine slows both alike. `--ours` lets our inference run as a graph that `torch.compile` made,
or as one that was exported to ONNX. The floor of a work is its operations, counted, over the rate of
large matrix products measured in the same rounds. `--profile` prints instead which operators our time goes to.

Prints a table, and a JSON report to `--output`.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
import typer
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from videolights_hf import VideoLightsConfig
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.deploy import export_detector, load_graph

from .machine import describe_machine
from .plain_release import PlainRelease, packaged_model

Work = Callable[[], Any]
Way = Literal["eager", "compiled", "exported"]


class Pair(NamedTuple):
    """The same work by two models.

    Attributes:
        release: By the released model.
        ours: By ours, in the way that is timed.
        eager: By ours in eager PyTorch, whose operations are counted.
    """

    release: Work
    ours: Work
    eager: Work


# Ratios of the released code's time to ours that the project wants.
TARGETS = {
    "training step": 2.0,
    "inference": 2.5,
    "one sentence": 3.5,
    "64 sentences": 8.0,
}
SENTENCES = 64
PRODUCT_SIZE = 2048
PROFILED = 16


def make_batch(
    config: VideoLightsConfig, size: int, words: int, device: str, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Made-up features without padding: 75 clips each."""
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
    """Two moments per sample."""
    return {
        "spans": torch.rand(size, 2, 2, device=device) * 0.4 + 0.3,
        "span_mask": torch.ones(size, 2, dtype=torch.bool, device=device),
        "saliency": torch.randint(0, 13, (size, 75), device=device).float(),
        "positive_clips": torch.zeros(size, 2, dtype=torch.long, device=device),
        "negative_clips": torch.ones(size, 2, dtype=torch.long, device=device),
    }


def training_step(model: torch.nn.Module, batch: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]) -> Work:
    """A step as the Trainer makes it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)

    def step() -> None:
        model.train()
        loss = model(**batch, labels=labels)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return step


def inference(model: Callable[..., Any], batches: list[dict[str, torch.Tensor]]) -> Work:
    """Predictions for batches, one after another."""

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(**batch)

    return run


def count_operations(work: Work) -> int:
    """Floating-point operations of matrix products, a multiplication with its addition counted as two."""
    # The counter does not know the product that adds to what is there.
    in_place = {torch.ops.aten.addmm_: lambda total, one, other, *_, **__: 2 * one[0] * one[1] * other[1]}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        work()
    return counter.get_total_flops()


class Clock:
    """Times of works, in alternating rounds."""

    def __init__(self, device: str):
        self.waits = device.startswith("cuda")

    def seconds(self, work: Work) -> float:
        """How long it takes once, on a device until it is done."""
        if self.waits:
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if self.waits:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def alternate(self, works: dict[str, Work], rounds: int) -> dict[str, list[float]]:
        """Seconds of each round by work, after one round that is not counted."""
        for work in works.values():
            work()
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                times[name].append(self.seconds(work))
        return times


def in_way(model: torch.nn.Module, way: Way, folder: Path) -> Callable[..., Any]:
    """A model that makes predictions, as it is or as a graph."""
    if way == "exported":
        export_detector(model, folder / "detector.onnx")
        return load_graph(folder / "detector.onnx", threads=torch.get_num_threads())
    return torch.compile(model) if way == "compiled" else model


def make_works(device: str, dtype: torch.dtype, way: Way, chosen: list[str], folder: Path) -> dict[str, Pair]:
    """The release's and ours of each kind of work; `folder` takes what is exported."""
    config = VideoLightsConfig.from_preset("videolights-b", "qvhighlights")
    release = PlainRelease(config, keep_waste=True)
    # The same weights for both, and other copies for training, which changes them.
    ours = packaged_model(release).to(device, dtype)
    release = release.to(device, dtype)
    trained = PlainRelease(config, keep_waste=True)
    ours_trained = packaged_model(trained).to(device, dtype)
    infer = in_way(ours.eval(), way, folder)
    release.eval()
    batch, labels = make_batch(config, 32, 32, device, dtype), make_labels(32, device)
    single = make_batch(config, 1, 16, device, dtype)
    many = make_batch(config, SENTENCES, 16, device, dtype)
    many["video_features"] = single["video_features"].expand(SENTENCES, -1, -1)
    singles = [{name: rows[index : index + 1] for name, rows in many.items()} for index in range(SENTENCES)]
    together = many | {name: single[name] for name in ("video_features", "video_attention_mask")}
    # An exported graph takes a video for every sentence.
    at_once = many if way == "exported" else together
    step = training_step(ours_trained, batch, labels)
    works = {
        "training step": Pair(training_step(trained.to(device, dtype), batch, labels), step, step),
        "inference": Pair(*(inference(model, [batch]) for model in (release, infer, ours))),
        "one sentence": Pair(*(inference(model, [single]) for model in (release, infer, ours))),
        "64 sentences": Pair(inference(release, singles), inference(infer, [at_once]), inference(ours, [together])),
    }
    return {name: pair for name, pair in works.items() if not chosen or name in chosen}


def print_profile(works: dict[str, Pair], repeats: int = 3) -> None:
    """The operators that each of our works spends most of its time in, by their own time."""
    for name, pair in works.items():
        pair.ours()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(repeats):
                pair.ours()
        rows = sorted(profiler.key_averages(), key=lambda row: -row.self_cpu_time_total)
        total = sum(row.self_cpu_time_total for row in rows)
        print(f"\n| {name}: operator | share | calls |\n| --- | ---: | ---: |")
        for row in rows[:PROFILED]:
            print(f"| {row.key} | {row.self_cpu_time_total / total:.1%} | {row.count // repeats} |")


def summarize(times: dict[str, list[float]], works: dict[str, Pair], rate: float) -> dict[str, dict[str, float]]:
    """Median seconds, the ratio of each round's times, and the floor, by work."""
    rows = {}
    for name, pair in works.items():
        of_release, of_ours = times[f"{name}, release"], times[f"{name}, ours"]
        rows[name] = {
            "release_s": statistics.median(of_release),
            "ours_s": statistics.median(of_ours),
            "release_over_ours": statistics.median(a / b for a, b in zip(of_release, of_ours, strict=True)),
            "target": TARGETS[name],
            "gigaflop": count_operations(pair.eager) / 1e9,
        }
        rows[name]["floor_s"] = rows[name]["gigaflop"] / rate
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown."""
    lines = ["| | release | ours | release / ours | target | floor |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, row in rows.items():
        times = " | ".join(f"{row[key] * 1000:.0f} ms" for key in ("release_s", "ours_s"))
        ratio = f"{row['release_over_ours']:.2f} | {row['target']}"
        lines.append(f"| {name} | {times} | {ratio} | {row['floor_s'] * 1000:.0f} ms |")
    return "\n".join(lines)


def main(
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds.")] = 8,
    device: Annotated[str, typer.Option(help="Where to run.")] = "cpu",
    dtype_name: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option("--dtype", help="Type that both models compute in.")
    ] = "float32",
    way: Annotated[Way, typer.Option("--ours", help="How our inference runs.")] = "eager",
    chosen: Annotated[
        list[str] | None, typer.Option("--work", help=f"Only this: {', '.join(TARGETS)}. Repeat for several.")
    ] = None,
    profiled: Annotated[bool, typer.Option("--profile", help="Print which operators our time goes to.")] = False,
    output: Annotated[Path | None, typer.Option(help="JSON file of the report.")] = None,
) -> None:
    """Print a table of times and ratios, or a profile."""
    if unknown := set(chosen or ()) - set(TARGETS):
        raise ValueError(f"No work is called {sorted(unknown)[0]!r}: choose from {', '.join(TARGETS)}.")
    if way == "exported" and (device, dtype_name) != ("cpu", "float32"):
        raise ValueError("What is exported runs in float32 on the CPU: leave --device and --dtype out.")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)
    dtype = getattr(torch, dtype_name)
    with tempfile.TemporaryDirectory() as folder:
        works = make_works(device, dtype, way, chosen or [], Path(folder))
    if profiled:
        print_profile(works)
        return
    factors = [torch.randn(PRODUCT_SIZE, PRODUCT_SIZE, device=device, dtype=dtype) for _ in range(2)]
    alternating = {
        f"{name}, {whose}": work
        for name, pair in works.items()
        for whose, work in (("release", pair.release), ("ours", pair.ours))
    }
    alternating["product"] = lambda: torch.mm(*factors)
    times = Clock(device).alternate(alternating, rounds)
    rate = 2 * PRODUCT_SIZE**3 / statistics.median(times["product"]) / 1e9
    rows = summarize(times, works, rate)
    machine = describe_machine("torch", "transformers")
    setting = {
        **machine,
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "threads": threads,
        "dtype": dtype_name,
        "ours": way,
        "rounds": rounds,
        "product_gigaflop_per_s": rate,
    }
    print(f"{machine['processor']}, {threads} threads, {dtype_name}, {rate:.0f} GFLOP/s in large products\n")
    print(table(rows))
    if output is not None:
        output.write_text(json.dumps({"setting": setting, "works": rows, "seconds": times}, indent=1))


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
