"""`videolights convert`: the authors' released checkpoints to this package's folders, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Offline, parse_pairs
from .terminal import quiet_transformers


def _list_published(asked: bool) -> None:
    if asked:
        from videolights_hf.convert.published import published_checkpoints, published_features

        for name, entry in published_checkpoints().items():
            features = ", ".join(str(backbone) for backbone, _ in entry.config.video_backbones)
            typer.echo(f"{name:32}{features:24}{entry.page}")
        for archive in published_features():
            typer.echo(f"{archive.archive:32}{archive.size or 'size not stated':24}{archive.page}")
        raise typer.Exit


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A released .ckpt file, or the name of a checkpoint that the authors published "
            "(qvhighlights/videolights-b-pt, ...), which is fetched; with --reverse a model folder.",
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT_DIR", help="The folder to write; with --reverse the .ckpt file.")
    ],
    reverse: Annotated[
        bool, typer.Option("--reverse", help="From a model folder to a checkpoint under the release's names.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With a name: the downloaded file, if you fetched it by hand."),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH_OR_ID",
            help="Load a backbone from here instead of its default checkpoint. Repeat for several.",
        ),
    ] = None,
    video_backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WIDTH",
            help="Width of a video backbone of the checkpoint. Repeat in channel order. Only needed if the widths are not "
            "those of a published model.",
        ),
    ] = None,
    text_backbone: Annotated[
        list[str] | None, typer.Option(metavar="NAME=WIDTH", help="The same for text encoders.")
    ] = None,
    _list: Annotated[
        bool,
        typer.Option(
            "--list",
            help="List the checkpoints and features that the authors published, with their pages, and exit.",
            is_eager=True,
            callback=_list_published,
        ),
    ] = False,
    _offline: Offline = False,
) -> None:
    """Convert a released checkpoint to a model folder, or back with --reverse.

    The checkpoint is read safely: only tensors and plain values are loaded, and nothing in it is run.

    [bold]Examples[/bold]

        videolights convert qvhighlights/videolights-b-pt videolights-b-pt

        videolights convert model_best.ckpt videolights-b-qvhighlights

        videolights convert --reverse videolights-b-qvhighlights model_best.ckpt
    """
    backbones = {
        option: _parse(widths, option)
        for option, widths in (("--video-backbone", video_backbone), ("--text-backbone", text_backbone))
    }
    given = [name for name, value in backbones.items() if value is not None]
    checkpoints = parse_pairs(backbone, "--backbone", "NAME=PATH_OR_ID") or None
    given += [option for option, value in (("--backbone", checkpoints), ("--file", file)) if value]
    if reverse and given:
        raise typer.BadParameter("not with --reverse: a model folder knows its backbones", param_hint=given)

    from videolights_hf.convert.checkpoints import (
        convert_checkpoint,
        convert_published_checkpoint,
        convert_to_release,
    )
    from videolights_hf.convert.published import published_checkpoints

    is_published = not Path(source).exists() and source in published_checkpoints()
    if not is_published and file is not None:
        raise typer.BadParameter(
            f"{source!r} is not the name of a published checkpoint; known: {', '.join(published_checkpoints())}",
            param_hint="--file",
        )
    if is_published and any(backbones.values()):
        raise typer.BadParameter("not with a published checkpoint: it knows its backbones", param_hint=list(backbones))
    with quiet_transformers():
        if reverse:
            convert_to_release(source, output)
        elif is_published:
            convert_published_checkpoint(source, output, file, checkpoints)
        else:
            convert_checkpoint(
                source,
                output,
                video_backbones=backbones["--video-backbone"],
                text_backbones=backbones["--text-backbone"],
                backbone_checkpoints=checkpoints,
            )
    typer.echo(f"Wrote {output}")


def _parse(arguments: list[str] | None, option: str) -> list[list[str | int]] | None:
    widths = parse_pairs(arguments, option, "NAME=WIDTH, such as clip=512")
    for name, width in widths.items():
        if not width.isdecimal() or int(width) == 0:
            raise typer.BadParameter(f"'{name}={width}' is not NAME=WIDTH, such as clip=512", param_hint=option)
    return [[name, int(width)] for name, width in widths.items()] or None
