"""Compare exported graphs with PyTorch: accuracy in the made-up world, and CPU seconds of the full-size detector.

    python benchmarks/exported.py

CPU seconds are the least of several runs on one thread, so that other programs on the machine matter little.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from demo_world import score

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval, VideoMomentRetrievalPipeline
from videolights_hf.cli.terminal import errors_as_lines, quiet_transformers
from videolights_hf.demo import demo_checkpoint, make_world
from videolights_hf.deploy import export_detector, export_model, exported_pipeline, load_graph, quantize_graph


def least_cpu_seconds(run: Callable[[], Any], repeats: int) -> float:
    """CPU time of the fastest of several runs, after one that does not count."""
    run()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


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
    path = folder / "full.onnx"
    difference = export_detector(model, path)
    with torch.inference_mode():
        eager = least_cpu_seconds(lambda: model(**inputs), repeats)
    megabytes = sum(parameter.numel() for parameter in model.parameters()) * 4 / 1e6
    print(f"full size, 75 clips: PyTorch {1000 * eager:.0f} ms, {megabytes:.0f} MB", flush=True)
    for name in ("ONNX", "ONNX, int8"):
        if name != "ONNX":
            quantize_graph(path)
        graph = load_graph(path, threads=1)
        seconds = least_cpu_seconds(lambda graph=graph: graph(**inputs), repeats)
        found = graph(**inputs)
        with torch.inference_mode():
            expected = model(**inputs)
        gap = max(float((value - expected[key]).abs().max()) for key, value in found.items())
        print(f"{name:>12}: {1000 * seconds:.0f} ms, {size_of(path):.0f} MB, {gap:.1e} from PyTorch", flush=True)
    print(f"at other lengths, padded: {difference:.1e} from PyTorch")


def main(
    num_videos: Annotated[int, typer.Option(min=2, help="How many videos to render.")] = 6,
    repeats: Annotated[int, typer.Option(min=1, help="Runs to take the fastest of.")] = 10,
) -> None:
    """Compare exported graphs with PyTorch."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        compare_speed(Path(folder), repeats)
        compare_accuracy(Path(folder), num_videos)


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
