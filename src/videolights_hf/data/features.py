"""Feature files as the published archives lay them out: `.npz` and `.npy`, one per video or query.

An id names a file of one folder and nothing else: an id that would lead out of the folder is refused, and no file is
ever unpickled.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import numpy as np

_ENDINGS = (".npz", ".npy")
_FLOAT16_MAX = float(np.finfo(np.float16).max)


class FeatureFileError(ValueError):
    """A feature file that cannot be used.

    Attributes:
        kind: `"missing"`, `"unsafe id"`, `"pickled"`, `"truncated"`, `"mismatched"` or `"not finite"`.
        path: The file (for a missing one, the first name that was looked for).
    """

    def __init__(self, kind: str, path: str | os.PathLike, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.kind = kind
        self.path = str(path)
        self.message = message


def feature_files(folder: str | os.PathLike, item_id: int | str, patterns: Sequence[Sequence[str]]) -> list[Path]:
    """The files that hold the features of one id.

    Args:
        folder: The folder of one backbone.
        item_id: A vid or qid.
        patterns: Alternatives, tried in order; each is one or several names without ending that contain `{id}`.

    Returns:
        One path per name of the first alternative whose files all exist.

    Raises:
        FeatureFileError: `"unsafe id"` for an id that is not a plain file name, `"missing"` if no alternative exists.
    """
    name = str(item_id)
    # The rules of Windows paths are the stricter ones: both slashes and drive letters.
    if name in ("", ".", "..") or "\0" in name or PureWindowsPath(name).name != name:
        raise FeatureFileError("unsafe id", folder, f"id {name!r} is not a plain file name")
    for alternative in patterns:
        found = [_existing(Path(folder), pattern.replace("{id}", name)) for pattern in alternative]
        if all(found):
            return found
    wanted = " or ".join(" + ".join(p.replace("{id}", name) for p in alternative) for alternative in patterns)
    raise FeatureFileError(
        "missing", Path(folder, patterns[0][0].replace("{id}", name)), f"no {wanted} (.npz or .npy)"
    )


def _existing(folder: Path, stem: str) -> Path | None:
    for ending in _ENDINGS:
        path = folder / f"{stem}{ending}"
        try:
            if path.is_file():
                return path
        except OSError:  # a name longer than the file system allows
            return None
    return None


def read_features(path: str | os.PathLike, keys: Sequence[str] = ("features",)) -> np.ndarray:
    """The feature matrix of one file.

    Args:
        path: An `.npz` archive or an `.npy` array.
        keys: Array names to look for in an archive, in this order.

    Returns:
        Array of shape (rows, width), as stored.

    Raises:
        FeatureFileError: `"missing"`, `"pickled"`, `"truncated"`, or `"mismatched"` for an archive without the key or
            an array that is not a matrix of floats.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                key = next((key for key in keys if key in loaded.files), None)
                if key is None:
                    raise FeatureFileError(
                        "mismatched", path, f"has {sorted(loaded.files)}, but not {' or '.join(map(repr, keys))}"
                    )
                array = loaded[key]
        else:
            array = loaded
    except FileNotFoundError:
        raise FeatureFileError("missing", path, "no such file") from None
    except (ValueError, EOFError, OSError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, FeatureFileError):
            raise
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise FeatureFileError(
                "pickled", path, "is or holds a pickle, which is never loaded (or it is no array at all)"
            ) from None
        raise FeatureFileError("truncated", path, f"cannot be read, it may be cut short ({error})") from None
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind != "f":
        raise FeatureFileError(
            "mismatched", path, f"is {array.dtype} of shape {array.shape}; a matrix of floats is needed"
        )
    return array


def read_feature_matrix(paths: Sequence[str | os.PathLike], keys: Sequence[str] = ("features",)) -> np.ndarray:
    """The features of one id: the files' matrices side by side, as float16.

    Several files (TVSum's `_rgb` and `_opt`) are cut to the shortest and concatenated along the feature axis.

    Returns:
        float16 array of shape (rows, sum of the widths).

    Raises:
        FeatureFileError: See `read_features`; `"not finite"` for values that are not numbers or beyond float16.
    """
    parts = []
    for path in paths:
        part = read_features(path, keys)
        # The comparison is False for NaN too.
        if not np.abs(part).max() <= _FLOAT16_MAX:
            raise FeatureFileError("not finite", path, "holds NaN, infinity, or values beyond float16")
        parts.append(part.astype(np.float16))
    rows = min(len(part) for part in parts)
    return np.concatenate([part[:rows] for part in parts], axis=1)
