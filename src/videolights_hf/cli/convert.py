"""`videolights convert`: the authors' released checkpoints to this package's folders, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import parse_pairs
from .terminal import no_progress_bars_in_logs


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A released .ckpt file; with --reverse a model folder.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT_DIR", help="The folder to write; with --reverse the .ckpt file.")
    ],
    reverse: Annotated[
        bool, typer.Option("--reverse", help="From a model folder to a checkpoint under the release's names.")
    ] = False,
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
) -> None:
    """Convert a released checkpoint to a model folder, or back with --reverse.

    The checkpoint is read safely: only tensors and plain values are loaded, and nothing in it is run.

    [bold]Examples[/bold]

        videolights convert model_best.ckpt videolights-b-qvhighlights

        videolights convert --reverse videolights-b-qvhighlights model_best.ckpt
    """
    backbones = {
        option: _parse(widths, option)
        for option, widths in (("--video-backbone", video_backbone), ("--text-backbone", text_backbone))
    }
    given = [name for name, value in backbones.items() if value is not None]
    if reverse and given:
        raise typer.BadParameter("not with --reverse: a model folder knows its backbones", param_hint=given)

    from videolights_hf.convert.checkpoints import convert_checkpoint, convert_to_release

    with no_progress_bars_in_logs():
        if reverse:
            convert_to_release(source, output)
        else:
            convert_checkpoint(source, output, *backbones.values())
    typer.echo(f"Wrote {output}")


def _parse(arguments: list[str] | None, option: str) -> list[list[str | int]] | None:
    widths = parse_pairs(arguments, option, "NAME=WIDTH, such as clip=512")
    for name, width in widths.items():
        if not width.isdecimal() or int(width) == 0:
            raise typer.BadParameter(f"'{name}={width}' is not NAME=WIDTH, such as clip=512", param_hint=option)
    return [[name, int(width)] for name, width in widths.items()] or None
