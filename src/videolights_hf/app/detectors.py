"""The models behind the app, loaded when they are first needed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..demo.bundled import demo_checkpoint
from ..deploy.answers import AnswerService, ServiceError, ServiceSettings
from ..deploy.runner import load_pipeline
from ..inference.generic import answer_or_highlight
from ..inference.moments import MomentResult
from ..inference.pipeline import VideoMomentRetrievalPipeline
from ..inference.zero_shot import zero_shot_pipeline
from .videos import AppVideo

TOP_K = 5
_GONE = 404


@dataclass(frozen=True)
class Detector:
    """A model of the app.

    Attributes:
        name: What the page calls it.
        load: Loads it.
        note: What people should know of its answers.
    """

    name: str
    load: Callable[[], VideoMomentRetrievalPipeline]
    note: str = ""

    def loaded(self) -> Detector:
        """The same one, loaded now."""
        pipeline = self.load()
        return replace(self, load=lambda: pipeline)


ZERO_SHOT_NOTE = "It compares each clip's picture with the sentence and was not trained to find moments."
ZERO_SHOT = Detector("zero-shot", zero_shot_pipeline, ZERO_SHOT_NOTE)
BUNDLED = Detector(
    "the bundled model", lambda: load_pipeline(demo_checkpoint()), "It knows only a made-up world of colored shapes."
)


class Answerer:
    """Answers questions about videos by one model, which is loaded for the first of them.

    Args:
        detector: The model.
        limits: Limits.
    """

    def __init__(self, detector: Detector, limits: ServiceSettings):
        self.detector = detector
        self._limits = limits
        self._lock = threading.Lock()
        self._service: AnswerService | None = None

    def load(self) -> AnswerService:
        """The model at work; it is loaded once.

        Raises:
            OSError: There is no such model, and it cannot be downloaded.
            ValueError: It cannot be used.
        """
        with self._lock:
            if self._service is None:
                pipeline = self.detector.load()
                pipeline.processor.find_backbones()
                self._service = AnswerService(pipeline, self._limits)
            return self._service

    def answer(
        self, video: AppVideo, sentences: Sequence[str], on_progress: Callable[[float], None]
    ) -> list[MomentResult]:
        """The results for each sentence, or the highlights without one. A video is encoded for the first question.

        Args:
            video: The video.
            sentences: What to look for.
            on_progress: Called with the part of the video that is encoded, up to 1.

        Raises:
            ServiceError: The question cannot be answered.
            OSError: The model cannot be loaded.
            ValueError: The model cannot be used.
        """
        service = self.load()
        with service.place_in_queue():
            try:
                return self._ask(service, video, sentences, on_progress)
            except ServiceError as error:
                if error.status != _GONE:
                    raise
                # Others had so many videos encoded that this one was forgotten.
                video.key = None
                return self._ask(service, video, sentences, on_progress)

    def forget(self, video: AppVideo) -> None:
        """Drop what was encoded of a video."""
        if self._service is not None and video.key is not None:
            # It may have gone before, when others were added.
            with contextlib.suppress(ServiceError):
                self._service.remove(video.key)

    def close(self) -> None:
        """End the worker."""
        if self._service is not None:
            self._service.close()

    def _ask(
        self, service: AnswerService, video: AppVideo, sentences: Sequence[str], on_progress: Callable[[float], None]
    ) -> list[MomentResult]:
        # Whoever asks about the same video waits here, and then finds it encoded.
        with video.lock:
            if video.key is None:
                video.key = service.add(video.path, on_progress)["id"]
            key = video.key
        return answer_or_highlight(lambda asked: service.ask(key, asked, {"top_k": TOP_K}), sentences, TOP_K)


__all__ = ["BUNDLED", "ZERO_SHOT", "ZERO_SHOT_NOTE", "Answerer", "Detector"]
