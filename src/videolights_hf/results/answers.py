"""What was found in one video, as the writers of all formats take it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..inference.moments import Moment, MomentResult, low_score_note


class Span(NamedTuple):
    """A piece of a video, in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class VideoAnswers:
    """What was found in one video.

    Attributes:
        video: The video as the user named it.
        model: The model as the user named it.
        predictions: What the pipeline returned for each sentence.
        path: The video's file, if it is not the one that `video` names (standard input).
    """

    video: str
    model: str
    predictions: Sequence[MomentResult]
    path: str | None = None

    @property
    def file(self) -> str:
        """The video's file."""
        return self.video if self.path is None else self.path

    @property
    def title(self) -> str:
        """What to call the video."""
        return os.path.basename(self.video) or self.video

    def content(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {"video": self.video, "model": self.model, "predictions": list(self.predictions)}

    def shown(self) -> list[tuple[str, list[Moment]]]:
        """Each sentence with its moments, best first; none where all scores are low."""
        return [(result["query"], sure_moments(result)) for result in self.predictions]

    def spans(self) -> list[Span]:
        """The pieces that these moments cover, in the order of the video; those that touch are one."""
        return merge_spans(Span(m["start"], m["end"]) for _, moments in self.shown() for m in moments)


def sure_moments(result: MomentResult) -> list[Moment]:
    """The moments of a result, best first; none if all scores are so low that the video hardly shows the sentence."""
    return [] if low_score_note(result["moments"]) else list(result["moments"])


def merge_spans(spans: Iterable[tuple[float, float]]) -> list[Span]:
    """Sort (start, end) pairs, and join those that overlap or touch."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(end, merged[-1].end))
        else:
            merged.append(Span(start, end))
    return merged


def video_beside(answers: VideoAnswers, output: Path) -> str:
    """The video's path as seen from the folder of a file that is written."""
    video = Path(answers.file).absolute()
    try:
        return Path(os.path.relpath(video, output.absolute().parent)).as_posix()
    except ValueError:
        # On another drive.
        return video.as_posix()
