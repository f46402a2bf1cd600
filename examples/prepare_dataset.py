"""Gather annotation files and feature folders in the dataset that training reads.

    python examples/prepare_dataset.py data/qvh --annotations train=train.jsonl --annotations val=val.jsonl \\
        --video-features slowfast=DIR --video-features clip=DIR --text-features clip=DIR

The order of the backbones is the order of their channels. Run the same command again to continue an interrupted build.
`videolights prepare` has more options, such as Parquet files and the Hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videolights_hf.cli.options import parse_pairs, parse_splits
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.data import BuildSettings, build_feature_dataset


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the dataset to write.")],
    annotations: Annotated[list[str], typer.Option(metavar="SPLIT=FILE", help="Annotations of a split.")],
    video_features: Annotated[list[str], typer.Option(metavar="NAME=DIR", help="Features of a video backbone.")],
    text_features: Annotated[list[str], typer.Option(metavar="NAME=DIR", help="Features of a text encoder.")],
    dataset: Annotated[str, typer.Option(help="How annotations are read and labeled.")] = "qvhighlights",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that was built before.")] = False,
) -> None:
    """Build the dataset and print the size of each table."""
    tables = build_feature_dataset(
        output,
        annotations=parse_splits(annotations),
        video_folders=parse_pairs(video_features, "--video-features", "NAME=DIR"),
        text_folders=parse_pairs(text_features, "--text-features", "NAME=DIR"),
        dataset=dataset,
        settings=BuildSettings(overwrite=overwrite),
    )
    for name, table in tables.items():
        print(f"{name}: {len(table)}")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
