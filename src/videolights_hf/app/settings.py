"""What the operator of the app decides: which videos it offers, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..deploy.answers import ServiceSettings
from ..inference.generic import GENERIC_QUERIES


@dataclass(frozen=True)
class AppSettings:
    """What the operator decides.

    Attributes:
        videos: Video files to choose from, beside the bundled ones.
        max_megabytes: Largest video that can be uploaded.
        max_minutes: Longest video.
        max_sentences: Sentences per question.
        max_queue: Requests that wait or run at once.
        keep_minutes: Uploads and results of somebody who does nothing are deleted after this.
        grace_seconds: Those of somebody who closed the page are deleted after this; a page may lose its connection for a
            moment.

    Raises:
        FileNotFoundError: A video does not exist.
        ValueError: A limit makes no sense.
    """

    videos: tuple[Path, ...] = ()
    max_megabytes: float = 500
    max_minutes: float = 60
    max_sentences: int = 8
    max_queue: int = 16
    keep_minutes: float = 60
    grace_seconds: float = 120

    def __post_init__(self) -> None:
        for name, lowest in (("max_sentences", 1), ("grace_seconds", 0)):
            if getattr(self, name) < lowest:
                raise ValueError(f"`{name}` must be at least {lowest}, got {getattr(self, name)}.")
        if not self.keep_minutes > 0:
            raise ValueError(f"`keep_minutes` must be positive, got {self.keep_minutes}.")
        for video in self.videos:
            if not video.is_file():
                raise FileNotFoundError(f"No such video file: {video}")
        # Checks the others.
        self.limits()

    def limits(self) -> ServiceSettings:
        """The limits that the app shares with the HTTP service."""
        return ServiceSettings(
            max_megabytes=self.max_megabytes,
            max_minutes=self.max_minutes,
            # Highlights without a sentence ask for these.
            max_sentences=max(self.max_sentences, len(GENERIC_QUERIES)),
            max_queue=self.max_queue,
            # The page shows progress, and long videos take their time.
            timeout=3600,
        )


__all__ = ["AppSettings"]
