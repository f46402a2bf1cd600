"""Folders of feature files: written whole or not at all, and never mixed with features made with other settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..common.files import remove_leftovers, written_aside
from ..common.settings import SettingsMismatchError, keep_settings
from ..data.provenance import EXTRACTION_FILE
from ..video.sampling import UNMARKED_SAMPLING

DTYPES = ("float16", "float32")
# Before it was stored, frames were always spread evenly over their clip.
_DEFAULTS = {"sampling": UNMARKED_SAMPLING}


class FeatureFolder:
    """The feature files of one backbone, `{prefix}{id}.npz`, with the settings that made them in `extraction.json`.

    Args:
        path: The folder.
        settings: What the features depend on, see `keep_settings`.
        prefix: What the file names begin with.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any], prefix: str = ""):
        self.path = Path(path)
        self.settings = dict(settings)
        self._prefix = prefix
        self._names: set[str] = set()

    def prepare(self) -> None:
        """Make the folder, or check that it holds features of the same settings, and remove what killed runs left.

        One process does this, before any of them calls `refresh`.

        Raises:
            SettingsMismatchError: It holds features made with other or unknown settings.
            OSError: It cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path)
        settings_file = self.path / EXTRACTION_FILE
        if not settings_file.exists() and any(name.endswith((".npz", ".npy")) for name in os.listdir(self.path)):
            raise SettingsMismatchError(
                f"{self.path} holds features, but no {EXTRACTION_FILE} that says how they were made. Choose another "
                "folder."
            )
        keep_settings(settings_file, self.settings, "features", _DEFAULTS)

    def refresh(self) -> None:
        """Look at which features there are."""
        self._names = {name for name in os.listdir(self.path) if name.endswith(".npz")}

    def __contains__(self, item_id: int | str) -> bool:
        return f"{self._prefix}{item_id}.npz" in self._names

    def check_complete(self, ids: Iterable[int | str]) -> None:
        """Check that there is a file for each of these ids, which were written or found before.

        Raises:
            OSError: Files are missing: something else changed the folder.
        """
        lost = [str(item_id) for item_id in ids if item_id not in self]
        if lost:
            raise OSError(
                f"{len(lost)} files disappeared from {self.path} during the run, the first of {lost[0]!r}. Repeat the "
                "command while nothing else writes to the folder."
            )

    def write(self, item_id: int | str, **arrays: np.ndarray) -> None:
        """Write the arrays of an id to its file, which appears complete or not at all.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        name = f"{self._prefix}{item_id}.npz"
        members: dict[str, Any] = dict(arrays)
        with written_aside(self.path / name) as partial, partial.open("wb") as file:
            np.savez(file, **members)
        self._names.add(name)


def to_stored(features: np.ndarray, dtype: str) -> np.ndarray:
    """Features in the type that they are stored in.

    Raises:
        ValueError: They hold NaN, infinity, or values beyond the type.
    """
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    if not np.isfinite(stored).all():
        kind = "beyond float16: store them as float32" if np.isfinite(features).all() else "that are not finite"
        raise ValueError(f"the features hold values {kind}")
    return stored


def check_dtype(dtype: str) -> None:
    """Check that features can be stored in a type.

    Raises:
        ValueError: They cannot.
    """
    if dtype not in DTYPES:
        raise ValueError(f"Features are stored as {' or '.join(DTYPES)}, not as {dtype!r}.")
