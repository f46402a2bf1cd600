"""Compare exported graphs with PyTorch: accuracy in the made-up world, and CPU seconds of the full-size detector.

    python -m benchmarks.exported

Runs of PyTorch and of the graphs alternate, on one thread; medians are of CPU time, so that other programs on the machine
matter little.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval, VideoMomentRetrievalPipeline
from videolights_hf.cli.terminal import errors_as_lines, quiet_transformers
from videolights_hf.demo import demo_checkpoint, make_world
from videolights_hf.deploy import export_detector, export_model, exported_pipeline, load_graph, quantize_graph

from .demo_world import score


def median_cpu_seconds(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU time of each of several functions, which alternate; the first round does not count."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def size_of(path: Path) -> float:
    """Megabytes of a graph with its weights."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / 1e6


def compare_accuracy(folder: Path, num_videos: int) -> None:
    """Print the metrics of PyTorch, ONNX and int8 on freshly rendered videos."""
    annotations = make_world(folder / "videos", "test", range(num_videos))
    print(f"{num_videos} videos, {len(annotations)} queries", flush=True)
    export_model(demo_checkpoint(), folder / "onnx")
    shutil.copytree(folder / "onnx", folder / "int8")
    for graph in (folder / "int8" / "graphs").glob("*.onnx"):
        quantize_graph(graph)
    for name, retrieve in (
        ("PyTorch", VideoMomentRetrievalPipeline.from_pretrained(demo_checkpoint(), device="cpu")),
        ("ONNX", exported_pipeline(folder / "onnx", threads=1)),
        ("ONNX, int8", exported_pipeline(folder / "int8", threads=1)),
    ):
        metrics = score(retrieve, folder / "videos", annotations)
        print(f"{name:>12}: " + "  ".join(f"{metric} {value:5.1f}" for metric, value in metrics.items()), flush=True)


def compare_speed(folder: Path, repeats: int) -> None:
    """Print CPU time and size of the full-size detector, and how far int8 is from PyTorch."""
    torch.manual_seed(0)
    config = VideoLightsConfig.from_preset("videolights-b")
    model = VideoLightsForMomentRetrieval(config).eval()
    inputs = {
        "video_features": torch.randn(1, 75, config.video_dim),
        "video_attention_mask": torch.ones(1, 75, dtype=torch.long),
        "text_features": torch.randn(1, 20, config.text_dim),
        "text_attention_mask": torch.ones(1, 20, dtype=torch.long),
    }
    paths = {"ONNX": folder / "onnx" / "full.onnx", "ONNX, int8": folder / "int8" / "full.onnx"}
    difference = export_detector(model, paths["ONNX"])
    shutil.copytree(folder / "onnx", folder / "int8")
    quantize_graph(paths["ONNX, int8"])
    graphs = {name: load_graph(path, threads=1) for name, path in paths.items()}
    with torch.inference_mode():
        expected = model(**inputs)
        runs: dict[str, Callable[[], Any]] = {"PyTorch": lambda: model(**inputs)}
        runs |= {name: lambda graph=graph: graph(**inputs) for name, graph in graphs.items()}
        seconds = median_cpu_seconds(runs, repeats)
    megabytes = sum(parameter.numel() for parameter in model.parameters()) * 4 / 1e6
    print(f"full size, 75 clips: PyTorch {1000 * seconds['PyTorch']:.0f} ms, {megabytes:.0f} MB", flush=True)
    for name, graph in graphs.items():
        found = graph(**inputs)
        gap = max(float((value - expected[key]).abs().max()) for key, value in found.items())
        ratio = seconds["PyTorch"] / seconds[name]
        print(
            f"{name:>12}: {1000 * seconds[name]:.0f} ms ({ratio:.1f} times as fast), {size_of(paths[name]):.0f} MB, "
            f"{gap:.1e} from PyTorch",
            flush=True,
        )
    print(f"at other lengths, padded: {difference:.1e} from PyTorch")


def main(
    num_videos: Annotated[int, typer.Option(min=2, help="How many videos to render.")] = 6,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of the timings.")] = 20,
) -> None:
    """Compare exported graphs with PyTorch."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        compare_speed(Path(folder, "full"), repeats)
        compare_accuracy(Path(folder), num_videos)


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
