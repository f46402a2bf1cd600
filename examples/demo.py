"""Find moments in a bundled video: what `make demo` runs.

    python examples/demo.py
    python examples/demo.py --video demo_0_00001 --query "a red circle"

Video, sentences and checkpoint come with the package; the checkpoint was not trained on the video. Prints the predicted
moments beside the true ones and draws a picture of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from transformers import pipeline

import videolights_hf  # noqa: F401  registers the pipeline
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.common.messages import unknown_name
from videolights_hf.demo import ANNOTATIONS_FILE, demo_checkpoint, demo_videos
from videolights_hf.visualization.moments import plot_moments


def read_annotations() -> dict[str, list[dict[str, Any]]]:
    """The bundled annotations of each bundled video."""
    videos: dict[str, list[dict[str, Any]]] = {}
    for line in (demo_videos() / ANNOTATIONS_FILE).read_text(encoding="utf-8").splitlines():
        annotation = json.loads(line)
        videos.setdefault(annotation["vid"], []).append(annotation)
    return videos


def format_window(start: float, end: float) -> str:
    """A moment in whole seconds."""
    return f"{start:.0f}-{end:.0f}"


def print_moments(annotations: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
    """Print the moments found for each sentence beside the true ones, and the clip with the highest saliency."""
    table = Table("sentence", "true moments (s)", "predicted (s, score)", "best clip (s)")
    for annotation, result in zip(annotations, results):
        truth = annotation["relevant_windows"]
        moments = sorted(result["moments"], key=lambda moment: moment["start"])
        best_clip = max(range(len(result["saliency"])), key=result["saliency"].__getitem__)
        table.add_row(
            annotation["query"],
            "\n".join(format_window(*window) for window in truth) or "not known",
            "\n".join(f"{format_window(m['start'], m['end'])}  {m['score']:.2f}" for m in moments) or "none",
            format_window(best_clip * result["clip_length"], (best_clip + 1) * result["clip_length"]),
        )
    Console().print(table)


def main(
    video: Annotated[str, typer.Option(help="Name of a bundled video.")] = "demo_0_00000",
    query: Annotated[
        list[str] | None, typer.Option(help="Your own sentence instead of the video's. Repeatable.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("demo_output"),
) -> None:
    """Find the moments of one bundled video."""
    videos = read_annotations()
    if video not in videos:
        raise ValueError(unknown_name("bundled video", video, videos))
    annotations = [{"query": text, "relevant_windows": []} for text in query] if query else videos[video]
    path = demo_videos() / f"{video}.mp4"
    retrieve = pipeline("video-moment-retrieval", model=str(demo_checkpoint()))
    results = retrieve(str(path), [annotation["query"] for annotation in annotations], score_threshold=0.5)

    print_moments(annotations, results)
    output.mkdir(parents=True, exist_ok=True)
    picture = output / f"{video}.png"
    truth = [annotation["relevant_windows"] for annotation in annotations]
    plot_moments(results[:3], video=str(path), ground_truth=truth[:3]).savefig(picture, dpi=120)
    print(f"Picture: {picture}")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
