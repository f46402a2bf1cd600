"""Reading weight files that are pickles without running what they hold, and without believing what they declare."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Larger pickles are refused; the public one of SlowFast has 277 MB.
MAX_PICKLE_BYTES = 2**31

# What reading a damaged file may raise, whichever library reads it.
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    OverflowError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)


class _RefusedError(Exception):
    """The pickle holds something that is not let through."""


def load_numpy_pickle(path: str | os.PathLike, max_bytes: int = MAX_PICKLE_BYTES) -> Any:
    """Read a pickle of NumPy arrays and plain values, written by Python 2 or 3.

    Strings of Python 2 are read as latin-1. Pickles that follow in the same file are not looked at.

    Args:
        path: The file.
        max_bytes: Larger files are refused before they are read.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged or too large, or holds anything that arrays do not need; nothing of it is run
            then.
    """
    _check_is_file(path)
    size = os.path.getsize(path)
    if size > max_bytes:
        raise ValueError(f"Refused to load {path}: it has {size:,} bytes, more than the limit of {max_bytes:,}.")
    try:
        data = Path(path).read_bytes()
        _check_opcodes(data)
        return _resolve(_NumpyUnpickler(io.BytesIO(data), encoding="latin1").load(), {})
    except _RefusedError as error:
        raise ValueError(f"Refused to load {path}: it holds {error}. Nothing in it was run.") from None
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged, cut short, or not a pickle ({type(error).__name__}).") from None


def load_torch_file(path: str | os.PathLike, allowed: Sequence[Any] = ()) -> Any:
    """Read what `torch.save` wrote, if it holds only tensors and plain values.

    Args:
        path: The file.
        allowed: Further classes to let through, or pairs of a class and the name that stands for it in the file, as
            `torch.serialization.safe_globals` takes them.

    Returns:
        What was saved, with its tensors on the CPU.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged (checksums are compared), declares more than it holds, or holds other objects;
            nothing of it is run then.
    """
    _check_is_file(path)
    try:
        if _is_archive(path):
            _check_archive(path)
        with torch.serialization.safe_globals(list(allowed)):
            content = torch.load(path, map_location="cpu", weights_only=True)
        _check_tensors(content, set())
        return content
    except _RefusedError as error:
        raise ValueError(f"Refused to load {path}: it holds {error}. Nothing in it was run.") from None
    except _DAMAGE as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            raise ValueError(
                f"Refused to load {path}: it holds an object of type {refused[1]}. Nothing in it was run."
            ) from None
        raise ValueError(f"{path} is damaged, cut short, or not a torch file ({type(error).__name__}).") from None


def is_torch_file(path: str | os.PathLike) -> bool:
    """Whether `torch.save` wrote a file, in its present format or in the one before.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is neither that nor a pickle that `load_numpy_pickle` reads.
    """
    _check_is_file(path)
    # The older format is a series of pickles, the first of which is a fixed number.
    return _is_archive(path) or load_numpy_pickle(path) == torch.serialization.MAGIC_NUMBER


def _is_archive(path: str | os.PathLike) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        # It says that it is a part of several: an archive, if a damaged one.
        return True


def _check_archive(path: str | os.PathLike) -> None:
    """Compare the checksums of an archive whose members are stored as `torch.save` stores them: uncompressed."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise _RefusedError(f"a compressed member ({member.filename}), which torch.save does not write")
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(damaged)


def _check_tensors(content: Any, seen: set[int]) -> None:
    """Refuse tensors that declare more elements than they store, which a copy would have to allocate."""
    if id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, torch.Tensor):
        is_dense = content.layout == torch.strided and not content.is_quantized
        if is_dense and content.numel() * content.element_size() > content.untyped_storage().nbytes():
            raise _RefusedError(f"a tensor of the shape {tuple(content.shape)} without the values for it")
    elif isinstance(content, dict):
        for value in content.values():
            _check_tensors(value, seen)
    elif isinstance(content, (list, tuple)):
        for value in content:
            _check_tensors(value, seen)


