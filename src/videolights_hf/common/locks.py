"""One process at a time for a folder of results."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # everywhere else
    msvcrt = None  # type: ignore[assignment]

LOCK_FILE = ".lock"
_WAIT = 0.2


class FolderInUseError(OSError):
    """Another process writes to the folder."""


@contextlib.contextmanager
def locked_folder(folder: str | os.PathLike, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder while this one writes to it.

    The operating system gives the lock back when the process ends, however it ends.

    Args:
        folder: Made if it does not exist.
        wait: Wait until the other process has ended.

    Raises:
        FolderInUseError: Another process holds it, and this one does not wait.
    """
    path = Path(folder, LOCK_FILE)
    while True:
        try:
            descriptor = _open_locked(path)
            break
        except FolderInUseError:
            if not wait:
                raise
            time.sleep(_WAIT)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        # While the lock is held, nobody else can have made the file that is removed here.
        if fcntl is not None:
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the holder before has just removed the whole folder
            continue
        try:
            _lock(descriptor)
        except OSError as error:
            holder = os.read(descriptor, 200).decode(errors="replace") if fcntl is not None else ""
            os.close(descriptor)
            raise FolderInUseError(
                f"{path.parent} is in use by {holder or 'another process'}: wait until it has ended, or choose "
                "another folder."
            ) from error
        # The holder before may have removed the file after it was opened here: a lock on that guards nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
