"""Folders of feature files: written whole or not at all, and never mixed with features of other settings."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS_FILE = "extraction.json"
DTYPES = ("float16", "float32")

_PARTIAL = ".partial"
# A file that has not been touched for so long is nobody's work in progress, whatever machine it was written on.
_ABANDONED_AFTER = 24 * 3600
_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)


class SettingsMismatchError(ValueError):
    """A folder holds features of other settings than those asked for."""


class FeatureFolder:
    """The feature files of one backbone, `{prefix}{id}.npz`, with the settings that made them in `extraction.json`.

    Args:
        path: The folder.
        settings: What the features depend on. `checkpoint` only tells where `weights` came from.
        prefix: What the file names begin with.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any], prefix: str = ""):
        self.path = Path(path)
        self.settings = dict(settings)
        self._prefix = prefix
        self._names: set[str] = set()

    def prepare(self) -> None:
        """Make the folder, or check that what it holds is of the same settings, and remove what killed runs left.

        One process does this, before any of them calls `refresh`.

        Raises:
            SettingsMismatchError: It holds features of other settings, or of unknown ones.
            OSError: It cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        found = self.read_json(SETTINGS_FILE)
        if found is not None:
            self._check_settings(found)
            return
        if any(name.endswith((".npz", ".npy")) for name in os.listdir(self.path)):
            raise SettingsMismatchError(
                f"{self.path} holds features, but no {SETTINGS_FILE} that says how they were made. Choose another "
                "folder."
            )
        self.write_json(SETTINGS_FILE, self.settings)

    def refresh(self) -> None:
        """Look at which features there are."""
        self._names = {name for name in os.listdir(self.path) if name.endswith(".npz")}

    def __contains__(self, item_id: int | str) -> bool:
        return f"{self._prefix}{item_id}.npz" in self._names

    def write(self, item_id: int | str, **arrays: np.ndarray) -> None:
        """Write the arrays of an id to its file, which appears complete or not at all.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        name = f"{self._prefix}{item_id}.npz"
        with self._written_aside(self.path / name) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
        self._names.add(name)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """What a JSON file of the folder holds; `None` if there is none.

        Raises:
            ValueError: It holds something else.
        """
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{self.path / name} cannot be read ({error}). Choose another folder.") from error
        if not isinstance(content, dict):
            raise ValueError(f"{self.path / name} holds no JSON object. Choose another folder.")
        return content

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file into the folder, which appears complete or not at all."""
        with self._written_aside(self.path / name) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @contextlib.contextmanager
    def _written_aside(self, path: Path) -> Iterator[Path]:
        # The name says whose work in progress it is. It is independent of the id, which may be as long as names may be.
        partial = self.path / f".{socket.gethostname()}-{os.getpid()}{_PARTIAL}"
        try:
            yield partial
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            if error.errno in _OUT_OF_SPACE:
                raise OSError(
                    error.errno,
                    "The disk is full; what is written so far is complete. Make room and repeat the command, which "
                    "goes on where it stopped",
                    os.fspath(path),
                ) from error
            raise

    def _remove_leftovers(self) -> None:
        for partial in self.path.glob(f".*{_PARTIAL}"):
            host, _, pid = partial.name[1 : -len(_PARTIAL)].rpartition("-")
            with contextlib.suppress(FileNotFoundError):
                is_dead = host == socket.gethostname() and pid.isdigit() and not _is_alive(int(pid))
                if is_dead or time.time() - partial.stat().st_mtime > _ABANDONED_AFTER:
                    partial.unlink()

    def _check_settings(self, found: Mapping[str, Any]) -> None:
        expected = json.loads(json.dumps(self.settings))
        differences = [
            f"{name} is {found.get(name)!r} there and {expected.get(name)!r} now"
            for name in dict.fromkeys([*expected, *found])
            if name != "checkpoint" and found.get(name) != expected.get(name)
        ]
        if found.get("checkpoint") != expected.get("checkpoint") and (differences or not expected.get("weights")):
            differences.append(f"checkpoint is {found.get('checkpoint')!r} there and {expected['checkpoint']!r} now")
        if differences:
            raise SettingsMismatchError(
                f"{self.path} holds features of other settings: {'; '.join(differences)}. Choose another folder, or "
                "repeat those settings."
            )


def to_stored(features: np.ndarray, dtype: str) -> np.ndarray:
    """Features in the type that they are stored in.

    Raises:
        ValueError: They hold values that are not numbers, or beyond the type.
    """
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    if not np.isfinite(stored).all():
        kind = (
            "beyond float16: store them as float32" if np.isfinite(features).all() else "that are not finite numbers"
        )
        raise ValueError(f"the features hold values {kind}")
    return stored


def check_dtype(dtype: str) -> None:
    """Check that features can be stored in a type.

    Raises:
        ValueError: They cannot.
    """
    if dtype not in DTYPES:
        raise ValueError(f"Features are stored as {' or '.join(DTYPES)}, not as {dtype!r}.")


def _is_alive(pid: int) -> bool:
    # Elsewhere, signal 0 would end the process instead of asking for it.
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