def _check_opcodes(data: bytes) -> None:
    """Refuse what an unpickler would allocate on the word of a few bytes."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "FRAME") and int(argument or 0) > len(data):
            raise _RefusedError(f"{opcode.name} of {argument} in a file of {len(data):,} bytes")


class _Dtype:
    """Stands for a NumPy type while a pickle is read: numbers and byte strings only."""

    def __init__(self, code: str, align: Any = False, copy: Any = False):
        match = re.fullmatch(r"([<>|=]?)([biufS])(\d{1,6})", str(code))
        if match is None:
            raise _RefusedError(f"an array of the type {code!r}")
        self.code = match[2] + match[3]
        self.numpy = np.dtype(match[0])

    def __setstate__(self, state: tuple) -> None:
        order, subarray, names, fields, itemsize = state[1:6]
        if subarray is not None or names is not None or fields is not None:
            raise _RefusedError("an array with fields")
        if itemsize not in (-1, self.numpy.itemsize) or order not in ("<", ">", "|", "="):
            raise _RefusedError(f"a type {self.code} of {itemsize} bytes")
        self.numpy = np.dtype(order + self.code)

    def make_array(self, data: Any, shape: Any, order: str) -> np.ndarray:
        """An array of a shape that takes exactly the bytes that are there."""
        # Python 2 wrote bytes as text.
        buffer = data.encode("latin1") if isinstance(data, str) else bytes(data)
        sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not all(type(size) is int and size >= 0 for size in sizes):
            raise _RefusedError(f"an array of the shape {sizes}")
        count = 1
        for size in sizes:
            count *= size
        if count * self.numpy.itemsize != len(buffer):
            raise _RefusedError(f"an array of the shape {sizes} with {len(buffer)} bytes")
        return np.frombuffer(buffer, self.numpy).reshape(sizes, order="F" if order == "F" else "C").copy()


class _Array:
    """Stands for a NumPy array while a pickle is read; the array is made when all of it has been checked."""

    array: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, is_fortran, data = state[-4:]
        if not isinstance(dtype, _Dtype):
            raise _RefusedError("an array without a type")
        self.array = dtype.make_array(data, shape, "F" if is_fortran else "C")


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, _Dtype):
        raise _RefusedError("a number without a type")
    return dtype.make_array(data, (1,), "C")[0]


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise _RefusedError("an array without a type")
    return dtype.make_array(buffer, shape, order)


def _resolve(value: Any, done: dict[int, Any]) -> Any:
    """Replace the stand-ins inside plain containers by their arrays."""
    if isinstance(value, _Array):
        if value.array is None:
            raise _RefusedError("an array without content")
        return value.array
    if isinstance(value, _Dtype):
        return value.numpy
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in done:
        done[id(value)] = value
        if isinstance(value, dict):
            done[id(value)] = {key: _resolve(item, done) for key, item in value.items()}
        else:
            done[id(value)] = type(value)(_resolve(item, done) for item in value)
    return done[id(value)]


class _NumpyUnpickler(pickle.Unpickler):
    """Lets through what NumPy arrays and scalars are rebuilt with, before and after NumPy's modules moved.

    Nothing of NumPy is handed out itself: `ndarray` called with an address, or a type altered afterwards, would read
    memory beyond the file.
    """

    def find_class(self, module: str, name: str) -> Any:
        # Functions are made anew each time, as a pickle may set attributes of what it names.
        known = {
            ("numpy", "ndarray"): object(),
            ("numpy", "dtype"): lambda *arguments: _Dtype(*arguments),
            ("_codecs", "encode"): lambda text, encoding: text.encode(_latin1(encoding)),
        }
        for builtins in ("builtins", "__builtin__"):
            # How older protocols write empty bytes; with an argument it would allocate as many.
            known[builtins, "bytes"] = lambda: b""
        for core in ("numpy.core", "numpy._core"):
            known[f"{core}.multiarray", "_reconstruct"] = lambda *_: _Array()
            known[f"{core}.multiarray", "scalar"] = lambda *arguments: _scalar(*arguments)
            known[f"{core}.numeric", "_frombuffer"] = lambda *arguments: _from_buffer(*arguments)
        if (module, name) not in known:
            raise _RefusedError(f"{module}.{name}")
        return known[module, name]


def _latin1(encoding: str) -> str:
    # Protocol 2 writes bytes as latin-1 text; other names would look up, and import, a codec.
    if encoding != "latin1":
        raise _RefusedError(f"text in the encoding {encoding!r}")
    return encoding


def _check_is_file(path: str | os.PathLike) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint file {path}.")
