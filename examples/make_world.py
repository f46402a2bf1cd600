"""Render a folder of the made-up world: mp4 videos and their annotations in the QVHighlights format.

python examples/make_world.py runs/world/train --split train --num-videos 600
python examples/make_world.py runs/world/validation --split validation --num-videos 50
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.demo import make_world


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for the videos and annotations.jsonl.")],
    split: Annotated[str, typer.Option(help="Family of videos (train, validation, test, demo).")] = "train",
    num_videos: Annotated[int, typer.Option(min=1, help="How many videos to render.")] = 600,
    first: Annotated[int, typer.Option(min=0, help="Number of the first video within its split.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world.")] = 0,
) -> None:
    """Render the videos and write their annotations."""
    annotations = make_world(folder, split, range(first, first + num_videos), seed=seed, show_progress=True)
    print(f"Wrote {num_videos} videos and {len(annotations)} queries to {folder}")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
