"""Measure data loading: milliseconds per sample and resident memory, for features of the size of QVHighlights'.

    python -m benchmarks.data_loading [--videos 256] [--workers 0 --workers 2] [--dtype float16] [--epochs 4]

Made-up features are written as archives, built into a feature dataset in a temporary folder, and read as in training:
batches of 32 in random order, with labels and padding. For each number of workers it reports

- `milliseconds_per_sample`: the median over the epochs after the first of wall time per sample while nothing else is
  done, so that it is what a training step waits for at most. The first epoch also compares checksums and is given apart;
- `cpu_milliseconds_per_sample`: processor time of all processes per sample, over all epochs;
- `memory_mib`: memory of all processes that is not backed by files (`RssAnon` and `RssShmem`), after each epoch.

`resident` is the same without workers where all features lie in memory (`resident_features=true`), looked up for each batch.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from torch.utils.data import DataLoader

from benchmarks.machine import describe_machine
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.data import (
    BuildSettings,
    FeatureDataset,
    ItemBuilder,
    ResidentFeatures,
    VideoLightsDataCollator,
    build_feature_dataset,
    load_feature_dataset,
)

VIDEO_WIDTHS = {"slowfast": 2304, "clip": 512, "blip2": 768}
TEXT_WIDTHS = {"clip": 512, "blip2": 768}
CLIPS, WORDS, SECONDS = 75, 32, 2


def annotation(number: int, video: int, rng: np.random.Generator) -> dict[str, Any]:
    """A made-up annotation as QVHighlights has them: a few moments, and three scores for each of their clips."""
    starts = np.sort(rng.choice(CLIPS // 10, size=rng.integers(1, 4), replace=False)) * 10
    moments = [(int(start), int(start + rng.integers(2, 10))) for start in starts]
    clips = [clip for first, last in moments for clip in range(first, min(last, CLIPS))]
    return {
        "qid": number,
        "query": "somebody does something somewhere",
        "vid": f"video_{video}",
        "duration": CLIPS * SECONDS,
        "relevant_windows": [[first * SECONDS, min(last, CLIPS) * SECONDS] for first, last in moments],
        "relevant_clip_ids": clips,
        "saliency_scores": rng.integers(0, 5, (len(clips), 3)).tolist(),
    }


def build_tables(folder: Path, videos: int, backbones: int, dtype: str, **queries: int) -> None:
    """Write archives of made-up features and build a feature dataset of them in `folder / "built"`.

    Args:
        folder: Gets the files.
        videos: Their number.
        backbones: See `main`.
        dtype: See `main`.
        **queries: Number of queries by split, about the videos in turn; without them one training query for each video.
    """
    rng = np.random.default_rng(0)
    video_widths = dict(list(VIDEO_WIDTHS.items())[:backbones])
    text_widths = dict(list(TEXT_WIDTHS.items())[: max(1, backbones - 1)])
    folders = {
        "video": {name: folder / f"video_{name}" for name in video_widths},
        "text": {name: folder / f"text_{name}" for name in text_widths},
    }
    for made in [*folders["video"].values(), *folders["text"].values()]:
        made.mkdir()

    def write(archive: Path, key: str, length: int, width: int) -> None:
        np.savez(archive, **{key: rng.standard_normal((length, width), dtype=np.float32).astype(dtype)})

    for video in range(videos):
        for name, width in video_widths.items():
            write(folders["video"][name] / f"video_{video}.npz", "features", CLIPS, width)
    qid = 0
    annotations = {split: folder / f"{split}.jsonl" for split in queries or ("train",)}
    for split, path in annotations.items():
        rows = [annotation(qid + number, number % videos, rng) for number in range(queries.get(split, videos))]
        qid += len(rows)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for row in rows:
            for name, width in text_widths.items():
                write(folders["text"][name] / f"qid{row['qid']}.npz", "last_hidden_state", WORDS, width)
    build_feature_dataset(
        folder / "built",
        annotations,
        folders["video"],
        folders["text"],
        dataset="qvhighlights",
        settings=BuildSettings(progress=False),
    )


def memory_mib(processes: list[int]) -> float:
    """Memory of processes that is not backed by files."""
    total = 0
    for process in processes:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return round(total / 1024, 1)


def cpu_seconds(processes: list[int]) -> float:
    """Processor time that processes have used."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(
    data: FeatureDataset, workers: int, batch_size: int, epochs: int, resident: ResidentFeatures | None = None
) -> dict[str, Any]:
    """Read `data` for some epochs with a number of workers, or look it up."""
    loader = DataLoader(
        data,
        batch_size,
        shuffle=True,
        num_workers=workers,
        collate_fn=VideoLightsDataCollator(text_dropout=0.5),
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(0),
    )
    seconds, memory = [], []
    processes = [os.getpid()]
    spent = -cpu_seconds(processes)
    for epoch in range(epochs):
        data.set_epoch(epoch)
        batches = iter(loader)
        processes = [os.getpid(), *(worker.pid for worker in getattr(batches, "_workers", ()))]
        start = time.perf_counter()
        for batch in batches:
            if resident is not None:
                resident.look_up(batch)
        seconds.append(time.perf_counter() - start)
        memory.append(memory_mib(processes))
    spent += cpu_seconds(processes)
    return {
        "milliseconds_per_sample": round(1000 * statistics.median(seconds[1:]) / len(data), 3),
        "first_epoch": round(1000 * seconds[0] / len(data), 3),
        "cpu_milliseconds_per_sample": round(1000 * spent / len(data) / epochs, 3),
        "memory_mib": memory,
    }


def main(
    videos: Annotated[int, typer.Option(min=1, help="Videos, each with one query.")] = 256,
    backbones: Annotated[int, typer.Option(min=2, max=3, help="2: SlowFast and CLIP; 3: BLIP-2 as well.")] = 2,
    dtype: Annotated[Literal["float16", "float32"], typer.Option(help="Type of the stored features.")] = "float16",
    workers: Annotated[
        list[int] | None, typer.Option(min=0, help="Data loader workers; may be repeated. [default: 0 and 2]")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples per batch.")] = 32,
    epochs: Annotated[int, typer.Option(min=2, help="Passes over the data.")] = 4,
) -> None:
    """Print a JSON report and a table."""
    setting = {**locals(), **describe_machine("torch", "numpy", "datasets", "videolights-hf")}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        build_tables(Path(folder), videos, backbones, dtype)
        tables = load_feature_dataset(Path(folder, "built"))
        builder = ItemBuilder(
            tuple(VIDEO_WIDTHS.items())[:backbones], tuple(TEXT_WIDTHS.items())[: backbones - 1], training=True
        )
        report: dict[int | str, dict[str, Any]] = {
            number: measure(FeatureDataset(tables["train"], tables["videos"], builder), number, batch_size, epochs)
            for number in workers or (0, 2)
        }
        resident = ResidentFeatures([FeatureDataset(tables["train"], tables["videos"], builder)], "cpu")
        report["resident"] = measure(resident.datasets[0], 0, batch_size, epochs, resident)
    print(json.dumps({"setting": setting, "workers": report}, indent=1))
    print(
        "\n| workers | ms per sample | first epoch | CPU ms per sample | MiB after each epoch |\n|---|---|---|---|---|"
    )
    for number, row in report.items():
        memory = ", ".join(f"{mib:.0f}" for mib in row["memory_mib"])
        print(
            f"| {number} | {row['milliseconds_per_sample']} | {row['first_epoch']} | "
            f"{row['cpu_milliseconds_per_sample']} | {memory} |"
        )


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
