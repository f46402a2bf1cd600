"""Reading weight files that are pickles without running what they hold."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

# What reading a damaged file may raise, whichever library reads it.
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)


class _RefusedError(Exception):
    """The pickle names something that is not let through."""


def load_numpy_pickle(path: str | os.PathLike) -> Any:
    """Read a pickle that holds NumPy arrays and plain values, written by Python 2 or 3.

    Strings of Python 2 are taken for latin-1.

    Args:
        path: The file.

    Returns:
        What was pickled. If other pickles follow in the file, they are not looked at.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or names anything that arrays do not need; nothing of it is run then.
    """
    _check_exists(path)
    try:
        with open(path, "rb") as file:
            return _NumpyUnpickler(file, encoding="latin1").load()
    except _RefusedError as error:
        raise ValueError(f"Refused to load {path}: it holds {error}. Nothing in it was run.") from None
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged, cut short or no pickle ({type(error).__name__}).") from None


def load_torch_file(path: str | os.PathLike, allowed: Sequence[type] = ()) -> Any:
    """Read what `torch.save` wrote, if it holds but tensors and plain values.

    Args:
        path: The file.
        allowed: Classes that are let through besides.

    Returns:
        What was saved, with its tensors on the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or holds other objects; nothing of it is run then.
    """
    _check_exists(path)
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            raise ValueError(
                f"Refused to load {path}: it holds an object of type {refused[1]}. Nothing in it was run."
            ) from None
        raise ValueError(f"{path} is damaged, cut short or no torch file ({type(error).__name__}).") from None


def is_torch_file(path: str | os.PathLike) -> bool:
    """Whether `torch.save` wrote a file, in its present format or in the one before.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is neither that nor a pickle that `load_numpy_pickle` reads.
    """
    _check_exists(path)
    # The former format is a row of pickles, of which the first is a number of its own.
    return zipfile.is_zipfile(path) or load_numpy_pickle(path) == torch.serialization.MAGIC_NUMBER


class _NumpyUnpickler(pickle.Unpickler):
    """Lets through what NumPy arrays and scalars are rebuilt with, from before and after its modules moved."""

    def find_class(self, module: str, name: str) -> Any:
        # Functions of Python are made anew: a pickle may set attributes of what it names.
        known = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): lambda text, encoding: text.encode(_latin1(encoding)),
        }
        for core in ("numpy.core", "numpy._core"):
            # Taken from what they build, as their own place depends on NumPy's version.
            known[f"{core}.multiarray", "_reconstruct"] = np.empty(0).__reduce__()[0]
            known[f"{core}.multiarray", "scalar"] = np.float32(0).__reduce__()[0]
            known[f"{core}.numeric", "_frombuffer"] = lambda buffer, dtype, shape, order: np.frombuffer(
                buffer, dtype
            ).reshape(shape, order=order)
        if (module, name) not in known:
            raise _RefusedError(f"{module}.{name}")
        return known[module, name]


def _latin1(encoding: str) -> str:
    # Protocol 2 writes bytes as latin-1 text; other names would look up, and import, a codec.
    if encoding != "latin1":
        raise _RefusedError(f"text in the encoding {encoding!r}")
    return encoding


def _check_exists(path: str | os.PathLike) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"No such checkpoint file: {path}")
