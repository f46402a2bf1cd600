"""What people do at the app, without how it looks: choose a video, ask about it, save what was found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from ..deploy.answers import ServiceError
from ..results.answers import VideoAnswers
from ..results.formats import FORMATS
from ..results.picture import picture_data
from .detectors import Answerer, Detector
from .sessions import Session, Sessions
from .settings import AppSettings
from .videos import AppVideo, offered_videos

logger = logging.getLogger(__name__)


class SavedFile(TypedDict):
    """A file to save: its address, relative to the page's, and its name."""

    address: str
    name: str


class Message(TypedDict):
    """What the page says: news, or what went wrong; and perhaps a file."""

    text: str
    is_error: bool
    file: SavedFile | None


class Export(NamedTuple):
    """A kind of file to save.

    Attributes:
        label: What its button says.
        format: Name of the format in `FORMATS`.
        ending: What follows the video's name in the file's.
    """

    label: str
    format: str
    ending: str


EXPORTS = (
    Export("JSON", "json", ".json"),
    Export("CSV table", "csv", ".csv"),
    Export("Chapters (WebVTT)", "vtt", ".vtt"),
    Export("EDL", "edl", ".edl"),
    Export("OpenTimelineIO", "otio", ".otio"),
    Export("Page with player", "embedded html", ".html"),
    Export("Excerpts (zip)", "cuts", "-excerpts.zip"),
    Export("Reel", "reel", "-reel.mp4"),
    Export("GIF", "gif", ".gif"),
)


class AppError(Exception):
    """What cannot be done, in words for the person at the page."""


class Actions:
    """What people do at the app.

    Args:
        settings: What the operator decides.
        general: The model for people's videos.
        bundled: The model for the bundled videos.
    """

    def __init__(self, settings: AppSettings, general: Detector, bundled: Detector):
        self.settings = settings
        self.videos = offered_videos(settings.videos)
        limits = settings.limits()
        self._general = Answerer(general, limits)
        self._bundled = self._general if bundled is general else Answerer(bundled, limits)
        self.sessions = Sessions(60 * settings.keep_minutes, settings.grace_seconds, self._forget)

    def choose(self, session: Session, label: str) -> dict[str, Any]:
        """Show a video that the app offers; gives what the picture shows.

        Raises:
            AppError: There is none of this name.
        """
        video = self.videos.get(label)
        if video is None:
            raise AppError("Choose a video from the list, or upload one.")
        return self._show(session, video)

    def upload(self, session: Session, upload: str) -> dict[str, Any]:
        """Show a video that was uploaded; gives what the picture shows.

        Raises:
            AppError: It is no video, or beyond the limits.
        """
        with _errors_for_people():
            video = self.sessions.take_upload(session, Path(upload))
            try:
                if video.path.stat().st_size > self.settings.max_megabytes * 2**20:
                    raise AppError(f"The file is larger than {self.settings.max_megabytes:g} MB.")
                self.settings.limits().check_video(video.path)
            except BaseException:
                video.path.unlink(missing_ok=True)
                raise
            return self._show(session, video)

    def ask(self, session: Session, text: str, on_progress: Callable[[float], None]) -> tuple[dict[str, Any], str]:
        """Look for what each line of a text describes, or for highlights.

        Args:
            session: Who asks.
            text: A sentence on each line; none for highlights.
            on_progress: Called with the part of the video that is encoded, up to 1.

        Returns:
            What the picture shows, and a sentence about it.

        Raises:
            AppError: There is no answer.
        """
        video = session.video
        if video is None:
            raise AppError("Choose a video first. What was here before is deleted when nobody uses it.")
        sentences = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
        if len(sentences) > self.settings.max_sentences:
            raise AppError(f"These are {len(sentences)} sentences: ask for {self.settings.max_sentences} at once.")
        answerer = self._answerer(video)
        with _errors_for_people(answerer.detector.name):
            results = answerer.answer(video, sentences, on_progress)
            answers = VideoAnswers(video.name, answerer.detector.name, results, str(video.path))
            shown = picture_data(answers)
        if session.video is not video:
            raise AppError("Another video was chosen in the meantime: ask again.")
        session.answers = answers
        count = sum(len(moments) for _, moments in answers.shown())
        found = f"{count} moment{'' if count == 1 else 's'}" if count else "No moment"
        return {"title": video.name, **shown}, " ".join(
            [f"{found}, found by {answerer.detector.name}.", answerer.detector.note]
        )

    def export(self, session: Session, export: Export) -> SavedFile:
        """Write what was found to a file.

        Raises:
            AppError: Nothing was found, or the file cannot be written.
        """
        answers = session.answers
        if answers is None:
            raise AppError("Nothing was found yet: ask first.")
        name = Path(answers.video).stem + export.ending
        # One path for each kind: the next one replaces it.
        path = session.folder / f"saved{export.ending}"
        with _errors_for_people():
            if FORMATS[export.format].write(answers, path) is False:
                raise AppError("There is no moment to save: all scores are low.")
        return {"address": session.publish(path, name), "name": name}

    def close(self) -> None:
        """End the work and delete all files."""
        self._general.close()
        self._bundled.close()
        self.sessions.close()

    def _answerer(self, video: AppVideo) -> Answerer:
        return self._bundled if video.is_bundled else self._general

    def _show(self, session: Session, video: AppVideo) -> dict[str, Any]:
        return {"title": video.name, "video": self.sessions.choose(session, video), "predictions": []}

    def _forget(self, video: AppVideo) -> None:
        self._answerer(video).forget(video)


@contextmanager
def _errors_for_people(model: str | None = None) -> Iterator[None]:
    """Words for people in place of errors; where the server keeps its files is its own business."""
    try:
        yield
    except AppError:
        raise
    except ServiceError as error:
        raise AppError(error.message) from error
    except (ValueError, MemoryError) as error:
        raise AppError(" ".join(str(error).split()) or "The server has not enough memory for this.") from error
    except (OSError, ImportError) as error:
        logger.warning("%s", error)
        if model is None:
            raise AppError("The file cannot be read or written: upload it again.") from error
        raise AppError(
            f"The model ({model}) is not on this server and cannot be downloaded. The bundled videos need no download; for "
            "others start the app with --model."
        ) from error
    except Exception as error:
        logger.exception("The app failed.")
        raise AppError("This is a fault of the program: the server's log says more.") from error


__all__ = ["EXPORTS", "Actions", "AppError", "Export", "Message", "SavedFile"]
