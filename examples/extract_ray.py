"""Features of many videos, computed over a cluster by Ray Data.

    pip install "ray[data]"
    python examples/extract_ray.py videos/ /shared/features --backbone clip --workers 16 --gpus 1

Every machine must see the videos and the output folder under the same names. Without a cluster, Ray starts its workers on
this machine. The files are those of `videolights extract` to the byte: whole groups of videos are handed out, and batches
are filled within a group alone. A worker or machine that is lost costs the group that it was working on, which Ray gives
to another; a run that was killed continues when the same command is repeated.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm.auto import tqdm

from videolights_hf.backbones import load_backbones
from videolights_hf.cli.options import Backbones, parse_backbones
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.common.processes import Processes
from videolights_hf.extraction import ExtractionSettings, extract_video_features, find_videos
from videolights_hf.extraction.video import VIDEOS_PER_GROUP


class GroupTurn(Processes):
    """One group of videos, as the share of a process that waits for nobody: the groups are the processes."""

    is_main = False

    def wait(self) -> None:
        """Go on at once."""

    def gather(self, items: list) -> list:
        """The items of this group."""
        return items


class GroupExtractor:
    """Extracts groups of videos; Ray makes one per worker, which loads the backbones once."""

    def __init__(self, videos: str, output: str, checkpoints: Mapping[str, str], settings: ExtractionSettings):
        self.device = Processes.current().device
        self.videos = find_videos(videos)
        self.output = output
        self.backbones = load_backbones(checkpoints, self.device)
        self.settings = settings

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Extract the group of a row."""
        turn = GroupTurn(row["group"], number_of_groups(self.videos), self.device)
        settings = dataclasses.replace(self.settings, processes=turn)
        summary = extract_video_features(self.videos, self.output, self.backbones, settings)
        return {"done": summary.done + summary.skipped}


def number_of_groups(videos: Mapping[str, Any]) -> int:
    """How many groups the videos make."""
    return math.ceil(len(videos) / VIDEOS_PER_GROUP)


def main(
    videos: Annotated[str, typer.Argument(help="A folder, a quoted pattern or a list of videos.")],
    output: Annotated[Path, typer.Argument(help="Where the feature files are written.")],
    backbone: Backbones = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers, each with backbones of its own.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each worker.")] = 0,
    cpus: Annotated[float, typer.Option(min=0, help="CPU cores of each worker.")] = 1,
    clip_length: Annotated[float, typer.Option(help="Seconds per clip.")] = 2.0,
) -> None:
    """Extract features of videos on the workers of a Ray cluster."""
    try:
        import ray.data
    except ImportError as error:
        raise ImportError('This needs Ray: pip install "ray[data]".') from error
    found = find_videos(videos)
    checkpoints = parse_backbones(backbone)
    settings = ExtractionSettings(clip_length=clip_length, checkpoints=checkpoints, progress=False)
    here = load_backbones(checkpoints, Processes.current().device)
    # The first group is done here: it prepares the folders, and what is wrong shows before a cluster is busy.
    first = sorted(found)[:VIDEOS_PER_GROUP]
    extract_video_features({vid: found[vid] for vid in first}, output, here, settings)
    count = number_of_groups(found)
    if count > 1:
        groups = ray.data.from_items([{"group": group} for group in range(1, count)], override_num_blocks=count - 1)
        results = groups.map(
            GroupExtractor,
            fn_constructor_args=(str(Path(videos).absolute()), str(output.absolute()), checkpoints, settings),
            concurrency=min(workers, count - 1),
            num_gpus=gpus,
            num_cpus=cpus,
        )
        with tqdm(total=len(found), initial=len(first), unit="video") as bar:
            for row in results.iter_rows():
                bar.update(row["done"])
    # Does what is still missing, checks that all is there, and names what failed.
    typer.echo(extract_video_features(found, output, here, settings))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with errors_as_lines():
        typer.run(main)
