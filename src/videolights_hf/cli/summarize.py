"""`videolights summarize`: a video cut down to its best seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .finder import FinderBackbones, FinderDtype, FinderModel, load_finder
from .options import BackboneModules, Device, Offline
from .terminal import quiet_transformers
from .zero_shot import ZERO_SHOT


def summarize(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="The video file; - is standard input.")],
    sentence: Annotated[
        str | None, typer.Argument(metavar="[SENTENCE]", help="What the summary is of. Default: highlights.")
    ] = None,
    length: Annotated[float, typer.Option(help="Seconds of the summary, at most.")] = 30.0,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="OUT.mp4", help="Default: VIDEO's name with -summary.", show_default=False),
    ] = None,
    model: FinderModel = ZERO_SHOT,
    backbone: FinderBackbones = None,
    device: Device = None,
    _backbone_module: BackboneModules = None,
    _offline: Offline = False,
    dtype: FinderDtype = "auto",
) -> None:
    """Cut a video down to the seconds of the highest saliency, in their order and with sound.

    [bold]Example[/bold]

        videolights summarize trip.mp4 --length 30 --output short.mp4
    """
    from videolights_hf.common.times import format_time
    from videolights_hf.inference.generic import GENERIC_QUERIES, choose_summary, combine_generic
    from videolights_hf.video.excerpts import write_reel
    from videolights_hf.video.files import STANDARD_INPUT, stored_video

    from .asked import check_sentences

    if not length > 0:
        raise typer.BadParameter("a summary needs a positive number of seconds", param_hint="--length")
    check_sentences([] if sentence is None else [sentence])
    stem = "standard-input" if video in STANDARD_INPUT else Path(video).stem
    output = Path(f"{stem}-summary.mp4") if output is None else output
    output.parent.mkdir(parents=True, exist_ok=True)
    with stored_video(video) as stored, quiet_transformers():
        finder = load_finder(model, backbone, device, dtype)
        if sentence is None:
            result = combine_generic(finder(stored, list(GENERIC_QUERIES)))
        else:
            result = finder(stored, sentence)
        pieces = choose_summary(result, length)
        write_reel(stored, pieces, output)
    for start, end in pieces:
        typer.echo(f"{format_time(start, decimals=1)} to {format_time(end, decimals=1)}")
    typer.echo(f"Wrote {output}")
