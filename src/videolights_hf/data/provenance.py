"""Which checkpoints computed the features of a dataset, so that a model trained on them can run on raw videos."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from ..common.files import read_json_object, write_json

BACKBONES_FILE = "backbones.json"
# What `videolights extract` notes in a folder of features.
EXTRACTION_FILE = "extraction.json"


def write_backbone_checkpoints(dataset_dir: str | os.PathLike, checkpoints: Mapping[str, str]) -> None:
    """Note in a feature dataset's folder where its backbones came from.

    Args:
        dataset_dir: The folder.
        checkpoints: Backbone name to Hub id, or to a folder, which is noted by its absolute path.
    """
    noted = {name: os.path.abspath(path) if os.path.isdir(path) else path for name, path in checkpoints.items()}
    write_json(Path(dataset_dir, BACKBONES_FILE), noted)


def extracted_checkpoints(folders: Mapping[str, str | os.PathLike]) -> dict[str, str]:
    """Which checkpoints computed the features of folders that `videolights extract` wrote.

    Args:
        folders: Backbone name to folder of its features.

    Returns:
        Backbone name to folder or Hub id; without those that note none, as folders of published features.

    Raises:
        ValueError: Notes are damaged.
    """
    notes = {name: read_json_object(Path(folder, EXTRACTION_FILE)) or {} for name, folder in folders.items()}
    return {name: noted["checkpoint"] for name, noted in notes.items() if isinstance(noted.get("checkpoint"), str)}


def read_backbone_checkpoints(dataset: str | os.PathLike, **hub: Any) -> dict[str, str]:
    """Where the backbones of a feature dataset came from, as far as that is noted.

    Args:
        dataset: Folder of a feature dataset, or the id of a dataset repository on the Hub.
        **hub: Passed to `hf_hub_download` (`revision`, `token`, ...).

    Returns:
        Backbone name to folder or Hub id; empty without notes, as of features that were published as files. Notes that
        come from the Hub name Hub ids alone.

    Raises:
        ValueError: The notes are damaged.
    """
    path = Path(dataset, BACKBONES_FILE)
    is_local = Path(dataset).is_dir()
    if not is_local:
        if not is_hub_id(os.fspath(dataset)):
            return {}
        try:
            path = Path(hf_hub_download(os.fspath(dataset), BACKBONES_FILE, repo_type="dataset", **hub))
        except (EntryNotFoundError, RepositoryNotFoundError, LocalEntryNotFoundError):
            return {}
    checkpoints = (read_json_object(path) if path.is_file() else None) or {}
    if not all(isinstance(value, str) for value in checkpoints.values()):
        raise ValueError(f"{path} does not say which checkpoint each backbone came from. Remove it.")
    paths = [name for name, value in checkpoints.items() if not is_local and not is_hub_id(value)]
    if paths:
        raise ValueError(
            f"{dataset}: {BACKBONES_FILE} names a path for {', '.join(paths)}, where only Hub ids may stand. Name the "
            "checkpoints yourself with --backbone NAME=PATH_OR_ID."
        )
    return checkpoints


def cached_revisions(checkpoints: Mapping[str, str]) -> dict[str, str]:
    """The commit of each checkpoint of the Hub that is in this machine's cache; without those that are not.

    Args:
        checkpoints: Backbone name to folder or Hub id.
    """
    revisions = {}
    for name, checkpoint in checkpoints.items():
        path = try_to_load_from_cache(checkpoint, "config.json") if is_hub_id(checkpoint) else None
        if isinstance(path, str):
            # The cache keeps each commit's files in a folder of its name.
            revisions[name] = Path(path).parent.name
    return revisions


def is_hub_id(name: str) -> bool:
    """Whether a name can be the id of a repository on the Hub, and is not a folder here."""
    if Path(name).exists() or os.path.isabs(name):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return ".." not in name
