"""`videolights export`: a model folder to graphs of ONNX Runtime or `torch.export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import BackboneModules, Offline
from .terminal import quiet_transformers


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model folder, its id on the Hub, or demo: the bundled model.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the graphs.")],
    format: Annotated[
        Literal["onnx", "torch"], typer.Option(help="ONNX, or PyTorch's own graphs (torch.export).")
    ] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Round the weights of the ONNX graphs to eight bits (dynamic quantization).")
    ] = False,
    _backbone_module: BackboneModules = None,
    _offline: Offline = False,
) -> None:
    """Write a trained detector and its backbones as graphs, and compare each with PyTorch.

    The folder runs wherever a model folder does: `videolights predict --model OUT`, `videolights serve OUT`.

    [bold]Example[/bold]

        videolights export runs/qvh-b runs/qvh-b-onnx
    """
    from videolights_hf.demo.bundled import demo_checkpoint
    from videolights_hf.deploy.export import export_model

    with quiet_transformers():
        exported = export_model(demo_checkpoint() if model == "demo" else model, folder, format, int8)
    for name, file in exported.graphs.items():
        typer.echo(f"{file}: largest difference of {name} from PyTorch {exported.differences[name]:.1e}")
    for name in exported.left_in_torch:
        typer.echo(f"backbones/{name}: left as it is; it runs in PyTorch.")
    typer.echo(f"Wrote {exported.folder}")
