"""`--model zero-shot`: the untrained detector, with notes on what it downloads and on the alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import torch

    from videolights_hf.inference.pipeline import VideoMomentRetrievalPipeline

ZERO_SHOT = "zero-shot"
WHAT_IT_IS = (
    "zero-shot: the similarity of each clip's picture and the sentence. It was not trained to find moments; a trained "
    "model (--model DIR or OWNER/NAME) does better."
)
WHAT_ELSE = (
    "Without it there are --model demo (bundled; a made-up world of colored shapes), --model zero-shot "
    "--backbone clip=PATH (a folder with a CLIP-like model), and models that `videolights convert` makes of released "
    "checkpoints."
)
# What is downloaded for it, by Hub id.
_SIZES = {"openai/clip-vit-base-patch32": "600 MB"}


def load_zero_shot(
    backbones: Sequence[str] | None, device: str | None, dtype: torch.dtype | None
) -> VideoMomentRetrievalPipeline:
    """The zero-shot pipeline, on the model that `--backbone` names; says on standard error what it is.

    Raises:
        OSError: The model is not there and cannot be downloaded.
        ValueError: It is not a CLIP-like model.
    """
    from videolights_hf.backbones.similarity import SimilarityBackbone
    from videolights_hf.inference.zero_shot import zero_shot_pipeline

    if len(backbones or ()) > 1:
        raise typer.BadParameter("zero-shot compares by one model: name one backbone.", param_hint="--backbone")
    named = backbones[0].partition("=")[2] or backbones[0] if backbones else ""
    checkpoint = named if named not in ("", "clip", SimilarityBackbone.name) else SimilarityBackbone.default_checkpoint
    typer.echo(WHAT_IT_IS, err=True)
    if not Path(checkpoint).is_dir() and not _is_cached(checkpoint):
        size = f" ({_SIZES[checkpoint]})" if checkpoint in _SIZES else ""
        typer.echo(f"Downloading {checkpoint}{size} from the Hub, once.", err=True)
    try:
        return zero_shot_pipeline(checkpoint, device=device, dtype=dtype)
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise OSError(f"{reason} {WHAT_ELSE}") from error


def _is_cached(hub_id: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        files = [try_to_load_from_cache(hub_id, name) for name in ("model.safetensors", "pytorch_model.bin")]
    except HFValidationError:
        # Not an id: loading says so.
        return True
    return any(isinstance(file, str) for file in files)
