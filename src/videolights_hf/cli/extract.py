"""`videolights extract`: features of a corpus of videos, as published feature files or as a dataset to train on."""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import no_progress_bars_in_logs, print_line

if TYPE_CHECKING:
    from videolights_hf.backbones.base import FeatureBackbone
    from videolights_hf.common.processes import Processes
    from videolights_hf.extraction import ExtractionSummary

_LISTED_FAILURES = 10


class StoredDtype(str, Enum):
    """Floating-point types of feature files."""

    float16 = "float16"
    float32 = "float32"


class ComputeDtype(str, Enum):
    """Floating-point types that backbones compute in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def extract(
    videos: Annotated[
        str,
        typer.Argument(
            metavar="VIDEOS",
            help="A folder (searched with its sub-folders), a quoted pattern such as 'videos/*.mp4', or a text file "
            "with a path a line.",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Where the features are written.")],
    backbones: Annotated[
        str,
        typer.Option(metavar="NAME,NAME", help="Backbones, in the order of the channels: of clip, blip2, slowfast."),
    ] = "clip",
    checkpoints: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH_OR_ID",
            help="Folder or Hub id of a backbone; by default the public one. Repeat for several.",
        ),
    ] = None,
    annotations: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SPLIT=]FILE",
            help="Annotation file: take its videos only, and cut {id}_{start}_{end} from longer ones. Repeat for "
            "several.",
        ),
    ] = None,
    dataset_output: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Also encode the queries, and write the dataset that training reads to this folder."
        ),
    ] = None,
    dataset: Annotated[str, typer.Option(help="How annotations are read and labeled: see docs/data.md.")] = "custom",
    audio_features: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Precomputed audio features, one file a video, to go into the dataset."),
    ] = None,
    clip_length: Annotated[
        float | None, typer.Option(help="Seconds a clip; by default the dataset's.", show_default=False)
    ] = None,
    dtype: Annotated[StoredDtype, typer.Option(help="Type of the stored features.")] = StoredDtype.float16,
    compute_dtype: Annotated[
        ComputeDtype, typer.Option(help="Type that the backbones compute in; half precision is for GPUs.")
    ] = ComputeDtype.float32,
    device: Annotated[
        str | None, typer.Option(help="Where to run: cpu, cuda, cuda:1 ... By default the first accelerator there is.")
    ] = None,
    batch_sizes: Annotated[
        list[str] | None,
        typer.Option("--batch-size", metavar="NAME=CLIPS", help="Clips in a batch of a backbone. Repeat for several."),
    ] = None,
    decoders: Annotated[
        int | None,
        typer.Option(min=1, help="Videos decoded at the same time; by default up to 4.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that was built before.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with an error if anything has no features.")] = False,
) -> None:
    """Extract the features of videos, for training and evaluation.

    Repeating the command goes on where it stopped, and tries again what failed. Several GPUs share the work when it is
    started by accelerate launch -m videolights_hf.

    [bold]Examples[/bold]

        videolights extract videos/ features/ --backbones clip,blip2

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
        raise typer.BadParameter("these go into a dataset: give --dataset-output", param_hint="--audio-features")
    files = _annotation_files(annotations or [], dataset_output)
    spec = get_dataset_spec(dataset)
    seconds = spec.clip_length if clip_length is None else clip_length
    if not seconds > 0:
        raise typer.BadParameter(f"a clip has a positive length, got {seconds:g}", param_hint="--clip-length")
    spec = dataclasses.replace(spec, clip_length=float(seconds))
    vids = None
    if files:
        vids = {row["vid"] for path in files.values() for row in read_annotations(path, spec)}
    found = find_videos(videos, vids)
    processes = Processes.current(device)
    with no_progress_bars_in_logs():
        origins, loaded = _load(backbones, checkpoints or [], batch_sizes or [], compute_dtype, processes)
    settings = ExtractionSettings(
        clip_length=spec.clip_length,
        dtype=dtype.value,
        checkpoints=origins,
        num_threads=decoders,
        processes=processes,
    )
    if dataset_output is None:
        missing = (vids or set()) - found.keys()
        summary = extract_video_features(found, output, loaded, settings, missing=missing)
    else:
        target = DatasetTarget(dataset_output, files, spec, audio_features, strict, overwrite)
        tables, summary = extract_feature_dataset(target, found, output, loaded, settings)
        if tables is not None:
            counts = ", ".join(f"{len(table)} {name}" for name, table in tables.items())
            typer.echo(f"Wrote {dataset_output}: {counts}")
    if processes.is_main:
        _report(summary, output)
    if summary.failed and (strict or not summary.done + summary.skipped):
        raise typer.Exit(1)


def _annotation_files(arguments: list[str], dataset_output: Path | None) -> dict[str, str]:
    files = {}
    for argument in arguments:
        split, separator, path = argument.partition("=")
        if not separator or Path(argument).is_file():
            if dataset_output is not None:
                raise typer.BadParameter(
                    f"{argument}: name its split, as in train={argument}", param_hint="--annotations"
                )
            split, path = argument, argument
        if split in files:
            raise typer.BadParameter(f"{split!r} is given twice", param_hint="--annotations")
        files[split] = path
    if dataset_output is not None and not files:
        raise typer.BadParameter("a dataset needs --annotations", param_hint="--dataset-output")
    return files


def _load(
    names: str, checkpoints: list[str], batch_sizes: list[str], compute_dtype: ComputeDtype, processes: Processes
) -> tuple[dict[str, str], list[FeatureBackbone]]:
    import torch

    from videolights_hf.backbones import complete_checkpoints, load_backbones

    listed = [name.strip() for name in names.split(",") if name.strip()]
    sizes = _named(batch_sizes, "--batch-size", "NAME=CLIPS")
    unused = sizes.keys() - set(listed)
    if unused or not all(size.isdecimal() and int(size) > 0 for size in sizes.values()):
        raise typer.BadParameter(
            f"{', '.join(batch_sizes)}: a number of clips for one of {', '.join(listed)}", param_hint="--batch-size"
        )
    origins = complete_checkpoints(listed, _named(checkpoints, "--checkpoints", "NAME=PATH_OR_ID"))
    loaded = load_backbones(origins, processes.device, getattr(torch, compute_dtype.value))
    for backbone in loaded:
        backbone.batch_size = int(sizes.get(backbone.name, backbone.batch_size))
    return origins, loaded


def _named(arguments: list[str], option: str, form: str) -> dict[str, str]:
    pairs = [argument.partition("=") for argument in arguments]
    if not all(name and value for name, _, value in pairs):
        raise typer.BadParameter(f"{', '.join(arguments)}: write {form}", param_hint=option)
    return {name: value for name, _, value in pairs}


def _report(summary: ExtractionSummary, output: Path) -> None:
    for failure in summary.failed[:_LISTED_FAILURES]:
        print_line("Failed", f"{failure.vid}: {failure.error}", typer.colors.YELLOW)
    more = len(summary.failed) - _LISTED_FAILURES
    if more > 0:
        print_line("Failed", f"... and {more} more", typer.colors.YELLOW)
    typer.echo(f"{output}: {summary}")
