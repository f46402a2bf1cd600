"""The work of the service without its HTTP: encode a video once, answer questions about it, one piece of work at a time."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from ..backbones.features import VideoFeatures
from ..common.times import format_time
from ..inference.moments import MomentResult
from ..inference.pipeline import VideoMomentRetrievalPipeline
from ..video.files import VideoReadError
from ..video.reader import VideoReader

_Result = TypeVar("_Result")


class ServiceError(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status.
        message: What was wrong, in one line.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = " ".join(message.split())


@dataclass(frozen=True)
class ServiceSettings:
    """What the operator allows.

    Attributes:
        allow_folders: Clients may name video files inside these folders.
        allow_url_prefixes: Clients may name addresses that begin so; redirects are not followed.
        max_megabytes: Largest video file.
        max_minutes: Longest video.
        max_sentences: Sentences per question.
        max_queue: Requests that wait or run at once; more are refused.
        timeout: Seconds that a request may take, waiting included, and as long again for the upload.
        max_videos: Encoded videos that are kept; the one longest unused goes first.

    Raises:
        ValueError: A limit is not positive, a folder does not exist, or a prefix names no host or no path.
    """

    allow_folders: tuple[Path, ...] = ()
    allow_url_prefixes: tuple[str, ...] = ()
    max_megabytes: float = 500
    max_minutes: float = 60
    max_sentences: int = 32
    max_queue: int = 16
    timeout: float = 300
    max_videos: int = 100

    def __post_init__(self) -> None:
        for name in ("max_megabytes", "max_minutes", "max_sentences", "max_queue", "timeout", "max_videos"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}.")
        for folder in self.allow_folders:
            if not folder.is_dir():
                raise ValueError(f"The allowed folder {folder} does not exist.")
        for prefix in self.allow_url_prefixes:
            parts = urlsplit(prefix)
            # Without a slash after the host, https://a.org would allow https://a.org.other.org.
            if parts.scheme not in ("http", "https") or not parts.hostname or not prefix.endswith("/"):
                raise ValueError(
                    f"The allowed address {prefix!r} must begin with http:// or https://, and end with a slash."
                )

    def check_path(self, path: str) -> Path:
        """The file that a client named, links followed.

        Raises:
            ServiceError: It is in no allowed folder, or does not exist.
        """
        try:
            resolved = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):
            raise ServiceError(422, "This is no path.") from None
        # Whether a file exists elsewhere is not told.
        if not any(resolved.is_relative_to(folder.resolve()) for folder in self.allow_folders):
            raise ServiceError(403, "The server does not allow this path: upload the file.")
        if not resolved.is_file():
            raise ServiceError(404, "There is no such video file.")
        return resolved

    def check_video(self, path: Path) -> None:
        """Check that a file is a video of the allowed length.

        Raises:
            ServiceError: It is not.
        """
        try:
            duration = VideoReader(path).metadata.duration
        except VideoReadError as error:
            raise _about_file(error, path) from error
        if duration > 60 * self.max_minutes:
            raise ServiceError(
                413,
                f"The video lasts {format_time(duration, decimals=0)}, and the server takes {self.max_minutes:g} minutes.",
            )

    def check_url(self, url: str) -> str:
        """The address that a client named.

        Raises:
            ServiceError: It is not allowed.
        """
        steps = unquote(unquote(url)).replace("\\", "/").split("/")
        is_plain = url.isascii() and url.isprintable() and " " not in url and ".." not in steps
        if not (is_plain and any(url.startswith(prefix) for prefix in self.allow_url_prefixes)):
            raise ServiceError(403, "The server does not allow this address: upload the file.")
        return url


def _about_file(error: VideoReadError, path: Path) -> ServiceError:
    """What is wrong with a file, without where the server keeps it."""
    return ServiceError(422, str(error).replace(str(path), "The file").replace(path.name, "The file"))


class AnswerService:
    """Encodes videos and answers questions, for any number of threads at once.

    One worker thread runs the models, so that every client gets what a single one would.

    Args:
        pipeline: The pipeline.
        settings: What the operator allows.
    """

    def __init__(self, pipeline: VideoMomentRetrievalPipeline, settings: ServiceSettings):
        self.settings = settings
        self._pipeline = pipeline
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="videolights")
        self._lock = threading.Lock()
        self._in_flight = 0
        self._videos: OrderedDict[str, VideoFeatures] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """Requests that upload, wait or run."""
        return self._in_flight

    @property
    def num_videos(self) -> int:
        """Encoded videos that are kept."""
        return len(self._videos)

    @contextlib.contextmanager
    def place_in_queue(self) -> Iterator[None]:
        """Take a place in the queue.

        Raises:
            ServiceError: It is full.
        """
        with self._lock:
            if self._in_flight >= self.settings.max_queue:
                raise ServiceError(503, f"{self._in_flight} requests are waiting already: try again later.")
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def add(self, path: Path, on_progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        """Encode a video file and keep it: its id, duration, clip length and number of clips.

        Args:
            path: The file.
            on_progress: Called in the worker's thread with the part that is done, up to 1.

        Raises:
            ServiceError: It is no video, or too long, or encoding takes too long.
        """
        video = self._run(lambda: self._encode(path, on_progress))
        key = secrets.token_urlsafe(12)
        with self._lock:
            self._videos[key] = video
            while len(self._videos) > self.settings.max_videos:
                self._videos.popitem(last=False)
        return {
            "id": key,
            "duration": video.duration,
            "clip_length": video.clip_length,
            "num_clips": video.num_clips,
        }

    def ask(self, key: str, sentences: list[str], options: dict[str, Any]) -> list[MomentResult]:
        """Moments of a video that was added.

        Args:
            key: Its id.
            sentences: What to look for.
            options: Arguments of the pipeline's call.

        Raises:
            ServiceError: There is no such video (any more), a sentence is empty or there are too many, or an option
                makes no sense.
        """
        if len(sentences) > self.settings.max_sentences:
            raise ServiceError(422, f"{len(sentences)} sentences are too many: ask for {self.settings.max_sentences}.")
        with self._lock:
            video = self._videos.get(key)
            if video is None:
                raise ServiceError(404, "There is no such video (any more): add it again.")
            self._videos.move_to_end(key)
        return self._run(lambda: self._pipeline(video, sentences, show_progress=False, **options))

    def remove(self, key: str) -> None:
        """Forget a video.

        Raises:
            ServiceError: There is no such video.
        """
        with self._lock:
            if self._videos.pop(key, None) is None:
                raise ServiceError(404, "There is no such video (any more).")

    def close(self) -> None:
        """Take no more work, and end when the present piece is done."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _encode(self, path: Path, on_progress: Callable[[float], None] | None) -> VideoFeatures:
        self.settings.check_video(path)
        try:
            encode = self._pipeline.processor.encode_video
            return encode(path) if on_progress is None else encode(path, on_progress=on_progress)
        except VideoReadError as error:
            raise _about_file(error, path) from error

    def _run(self, work: Callable[[], _Result]) -> _Result:
        future: Future[_Result] = self._worker.submit(work)
        try:
            return future.result(timeout=self.settings.timeout)
        except (FutureTimeoutError, CancelledError):
            # What has begun cannot be stopped; what waits is dropped.
            future.cancel()
            raise ServiceError(504, f"This took more than {self.settings.timeout:g} seconds.") from None
        except ValueError as error:
            raise ServiceError(422, str(error)) from error


__all__ = ["AnswerService", "ServiceError", "ServiceSettings"]
