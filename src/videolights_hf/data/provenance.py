"""Which checkpoints computed the features of a dataset, so that a model trained on them can run on raw videos."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

BACKBONES_FILE = "backbones.json"


def write_backbone_checkpoints(dataset_dir: str | os.PathLike, checkpoints: Mapping[str, str]) -> None:
    """Note in a feature dataset's folder where its backbones came from.

    Args:
        dataset_dir: The folder.
        checkpoints: Backbone name to Hub id, or to a folder, which is noted by its absolute path.
    """
    noted = {name: os.path.abspath(path) if os.path.isdir(path) else path for name, path in checkpoints.items()}
    path = Path(dataset_dir, BACKBONES_FILE)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


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
    if not path.is_file():
        return {}
    try:
        checkpoints = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}). Remove it, or build the dataset again.") from error
    if not isinstance(checkpoints, dict) or not all(isinstance(value, str) for value in checkpoints.values()):
        raise ValueError(f"{path} does not say which checkpoint each backbone came from. Remove it.")
    return checkpoints
