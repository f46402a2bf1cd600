"""Which checkpoints computed the features of a dataset, so that a model trained on them can run on raw videos."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..common.files import read_json_object, write_json

BACKBONES_FILE = "backbones.json"


def write_backbone_checkpoints(dataset_dir: str | os.PathLike, checkpoints: Mapping[str, str]) -> None:
    """Note in a feature dataset's folder where its backbones came from.

    Args:
        dataset_dir: The folder.
        checkpoints: Backbone name to Hub id, or to a folder, which is noted by its absolute path.
    """
    noted = {name: os.path.abspath(path) if os.path.isdir(path) else path for name, path in checkpoints.items()}
    write_json(Path(dataset_dir, BACKBONES_FILE), noted)


def read_backbone_checkpoints(dataset_dir: str | os.PathLike) -> dict[str, str]:
    """Where the backbones of a feature dataset came from, as far as that is noted.

    Args:
        dataset_dir: Folder of a feature dataset; anything else, such as a dataset on the Hub, has no notes.

    Returns:
        Backbone name to folder or Hub id; empty without notes, as of features that were published as files.

    Raises:
        ValueError: The notes are damaged.
    """
    path = Path(dataset_dir, BACKBONES_FILE)
    checkpoints = (read_json_object(path) if path.is_file() else None) or {}
    if not all(isinstance(value, str) for value in checkpoints.values()):
        raise ValueError(f"{path} does not say which checkpoint each backbone came from. Remove it.")
    return checkpoints
