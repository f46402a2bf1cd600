"""Files that appear whole or not at all, and leave the older file in place until then."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARTIAL_SUFFIX = ".partial"

_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)
# A partial file untouched for a day is nobody's work in progress, whatever machine wrote it.
_ABANDONED_AFTER = 24 * 3600
# Seconds in which the reader of a named pipe may still start.
_READER_GRACE = 2
_counter = itertools.count()


@contextlib.contextmanager
def written_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file under another name beside it, and rename it when it is complete.

    Args:
        path: The file. What it held before stays until the new content is complete, also when the disk runs full. A
            link stays a link, and a device or pipe is written to, not replaced.

    Yields:
        The path to write to.

    Raises:
        OSError: The file cannot be written; a full disk is named as such, with what to do. Or it is a named pipe that nobody
            reads.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with _reader_of(target):
            yield target
        return
    # The name says whose work in progress it is, and does not grow with the target's name.
    partial = target.parent / f".{socket.gethostname()}-{os.getpid()}-{next(_counter)}{PARTIAL_SUFFIX}"
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        explained = _full_disk_error(error, Path(path))
        if explained is None and error.filename == os.fspath(partial):
            # People know the file by its own name.
            explained = OSError(error.errno, error.strerror, os.fspath(path))
        if explained is None:
            raise
        raise explained from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _reader_of(target: Path) -> Iterator[None]:
    """Hold a named pipe open that somebody reads; opening one that nobody reads would wait forever."""
    if not target.is_fifo():
        yield
        return
    last = time.monotonic() + _READER_GRACE
    while True:
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > last:
                raise OSError(
                    errno.ENXIO,
                    "A named pipe that nobody reads. Remove it, or start its reader first",
                    os.fspath(target),
                ) from None
            time.sleep(0.05)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folder_written_aside(folder: str | os.PathLike) -> Iterator[Path]:
    """Write files to a folder beside the target, and move them in when all of them are complete.

    Args:
        folder: The target; made if it does not exist. Other files in it stay, and what it held before stays whole
            until the new files are complete.

    Yields:
        The folder to write to.

    Raises:
        OSError: The files cannot be written; a full disk is named as such, with what to do.
    """
    target = Path(folder).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{socket.gethostname()}-{os.getpid()}-{next(_counter)}{PARTIAL_SUFFIX}"
    try:
        partial.mkdir()
        yield partial
        for source in sorted(partial.rglob("*")):
            place = target / source.relative_to(partial)
            if source.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                source.replace(place)
    except Exception as error:
        explained = _full_disk_error(error, target)
        if explained is None:
            raise
        raise explained from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str, *, errors: str = "strict") -> None:
    """Write a UTF-8 text file whole or not at all; `errors` is the codec's error handler."""
    with written_aside(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=errors)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write a JSON file, indented, whole or not at all.

    Raises:
        ValueError: The content holds NaN or infinity, which JSON cannot represent.
    """
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Half characters, as in names of files that are not UTF-8: escaped, the file stays UTF-8.
        text = json.dumps(content, indent=1, allow_nan=False)
    write_text(path, text + "\n")


def parse_json(text: str) -> Any:
    """What JSON holds, where damage of every kind is a `ValueError`: `json` has another error for what is nested too deep.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json_object(path: str | os.PathLike) -> dict[str, Any] | None:
    """What a JSON file of this package holds; `None` if there is no such file.

    Raises:
        ValueError: It does not hold a JSON object.
    """
    if not os.path.lexists(path):
        return None
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a regular file. Remove it, or choose another folder.")
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8", errors="surrogatepass"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}). Remove it, or choose another folder.") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a JSON {type(content).__name__}, expected an object. Remove it, or choose another folder."
        )
    return content


def check_holds_regular_files(folder: str | os.PathLike) -> None:
    """Check that nothing in a folder to write to, or below, is a pipe: a write to one waits for a reader.

    Raises:
        ValueError: Naming what is neither a file nor a folder.
    """
    for path in Path(folder).rglob("*"):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError(f"{path} is not a regular file. Remove it, or choose another folder.")


def check_is_no_named_pipe(path: str | os.PathLike) -> None:
    """Refuse a pipe in the place of an input file: opening one that nobody writes to waits forever.

    The shell's own, `<(zcat rows.jsonl.gz)`, has a writer and no name of its own, and may be read.

    Raises:
        ValueError: The path is a named pipe.
    """
    with contextlib.suppress(OSError):
        real = os.path.realpath(path)
        if stat.S_ISFIFO(os.stat(path).st_mode) and os.path.lexists(real):
            raise ValueError(f"{path} is a named pipe, which waits for somebody to write: give a regular file.")


def _full_disk_error(error: Exception, target: Path) -> OSError | None:
    """An error that says what to do, if writing failed for want of space, whichever library wrote."""
    number = error.errno if isinstance(error, OSError) else None
    if number not in _OUT_OF_SPACE and not re.search(r"No space left|os error 28\b|quota exceeded", str(error)):
        return None
    message = "The disk is full; everything written before is complete. Make room and repeat the command"
    return OSError(number or errno.ENOSPC, message, os.fspath(target))


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Delete the partial files that processes which no longer run left in a folder."""
    for partial in Path(folder).glob(f".*{PARTIAL_SUFFIX}"):
        # Host names hold hyphens, process numbers do not.
        host, _, pid = partial.name[1 : -len(PARTIAL_SUFFIX)].rpartition("-")[0].rpartition("-")
        with contextlib.suppress(FileNotFoundError):
            is_dead = host == socket.gethostname() and pid.isdigit() and not is_running(int(pid))
            if is_dead or time.time() - partial.stat().st_mtime > _ABANDONED_AFTER:
                partial.unlink()


def is_running(pid: int) -> bool:
    """Whether a process of this machine is running; assumed where it cannot be asked."""
    # Outside POSIX, signal 0 would end the process instead of asking for it.
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
