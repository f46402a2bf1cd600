"""The model that a command finds moments with: its options, and how it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import parse_pairs
from .zero_shot import ZERO_SHOT, load_zero_shot

if TYPE_CHECKING:
    from videolights_hf.inference.pipeline import VideoMomentRetrievalPipeline

DEMO = "demo"

FinderDtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(
        "--dtype", help="Type that models compute in. auto: the model as saved, the feature backbones in float32."
    ),
]
FinderModel = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="PATH_OR_ID",
        help="A model folder or Hub id; zero-shot (similarity by CLIP, untrained); or demo (the bundled model of a "
        "made-up world).",
    ),
]
FinderBackbones = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone",
        metavar="NAME=PATH_OR_ID",
        help="Load a backbone of the model from here, in place of the one that it names. Repeat for several. With "
        "zero-shot: the CLIP-like model to compare by. Default: openai/clip-vit-base-patch32.",
        show_default=False,
    ),
]


def load_finder(
    model: str, backbone: list[str] | None, device: str | None, dtype: str
) -> VideoMomentRetrievalPipeline:
    """The pipeline of a model that a user named.

    Raises:
        typer.BadParameter: `--backbone` is malformed.
        OSError: There is no such model.
        ValueError: It is damaged, of another kind, or cannot run on the device.
    """
    import torch

    from videolights_hf.demo.bundled import demo_checkpoint
    from videolights_hf.deploy.runner import load_pipeline

    chosen = None if dtype == "auto" else getattr(torch, dtype)
    if model == ZERO_SHOT:
        return load_zero_shot(backbone, device, chosen)
    path = str(demo_checkpoint()) if model == DEMO else model
    if not Path(path).is_dir() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise FileNotFoundError(f"No such model folder: {path}")
    checkpoints = parse_pairs(backbone, "--backbone", "NAME=PATH_OR_ID")
    return load_pipeline(path, device=device, dtype=chosen, backbone_checkpoints=checkpoints)
