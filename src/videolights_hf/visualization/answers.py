"""What pictures of predictions show: a query, its truth, and what models answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..inference.moments import Moment, MomentResult
from .truth import true_saliency


@dataclass(frozen=True)
class QueryAnswers:
    """A query with its truth and the answers of several models.

    Attributes:
        query: The sentence.
        duration: Seconds of the video.
        clip_length: Seconds per clip of the truth.
        answers: What each model says, by its name: results of the pipeline, or `answer_of_row`.
        moments: The true moments, (start, end) in seconds.
        saliency: The true saliency (L,), if it is known.
        video: The video, for frames: a path, a binary file object, or a [`VideoSource`].
        note: A line below the sentence.
    """

    query: str
    duration: float
    clip_length: float
    answers: Mapping[str, MomentResult]
    moments: list[tuple[float, float]] = field(default_factory=list)
    saliency: np.ndarray | None = None
    video: Any = None
    note: str = ""

    @classmethod
    def of_row(
        cls, row: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]], clip_length: float, **options: Any
    ) -> QueryAnswers:
        """A query as an annotation row has it, and rows of the submission format by name of the model.

        Args:
            row: The annotation.
            answers: By name of the model its prediction, a row of a submission file.
            clip_length: Seconds per clip.
            **options: `video` and `note`.
        """
        duration = len(row["label"]) * clip_length if row.get("label") else float(row["duration"])
        return cls(
            query=str(row["query"]),
            duration=duration,
            clip_length=clip_length,
            answers={
                name: answer_of_row(answer, str(row["query"]), duration, clip_length)
                for name, answer in answers.items()
            },
            moments=[(float(start), float(end)) for start, end in row.get("relevant_windows") or []],
            saliency=true_saliency(row, clip_length),
            **options,
        )

    def best_moments(self, model: str, at_most: int | None = None) -> list[Moment]:
        """A model's best moments: as many as are true, at least one, or `at_most`."""
        wanted = max(1, len(self.moments)) if at_most is None else at_most
        return sorted(self.answers[model]["moments"], key=lambda moment: -moment["score"])[:wanted]


def answer_of_row(row: Mapping[str, Any], query: str, duration: float, clip_length: float) -> MomentResult:
    """A row of a submission file in the form of the pipeline's results; without `clip_length`, it has the truth's."""
    moments = [
        Moment(start=float(start), end=float(end), score=float(score))
        for start, end, score in row.get("pred_relevant_windows") or []
    ]
    return MomentResult(
        query=query,
        moments=moments,
        saliency=list(row.get("pred_saliency_scores") or []),
        clip_length=float(row.get("clip_length") or clip_length),
        duration=duration,
    )


__all__ = ["QueryAnswers", "answer_of_row"]
