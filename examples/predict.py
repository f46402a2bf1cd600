"""Find moments in a video of your own, from Python.

    python examples/predict.py holiday.mp4 "a dog runs on the beach" "people eat" --model path/to/checkpoint

The video is encoded once for all sentences and may be of any length. `videolights predict` does the same, and also
writes JSON and excerpts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from transformers import pipeline

import videolights_hf  # noqa: F401  registers the pipeline
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.common.times import format_time
from videolights_hf.visualization.moments import plot_moments


def main(
    video: Annotated[str, typer.Argument(help="Video file.")],
    sentences: Annotated[list[str], typer.Argument(help="What to look for.")],
    model: Annotated[str, typer.Option(help="Model folder, or its id on the Hub.")],
    device: Annotated[str | None, typer.Option(help="Where to run. Default: the first accelerator.")] = None,
    plot: Annotated[Path, typer.Option(help="Where to draw the result.")] = Path("moments.png"),
) -> None:
    """Print the best three moments and the best highlight of each sentence, and draw them."""
    finder = pipeline("video-moment-retrieval", model=model, device=device)
    results = finder(video, sentences, top_k=3)
    for result in results:
        print(result["query"])
        for moment in result["moments"]:
            start, end = format_time(moment["start"], decimals=1), format_time(moment["end"], decimals=1)
            print(f"  {start} to {end}  score {moment['score']:.2f}")
        best = max(range(len(result["saliency"])), key=result["saliency"].__getitem__)
        print(f"  best highlight at {format_time(best * result['clip_length'], decimals=1)}")
    plot_moments(results, video).savefig(plot, dpi=150)
    print(f"Wrote {plot}")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
