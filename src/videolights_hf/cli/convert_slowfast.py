"""`videolights convert-slowfast`: the public SlowFast weights to a backbone folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .terminal import quiet_transformers


def convert_slowfast(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS", help="SLOWFAST_8x8_R50.pkl (Caffe2) or SLOWFAST_8x8_R50.pyth (pytorchvideo)."
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT_DIR", help="The folder to write.")],
    frame_sampling: Annotated[
        Literal["30fps", "even"],
        typer.Option(
            help="Which frames of a clip the backbone looks at: 30fps, as the published features were made, or even, "
            "spread evenly over the clip."
        ),
    ] = "30fps",
) -> None:
    """Convert the public weights of SlowFast 8x8 R50 to a backbone folder.

    The file is read safely: only arrays and plain values are loaded, and nothing in it is run. The classifier is left
    out.

    [bold]Example[/bold]

        videolights convert-slowfast SLOWFAST_8x8_R50.pkl slowfast-8x8-r50
    """
    from videolights_hf.backbones.slowfast_configuration import VideoLightsSlowFastConfig
    from videolights_hf.backbones.slowfast_weights import convert_slowfast_checkpoint

    with quiet_transformers():
        config = VideoLightsSlowFastConfig(frame_sampling=frame_sampling)
        left_out = convert_slowfast_checkpoint(source, output, config)
    if left_out:
        typer.echo(f"Left out {len(left_out)} tensors that the backbone does not use: {', '.join(left_out)}")
    typer.echo(f"Wrote {output}")
