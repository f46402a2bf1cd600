"""Opening video files: which files are opened at all, and how PyAV is given them."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, cast

from .limits import MAX_SPOOLED_GIGABYTES

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

# What is taken from a folder as a video.
# fmt: off
VIDEO_ENDINGS = frozenset((
    ".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif",
    ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2p", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv",
    ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogg", ".ogm", ".ogv", ".qt",
    ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m",
))
# fmt: on
# Versions before 17 read BT.709 as BT.601, 17.0 crashes on program streams.
OLDEST_PYAV = (17, 1)
STANDARD_INPUT = ("-", "/dev/stdin", "/proc/self/fd/0", "/dev/fd/0")

_CHUNK_BYTES = 2**20
# Text files that name other files, which would be opened in turn, also over the network.
_PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat", b"[playlist]")
_PLAYLIST_FORMATS = ("hls", "concat", "concatf", "dash", "imf", "sdp", "rtsp")
# Enough to find streams that begin minutes late, at the cost of memory.
_DEEP_PROBE = {"probesize": str(2**28), "analyzeduration": str(3600 * 10**6)}


class VideoReadError(ValueError):
    """The input is not a video that can be read: not a video file, without pictures, or damaged beyond use."""


def require_pyav() -> None:
    """Check that videos can be read.

    Raises:
        ImportError: PyAV is not installed, or too old: it gives videos other colors.
    """
    if av is None:
        raise ImportError('Reading videos needs PyAV: pip install "videolights-hf[video]".')
    if tuple(map(int, re.findall(r"\d+", av.__version__)[:2])) < OLDEST_PYAV:
        oldest = ".".join(map(str, OLDEST_PYAV))
        raise ImportError(
            f"PyAV {av.__version__} is installed, and reading videos needs {oldest} or newer (older versions give other "
            'colors): pip install "videolights-hf[video]".'
        )


class VideoFile:
    """A video file that can be opened again and again.

    Args:
        video: Path or binary file object. An object that cannot seek is copied to a temporary file.

    Raises:
        FileNotFoundError: The path does not exist.
        VideoReadError: The path is a folder, a pipe or a device, or names a playlist.
        ValueError: The file object is in text mode.
        ImportError: PyAV is not installed.
    """

    def __init__(self, video: str | os.PathLike[str] | IO[bytes]):
        require_pyav()
        self._file: str | IO[bytes]
        if isinstance(video, (str, os.PathLike)):
            self.name = os.fspath(video)
            _check_is_regular(self.name)
            # PyAV takes what stands before a colon for a protocol; an absolute path has none.
            self._file = os.path.abspath(self.name)
            with open(self._file, "rb") as file:
                head = file.read(16)
        else:
            name = getattr(video, "name", None)
            self.name = f"The video {name}" if isinstance(name, str) else "The video"
            self._file = _seekable(video)
            self._file.seek(0)
            head = self._file.read(16)
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_PLAYLIST_STARTS):
            raise self._playlist_error()

    def open(self, deep: bool = False) -> av.container.InputContainer:
        """Open the file from its beginning.

        Args:
            deep: Look far into the file for streams that begin late.
        """
        # Nothing that the file names is opened, be it a file or an address.
        options = {"protocol_whitelist": "file" if isinstance(self._file, str) else "none"}
        if deep:
            options |= _DEEP_PROBE
        if not isinstance(self._file, str):
            self._file.seek(0)
        # The mode is said: PyAV takes a file object that can also be written for an output.
        container = av.open(self._file, mode="r", options=options)
        if container.format.name.split(",")[0] in _PLAYLIST_FORMATS:
            container.close()
            raise self._playlist_error()
        return container

    def _playlist_error(self) -> VideoReadError:
        return VideoReadError(
            f"{self.name} is a playlist, which names other files: give a video file (`ffmpeg -i LIST -c copy video.mp4` "
            "makes one)."
        )


@contextlib.contextmanager
def stored_video(video: str | os.PathLike[str]) -> Iterator[str]:
    """Copy standard input to a temporary file if a path stands for it (`-` or `/dev/stdin`).

    Yields:
        The path of the video, to be opened as often as needed.

    Raises:
        VideoReadError: Standard input holds more than the limit, or nothing.
    """
    path = os.fspath(video)
    if path not in STANDARD_INPUT or (path != "-" and _is_regular(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "standard-input")
        with open(copy, "wb") as target:
            _copy(sys.stdin.buffer, target, "Standard input")
        yield copy


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _check_is_regular(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "No such video file", path) from None
    except ValueError as error:
        raise VideoReadError(f"{path!r} is not a path ({error}).") from None
    if stat.S_ISDIR(mode):
        raise VideoReadError(f"{path} is a folder, not a video file.")
    if not stat.S_ISREG(mode):
        raise VideoReadError(
            f"{path} is not a regular file but a pipe or device: store the video in a file, or give it as standard input "
            "(`-` on the command line) or as a file object."
        )


def _seekable(file: IO[bytes]) -> IO[bytes]:
    if isinstance(file, io.TextIOBase) or isinstance(file.read(0), str):
        raise ValueError("The video file is open in text mode: open it with mode 'rb'.")
    try:
        file.seek(0)
    except (OSError, AttributeError):
        copy = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115  it lives as long as its reader
        _copy(file, copy, "The video")
        return copy
    return file


def _copy(source: IO[bytes], target: IO[bytes], name: str) -> None:
    left = MAX_SPOOLED_GIGABYTES.value() * 2**30
    while chunk := source.read(_CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            raise VideoReadError(f"{name} holds too many gigabytes to be stored ({MAX_SPOOLED_GIGABYTES.remedy()}).")
        target.write(chunk)
    if not target.tell():
        raise VideoReadError(f"{name} is empty: it holds no video.")
