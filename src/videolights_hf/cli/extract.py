"""`videolights extract`: features of many videos, as published feature files or as a dataset to train on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import (
    BackboneModules,
    Backbones,
    ClipLength,
    ComputeDtype,
    DatasetName,
    Decoders,
    Device,
    Dtype,
    Offline,
    parse_backbones,
    parse_pairs,
)
from .terminal import no_dataset_bars_in_logs, print_line, quiet_transformers

if TYPE_CHECKING:
    from videolights_hf.backbones.base import FeatureBackbone
    from videolights_hf.common.processes import Processes
    from videolights_hf.extraction import ExtractionSummary

_LISTED_FAILURES = 10


StoredDtype = Literal["float16", "float32"]


def extract(
    videos: Annotated[
        str,
        typer.Argument(
            metavar="VIDEOS",
            help="A folder (searched with its subfolders), a quoted pattern such as 'videos/*.mp4', or a text file "
            "with one path per line.",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for the features.")],
    backbone: Backbones = None,
    _backbone_module: BackboneModules = None,
    _offline: Offline = False,
    annotations: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SPLIT=]FILE",
            help="Annotation file: use its videos only, and take {id}_{start}_{end} from the longer video {id}. Repeat "
            "for several.",
        ),
    ] = None,
    dataset_output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also encode the queries, and write the dataset that training reads to this folder."
        ),
    ] = None,
    dataset: DatasetName = "custom",
    audio_features: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Audio features for the dataset, one file per video."),
    ] = None,
    clip_length: ClipLength = None,
    dtype: Dtype = "float32",
    stored_dtype: Annotated[StoredDtype, typer.Option(help="Type of the feature files.")] = "float16",
    device: Device = None,
    backbone_batch_size: Annotated[
        list[str] | None, typer.Option(metavar="NAME=CLIPS", help="Clips per batch of a backbone. Repeat for several.")
    ] = None,
    decoders: Decoders = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that was built before.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if any video or query has no features.")] = False,
) -> None:
    """Extract the features of videos, for training and evaluation.

    Run the same command again to continue where it stopped and to retry failed videos. For several GPUs: accelerate
    launch -m videolights_hf extract ...

    [bold]Examples[/bold]

        videolights extract videos/ features/ --backbone clip --backbone blip2

        videolights extract videos/ features/ --annotations train=train.jsonl --dataset-output data/mine
    """
    from videolights_hf.common.processes import Processes
    from videolights_hf.data import get_dataset_spec, read_annotations
    from videolights_hf.extraction import (
        DatasetTarget,
        ExtractionSettings,
        extract_feature_dataset,
        extract_video_features,
        find_videos,
    )

    if audio_features is not None and dataset_output is None:
        raise typer.BadParameter("they go into a dataset: give --dataset-output", param_hint="--audio-features")
    files = _annotation_files(annotations or [], dataset_output)
    spec = get_dataset_spec(dataset)
    seconds = spec.clip_length if clip_length is None else clip_length
    if not seconds > 0:
        raise typer.BadParameter(f"must be positive, got {seconds:g}", param_hint="--clip-length")
    spec = dataclasses.replace(spec, clip_length=float(seconds))
    vids = None
    if files:
        vids = {row["vid"] for path in files.values() for row in read_annotations(path, spec)}
    found = find_videos(videos, vids)
    processes = Processes.current(device)
    with quiet_transformers():
        origins = parse_backbones(backbone)
        loaded = _load(origins, backbone_batch_size, dtype, processes)
    settings = ExtractionSettings(
        clip_length=spec.clip_length,
        dtype=stored_dtype,
        checkpoints=origins,
        num_threads=decoders,
        processes=processes,
    )
    if dataset_output is None:
        missing = (vids or set()) - found.keys()
        summary = extract_video_features(found, output, loaded, settings, missing=missing)
    else:
        target = DatasetTarget(dataset_output, files, spec, audio_features, strict, overwrite)
        with no_dataset_bars_in_logs():
            tables, summary = extract_feature_dataset(target, found, output, loaded, settings)
        if tables is not None:
            counts = ", ".join(f"{len(table)} {name}" for name, table in tables.items())
            typer.echo(f"Wrote {dataset_output}: {counts}")
    if processes.is_main:
        _report(summary, output)
    if summary.failed and (strict or not summary.done + summary.skipped):
        raise typer.Exit(1)


def _annotation_files(arguments: list[str], dataset_output: Path | None) -> dict[str, str]:
    files: dict[str, str] = {}
    for argument in arguments:
        split, separator, path = argument.partition("=")
        if not separator or Path(argument).is_file():
            if dataset_output is not None:
                raise typer.BadParameter(
                    f"{argument} has no split: write train={argument}", param_hint="--annotations"
                )
            split, path = argument, argument
        if split in files:
            raise typer.BadParameter(f"{split!r} is given twice", param_hint="--annotations")
        files[split] = path
    if dataset_output is not None and not files:
        raise typer.BadParameter("a dataset needs --annotations", param_hint="--dataset-output")
    return files


def _load(
    checkpoints: dict[str, str], batch_sizes: list[str] | None, dtype: ComputeDtype, processes: Processes
) -> list[FeatureBackbone]:
    import torch

    from videolights_hf.backbones import load_backbones

    sizes = parse_pairs(batch_sizes, "--backbone-batch-size", "NAME=CLIPS")
    for name, size in sizes.items():
        if name not in checkpoints or not size.isdecimal() or int(size) < 1:
            raise typer.BadParameter(
                f"{name}={size} is not a number of clips for one of {', '.join(checkpoints)}",
                param_hint="--backbone-batch-size",
            )
    loaded = load_backbones(checkpoints, processes.device, getattr(torch, dtype))
    for backbone in loaded:
        backbone.batch_size = int(sizes.get(backbone.name, backbone.batch_size))
    return loaded


def _report(summary: ExtractionSummary, output: Path) -> None:
    for failure in summary.failed[:_LISTED_FAILURES]:
        print_line("Failed", f"{failure.vid}: {failure.error}", typer.colors.YELLOW)
    more = len(summary.failed) - _LISTED_FAILURES
    if more > 0:
        print_line("Failed", f"... and {more} more", typer.colors.YELLOW)
    typer.echo(f"{output}: {summary}")
