"""Feature files as the published archives lay them out: `.npz`, `.npy` or `.pt`, one per video or query.

An id names a file of one folder and nothing else: an id that would lead out of the folder is refused. Nothing in a file
is ever run, and none is read before the size that it declares has been checked: a few bytes may declare gigabytes.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..common.ids import is_plain_name

MAX_FEATURE_BYTES = 512 * 1024**2
"""The largest matrix that is read from a feature file, in bytes (75 clips of 3,584 float32 values are about 1 MB)."""

_ENDINGS = (".npz", ".npy", ".pt")
_FLOAT16_MAX = float(np.finfo(np.float16).max)
_ZIP_MAGIC = b"PK"
# Beside its matrix, what `torch.save` wrote may hold other tensors and takes some bytes itself.
_MAX_TORCH_BYTES = 2 * MAX_FEATURE_BYTES


class FeatureFileError(ValueError):
    """A feature file that cannot be used.

    Attributes:
        kind: `"missing"`, `"unsafe id"`, `"pickled"`, `"truncated"`, `"too large"`, `"mismatched"` or
            `"not finite"`.
        path: The file (for a missing one, the first name that was looked for).
        message: What is wrong with it.
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
    if not is_plain_name(name):
        raise FeatureFileError("unsafe id", folder, f"id {name!r} is not a plain file name")
    for alternative in patterns:
        found = [_existing(Path(folder), pattern.replace("{id}", name)) for pattern in alternative]
        files = [path for path in found if path is not None]
        if len(files) == len(found):
            return files
    wanted = " or ".join(" + ".join(p.replace("{id}", name) for p in alternative) for alternative in patterns)
    raise FeatureFileError(
        "missing",
        Path(folder, patterns[0][0].replace("{id}", name)),
        f"no {wanted} ({', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]})",
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


def read_features(
    path: str | os.PathLike, keys: Sequence[str] = ("features",), max_bytes: int = MAX_FEATURE_BYTES
) -> np.ndarray:
    """The feature matrix of one file.

    Args:
        path: An `.npz` archive, an `.npy` array, or a `.pt` file that `torch.save` wrote: a tensor or a mapping of them.
        keys: Array names to look for in an archive or mapping, in this order.
        max_bytes: A matrix larger than this is refused before it is read.

    Returns:
        Array of shape (rows, width), as stored.

    Raises:
        FeatureFileError: `"missing"`, `"pickled"`, `"truncated"`, `"too large"`, or `"mismatched"` for an archive
            without the key or an array that is not a matrix of floats.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise FeatureFileError("mismatched", path, "is not a regular file")
    if os.fspath(path).endswith(".pt"):
        return _read_torch(path, keys, max_bytes)
    try:
        with open(path, "rb") as file:
            is_archive = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
            file.seek(0)
            if is_archive:
                return _read_member(path, file, keys, max_bytes)
            return _read_array(path, file, os.fstat(file.fileno()).st_size, max_bytes)
    except FeatureFileError:
        raise
    except FileNotFoundError:
        raise FeatureFileError("missing", path, "no such file") from None
    except Exception as error:
        # A damaged file makes zipfile, the decompressors and numpy's header parser raise nearly anything.
        raise FeatureFileError("truncated", path, f"cannot be read, it may be cut short ({error})") from None


def _read_member(path: str | os.PathLike, file: IO[bytes], keys: Sequence[str], max_bytes: int) -> np.ndarray:
    with zipfile.ZipFile(file) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        key = next((key for key in keys if key in names), None)
        if key is None:
            raise FeatureFileError("mismatched", path, f"has {sorted(names)}, but not {' or '.join(map(repr, keys))}")
        with archive.open(names[key]) as member:
            return _read_array(path, member, archive.getinfo(names[key]).file_size, max_bytes)


def _read_torch(path: str | os.PathLike, keys: Sequence[str], max_bytes: int) -> np.ndarray:
    """The matrix of a `.pt` file, which is read with `weights_only=True`: tensors and plain values, nothing else."""
    # Arrays are read without torch, which takes seconds to import in each of many processes.
    import torch

    content = _load_torch(path)
    if isinstance(content, dict):
        key = next((key for key in keys if key in content), None)
        if key is None:
            names = sorted(map(str, content))
            raise FeatureFileError("mismatched", path, f"has {names}, but not {' or '.join(map(repr, keys))}")
        content = content[key]
    if not isinstance(content, torch.Tensor) or content.layout != torch.strided or content.is_quantized:
        raise FeatureFileError("mismatched", path, f"is {type(content).__name__}; a matrix of floats is needed")
    shape = tuple(content.shape)
    if len(shape) != 2 or 0 in shape or not content.is_floating_point():
        raise FeatureFileError(
            "mismatched", path, f"is {content.dtype} of shape {shape}; a matrix of floats is needed"
        )
    if content.numel() * content.element_size() > max_bytes:
        raise FeatureFileError("too large", path, f"holds a matrix of shape {shape}, more than {max_bytes:,} bytes")
    # NumPy has no bfloat16.
    is_known = content.dtype in (torch.float16, torch.float32, torch.float64)
    return (content if is_known else content.float()).detach().numpy()


def _load_torch(path: str | os.PathLike) -> Any:
    from ..common.safe_loading import load_torch_file

    try:
        size = os.path.getsize(path)
        if size <= _MAX_TORCH_BYTES:
            return load_torch_file(path)
    except FileNotFoundError:
        raise FeatureFileError("missing", path, "no such file") from None
    except ValueError as error:
        if str(error).startswith("Refused"):
            raise FeatureFileError("pickled", path, f"is never loaded, since only tensors are ({error})") from None
        raise FeatureFileError("truncated", path, f"cannot be read, it may be cut short ({error})") from None
    raise FeatureFileError("too large", path, f"has {size:,} bytes, more than the {_MAX_TORCH_BYTES:,} that are read")


def _read_array(path: str | os.PathLike, file: IO[bytes], size: int, max_bytes: int) -> np.ndarray:
    """The array of an open `.npy` file of `size` bytes; its header is checked before memory is asked for."""
    head = file.read(np.lib.format.MAGIC_LEN)
    if len(head) < np.lib.format.MAGIC_LEN:
        raise FeatureFileError("truncated", path, "is empty or cut short")
    if head[: len(np.lib.format.MAGIC_PREFIX)] != np.lib.format.MAGIC_PREFIX:
        raise FeatureFileError("pickled", path, "is a pickle, which is never loaded, or no array at all")
    version = np.lib.format.read_magic(io.BytesIO(head))
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise FeatureFileError("pickled", path, "holds a pickle, which is never loaded")
    if len(shape) != 2 or 0 in shape or dtype.kind != "f":
        raise FeatureFileError("mismatched", path, f"is {dtype} of shape {shape}; a matrix of floats is needed")
    declared = math.prod(shape) * dtype.itemsize
    if declared > size:
        raise FeatureFileError("truncated", path, f"declares {declared:,} bytes, but holds at most {size:,}")
    if declared > max_bytes:
        raise FeatureFileError(
            "too large",
            path,
            f"declares a matrix of shape {shape} ({declared:,} bytes), more than the {max_bytes:,} that are read "
            "(MAX_FEATURE_BYTES)",
        )
    content = file.read(declared)
    if len(content) < declared:
        raise FeatureFileError("truncated", path, f"cannot be read, it is cut short ({len(content):,} bytes are left)")
    # Reading on makes an archive compare its checksum.
    file.read(1)
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")


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
