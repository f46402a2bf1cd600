"""People at the app: what each has chosen and found, the files that belong to them, and the end of both."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ..results.answers import VideoAnswers
from .videos import AppVideo

# An upload waits this long for the page to say that it is there.
UPLOAD_SECONDS = 300.0
SWEEP_SECONDS = 15.0


@dataclass(eq=False)
class Session:
    """One open page.

    Attributes:
        key: Stands in the addresses of its files, and cannot be guessed.
        folder: Its files; nobody else's are there.
        expires: When it is deleted, on the clock of `time.monotonic`.
        files: What may be read under its address, by name.
        video: What was chosen.
        answers: What was found in it.
    """

    key: str
    folder: Path
    expires: float
    files: dict[str, Path] = field(default_factory=dict)
    video: AppVideo | None = None
    answers: VideoAnswers | None = None

    def publish(self, path: Path, name: str) -> str:
        """Make a file readable for this page; gives its address, relative to the page's."""
        self.files[name] = path
        # The number has a browser load what has changed.
        return f"media/{self.key}/{quote(name)}?{secrets.token_hex(4)}"


class Sessions:
    """All open pages.

    Args:
        keep_seconds: A page that does nothing is forgotten after this.
        grace_seconds: A page that was closed is forgotten after this.
        on_end: Called with the upload of a page that is forgotten or gets another one.
    """

    def __init__(self, keep_seconds: float, grace_seconds: float, on_end: Callable[[AppVideo], None]):
        self.keep_seconds = keep_seconds
        self.grace_seconds = grace_seconds
        self._on_end = on_end
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._root = tempfile.TemporaryDirectory(prefix="videolights-app-")
        self.uploads = Path(self._root.name) / "uploads"
        self.uploads.mkdir()
        self._stopped = threading.Event()
        threading.Thread(target=self._sweep_regularly, name="videolights-app-sweep", daemon=True).start()

    def get(self, name: str) -> Session:
        """The session of a page, by the name that the page has for the server; a new one for a new page."""
        with self._lock:
            session = self._sessions.get(name)
            if session is None:
                folder = Path(tempfile.mkdtemp(prefix="page-", dir=self._root.name))
                session = self._sessions[name] = Session(secrets.token_urlsafe(24), folder, 0)
            session.expires = time.monotonic() + self.keep_seconds
            return session

    def find_file(self, key: str, name: str) -> Path | None:
        """The file of an address, if the page that it belongs to is there and has published it."""
        with self._lock:
            for session in self._sessions.values():
                if secrets.compare_digest(session.key.encode(), key.encode(errors="replace")):
                    return session.files.get(name)
        return None

    def choose(self, session: Session, video: AppVideo) -> str:
        """Give a page another video; gives the video's address."""
        previous, session.video, session.answers = session.video, video, None
        session.files.clear()
        if previous is not None and previous.path.is_relative_to(session.folder):
            self._on_end(previous)
            with contextlib.suppress(OSError):
                previous.path.unlink()
        return session.publish(video.path, "video" + video.path.suffix.lower())

    def take_upload(self, session: Session, upload: Path) -> AppVideo:
        """The video of an uploaded file, in the page's folder.

        Raises:
            FileNotFoundError: The file is not one that was uploaded, or it is gone.
        """
        upload = upload.resolve()
        if not upload.is_relative_to(self.uploads.resolve()) or not upload.is_file():
            raise FileNotFoundError("The upload is gone: upload the file again.")
        path = session.folder / (secrets.token_hex(8) + upload.suffix)
        # Two people may have uploaded the same file to the same place: the second needs it, too.
        try:
            os.link(upload, path)
        except OSError:
            shutil.copyfile(upload, path)
        return AppVideo(upload.name, path)

    def leave(self, name: str) -> None:
        """A page was closed, or has lost its connection."""
        with self._lock:
            session = self._sessions.get(name)
            if session is not None:
                session.expires = min(session.expires, time.monotonic() + self.grace_seconds)
        if self.grace_seconds == 0:
            self.sweep()

    def sweep(self) -> None:
        """Delete what nobody needs any more."""
        now = time.monotonic()
        with self._lock:
            over = [name for name, session in self._sessions.items() if session.expires <= now]
            ended = [self._sessions.pop(name) for name in over]
        for session in ended:
            if session.video is not None and session.video.path.is_relative_to(session.folder):
                self._on_end(session.video)
            shutil.rmtree(session.folder, ignore_errors=True)
        self._sweep_uploads()

    def close(self) -> None:
        """Forget all pages and delete all files."""
        self._stopped.set()
        with self._lock:
            self._sessions.clear()
        self._root.cleanup()

    def _sweep_regularly(self) -> None:
        while not self._stopped.wait(SWEEP_SECONDS):
            self.sweep()

    def _sweep_uploads(self) -> None:
        oldest = time.time() - min(UPLOAD_SECONDS, self.keep_seconds)
        for path in sorted(self.uploads.rglob("*"), reverse=True):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    # Of folders only an empty one goes.
                    path.rmdir() if path.is_dir() else path.unlink()


__all__ = ["Session", "Sessions"]
