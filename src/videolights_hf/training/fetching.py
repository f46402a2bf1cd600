"""Trained models that are evaluated: folders of this machine, or repositories on the Hub."""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

_NEEDED = ("*config.json", "*.safetensors", "*.safetensors.index.json", "*recipe.yaml", "*training_record.json")
# Evaluation reads features, and computes none.
_NOT_NEEDED = ("backbones/*", "*/backbones/*", "last-checkpoint/*", "checkpoint-*")


def local_checkpoint(checkpoint: str | os.PathLike[str]) -> Path:
    """The folder of a trained model, or of a model for each domain; what is on the Hub is downloaded to the cache.

    Args:
        checkpoint: Folder or Hub id.

    Raises:
        FileNotFoundError: There is no such folder and no such repository, or it cannot be reached.
    """
    name = os.fspath(checkpoint)
    if os.path.isdir(name):
        return Path(name)
    if os.path.isabs(name) or name.startswith((".", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"There is no folder {name}.")
    try:
        return Path(snapshot_download(name, allow_patterns=[*_NEEDED], ignore_patterns=[*_NOT_NEEDED]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(f"There is no folder {name}, and it cannot be had from the Hub: {reason}") from error


__all__ = ["local_checkpoint"]
