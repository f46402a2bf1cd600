"""`videolights generate`: videos without labels to a pretraining corpus and the dataset that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .options import (
    BackboneModules,
    Backbones,
    ClipLength,
    DatasetName,
    Decoders,
    Device,
    Dtype,
    Exclude,
    Offline,
    parse_backbones,
    parse_pairs,
    parse_splits,
)
from .terminal import no_dataset_bars_in_logs, quiet_transformers


def generate(
    videos: Annotated[
        str,
        typer.Argument(
            metavar="VIDEOS",
            help="A folder (searched with its subfolders), a quoted pattern such as 'videos/*.mp4', or a text file "
            "with one path per line.",
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Folder for the corpus, the features and the dataset.")
    ],
    annotations: Annotated[
        list[str] | None,
        typer.Option(metavar="SPLIT=FILE", help="Annotations of a split, for the same dataset. Repeat for several."),
    ] = None,
    exclude: Exclude = None,
    dataset: DatasetName = "custom",
    clip_length: ClipLength = None,
    form: Annotated[
        Literal["release", "paper"], typer.Option(help="How captions are made and scored; see docs/pretraining.md.")
    ] = "release",
    captioner: Annotated[
        str | None, typer.Option(metavar="PATH_OR_ID", help="Model that captions. Default: the form's.")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(metavar="PATH_OR_ID", help="Model that scores. Default: the form's.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Text that captions continue; for a chat model, the question.")
    ] = None,
    generation: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Argument of transformers' generate. Repeat for several."),
    ] = None,
    interval_length: Annotated[float, typer.Option(help="Seconds between captions.")] = 10.0,
    max_duration: Annotated[
        float | None,
        typer.Option(help="Skip longer videos, in seconds; inf skips none. Default: the form's.", show_default=False),
    ] = None,
    caption_frame_size: Annotated[
        int | None, typer.Option(help="Shorter side of captioned frames. Default: the form's.", show_default=False)
    ] = None,
    clip_frame_size: Annotated[int, typer.Option(help="Side of scored frames, in pixels.")] = 224,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep captions that an earlier interval of the video has too.")
    ] = False,
    keep_last_clip: Annotated[
        bool,
        typer.Option("--keep-last-clip", help="Keep a video's last clip in its last interval, as the paper does."),
    ] = False,
    labels: Annotated[
        Literal["window", "scores"],
        typer.Option(
            help="Saliency that a model learns: 1 inside a caption's interval, or the scores, as in the paper."
        ),
    ] = "window",
    batch_size: Annotated[int, typer.Option(help="Frames captioned or scored at once.")] = 32,
    captions_only: Annotated[bool, typer.Option("--captions-only", help="Stop when the corpus is written.")] = False,
    backbone: Backbones = None,
    _backbone_module: BackboneModules = None,
    _offline: Offline = False,
    dtype: Dtype = "float32",
    device: Device = None,
    decoders: Decoders = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset built from another corpus.")
    ] = False,
) -> None:
    """Caption videos for pretraining, and gather their features in a dataset.

    Videos of the annotated splits other than train, and those of --exclude, are not captioned. Run the same command again
    to continue where it stopped. For several GPUs: accelerate launch -m videolights_hf generate ...

    [bold]Example[/bold]

        videolights generate videos/ data/qvh --dataset qvhighlights --annotations train=train.jsonl --annotations
        val=val.jsonl --exclude test.jsonl --backbone slowfast=slowfast_8x8_r50 --backbone clip
    """
    import torch

    from videolights_hf.common.processes import Processes
    from videolights_hf.corpus import CorpusModels, CorpusSettings, PretrainingSources, generate_pretraining_data
    from videolights_hf.extraction import ExtractionSettings

    sources = PretrainingSources(videos, parse_splits(annotations), exclude or (), dataset)
    corpus = CorpusSettings(
        form,
        interval_length,
        caption_frame_size,
        clip_frame_size,
        max_duration,
        keep_duplicates=keep_duplicates,
        keep_last_clip=keep_last_clip or None,
        labels=labels,
    )
    models = CorpusModels(
        captioner, scorer, prompt, _generation_arguments(generation), batch_size, getattr(torch, dtype)
    )
    settings = ExtractionSettings(
        clip_length=clip_length,
        checkpoints={} if captions_only else parse_backbones(backbone),
        num_threads=decoders,
        processes=Processes.current(device),
    )
    with quiet_transformers(), no_dataset_bars_in_logs():
        generate_pretraining_data(sources, output, corpus, models, settings, overwrite=overwrite, report=typer.echo)


def _generation_arguments(arguments: list[str] | None) -> dict[str, Any]:
    """Arguments of `generate`, with their values read as YAML."""
    import yaml

    pairs = parse_pairs(arguments, "--generation", "NAME=VALUE, such as num_beams=3")
    try:
        return {name: yaml.safe_load(value) for name, value in pairs.items()}
    except yaml.YAMLError as error:
        raise typer.BadParameter(f"a value is not YAML: {error}", param_hint="--generation") from error
