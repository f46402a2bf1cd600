"""One file from a web address to the cache: resumed where it broke off, and checked."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from transformers.utils import logging

logger = logging.get_logger(__name__)

_BLOCK = 2**20
_TIMEOUT = 30
# Tries in a row without any new data.
_TRIES = 3


@dataclass(frozen=True)
class RemoteFile:
    """A file whose content is known.

    Attributes:
        url: Where it is.
        size: In bytes.
        sha256: In hexadecimal digits.
    """

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


class DownloadError(OSError):
    """A file that cannot be downloaded, or is not what it should be."""


def is_offline(hub_kwargs: Mapping[str, Any] | None = None) -> bool:
    """Whether nothing may be downloaded: `HF_HUB_OFFLINE`, or `local_files_only` among these arguments."""
    return bool(constants.HF_HUB_OFFLINE or (hub_kwargs or {}).get("local_files_only"))


def cache_folder(hub_kwargs: Mapping[str, Any] | None = None) -> Path:
    """The package's folder in the cache of the Hub's client, or in `cache_dir` among these arguments."""
    return Path((hub_kwargs or {}).get("cache_dir") or constants.HF_HOME, "videolights")


def check_reachable(file: RemoteFile) -> None:
    """Ask for a file's header alone.

    Raises:
        DownloadError: The server does not answer, or does not have the file.
    """
    try:
        urllib.request.urlopen(urllib.request.Request(file.url, method="HEAD"), timeout=_TIMEOUT).close()
    except OSError as error:
        raise DownloadError(f"{file.url} cannot be reached ({_reason(error)}).") from error


def download(file: RemoteFile, folder: Path, what: str) -> Path:
    """Download a file, or the rest of it if a part is there, and check size and SHA-256.

    Logs once what is downloaded and how large it is.

    Args:
        file: The file.
        folder: Where it goes; made if it does not exist.
        what: What the message calls it.

    Returns:
        Its path.

    Raises:
        DownloadError: It cannot be reached, keeps breaking off (the received part is kept), or has other content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / file.name, folder / f"{file.name}.incomplete"
    there = partial.stat().st_size if partial.exists() else 0
    logger.warning(
        "Downloading %s (%.0f MB%s) from %s to %s, once.",
        what,
        file.size / 1e6,
        f", {there / 1e6:.0f} MB are there" if there else "",
        file.url,
        folder,
    )
    _fetch_all(file, partial)
    if partial.stat().st_size != file.size or _sha256(partial) != file.sha256:
        partial.unlink()
        raise DownloadError(
            f"{file.url} is not the file that is expected (size {file.size:,}, SHA-256 {file.sha256[:12]}...): it was "
            "damaged in transit, or replaced. Try again, or download it by other means."
        )
    partial.replace(path)
    return path


def _fetch_all(file: RemoteFile, partial: Path) -> None:
    """Fetch until the file is complete, however often the connection breaks, as long as data arrives."""
    failures = 0
    while (there := partial.stat().st_size if partial.exists() else 0) < file.size:
        try:
            _fetch_rest(file, partial, there)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                # The partial file is longer than the file on the server.
                partial.unlink()
            raise DownloadError(
                f"{file.url} cannot be downloaded ({_reason(error)}). Repeat the command, or download it by other means."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            came = partial.exists() and partial.stat().st_size > there
            failures = 0 if came else failures + 1
            if failures == _TRIES:
                raise DownloadError(
                    f"The download of {file.url} broke off ({_reason(error)}). Repeat the command: it continues where it "
                    "stopped."
                ) from error


def _fetch_rest(file: RemoteFile, partial: Path, there: int) -> None:
    """Append what a connection brings, up to the file's size."""
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        # A server that ignores the range sends all from the start.
        is_rest = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        with (
            partial.open("ab" if is_rest else "wb") as content,
            logging.tqdm(total=file.size, initial=there if is_rest else 0, unit="B", unit_scale=True) as progress,
        ):
            left = file.size - content.tell()
            while left and (block := answer.read(min(_BLOCK, left))):
                content.write(block)
                left -= len(block)
                progress.update(len(block))
    if left:
        raise ConnectionError("the connection was closed early")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error or type(error).__name__)


__all__ = ["DownloadError", "RemoteFile", "cache_folder", "check_reachable", "download", "is_offline"]
