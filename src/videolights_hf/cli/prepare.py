"""`videolights prepare`: annotation files and feature folders to a feature dataset, on disk and on the Hub."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import ClipLength, parse_pairs, parse_splits
from .terminal import no_dataset_bars_in_logs


def prepare(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder of the dataset to write.")],
    annotations: Annotated[
        list[str], typer.Option(metavar="SPLIT=FILE", help="Annotations of a split. Repeat for several.")
    ],
    video_features: Annotated[
        list[str],
        typer.Option(metavar="NAME=DIR", help="Features of a video backbone. Repeat in channel order."),
    ],
    text_features: Annotated[
        list[str], typer.Option(metavar="NAME=DIR", help="Features of a text encoder. Repeat in channel order.")
    ],
    audio_features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Audio features, one file per video.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="How annotations are read and labeled; see docs/data.md.")
    ] = "qvhighlights",
    clip_length: ClipLength = None,
    length_tolerance: Annotated[
        int, typer.Option(min=0, help="Clips by which features may be shorter or longer than the annotation.")
    ] = 2,
    num_proc: Annotated[int, typer.Option(min=1, help="Processes that read in parallel.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a feature file cannot be used.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that was built before.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write Parquet files, for streaming.")
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="REPO_ID", help="Also upload to this dataset repository.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the uploaded repository private.")] = False,
    data_license: Annotated[
        str | None,
        typer.Option("--license", metavar="ID", help="License of the data, as the Hub names it, for the card."),
    ] = None,
) -> None:
    """Gather annotations and features in the dataset that training reads.

    Run the same command again to continue an interrupted build.

    [bold]Example[/bold]

        videolights prepare data/qvh --annotations train=train.jsonl --annotations val=val.jsonl
        --video-features slowfast=DIR --video-features clip=DIR --text-features clip=DIR
    """
    from videolights_hf.data import (
        BuildSettings,
        build_feature_dataset,
        export_parquet,
        get_dataset_spec,
        push_feature_dataset,
        read_backbone_checkpoints,
    )
    from videolights_hf.data.report import REPORT_FILE

    if private and push_to_hub is None:
        raise typer.BadParameter("only an uploaded dataset can be private: give --push-to-hub", param_hint="--private")
    spec = get_dataset_spec(dataset)
    if clip_length is not None:
        spec = dataclasses.replace(spec, clip_length=clip_length)
    with no_dataset_bars_in_logs():
        tables = build_feature_dataset(
            output,
            annotations=parse_splits(annotations),
            video_folders=parse_pairs(video_features, "--video-features", "NAME=DIR"),
            text_folders=parse_pairs(text_features, "--text-features", "NAME=DIR"),
            audio_folder=audio_features,
            dataset=spec,
            settings=BuildSettings(
                strict=strict,
                num_proc=num_proc,
                length_tolerance=length_tolerance,
                overwrite=overwrite,
                progress=sys.stderr.isatty(),
            ),
        )
        known = read_backbone_checkpoints(output)
        if parquet is not None:
            export_parquet(tables, parquet, backbone_checkpoints=known, data_license=data_license)
        if push_to_hub is not None:
            push_feature_dataset(
                tables, push_to_hub, backbone_checkpoints=known, data_license=data_license, private=private or None
            )
    report = json.loads((output / REPORT_FILE).read_text(encoding="utf-8"))
    _print_report(report)
    if report["problems"]:
        typer.echo(f"{len(report['problems'])} feature files cannot be used; {output / REPORT_FILE} names them.")
    typer.echo(f"Wrote {output}")


def _print_report(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("table", "annotated", "written")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in {"videos": report["videos"], **report["queries"]}.items():
        table.add_row(name, str(counts["annotated"]), str(counts["written"]))
    Console().print(table)
