"""From a model's outputs on a split to predictions in the submission format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.time_axis import TimeAxis
from ..inference.moments import MomentSelection, select_moments, windows_in_seconds


@dataclass(frozen=True)
class SplitOutputs:
    """A model's outputs on Q queries, padded to the same number of clips L.

    Attributes:
        scores: (Q, M) foreground probability of each moment.
        spans: (Q, M, 2) moments as (center, width) fractions.
        saliency: (Q, L) score of each clip; values after a video's last clip are not read.
        num_clips: (Q,) clips of each video.
    """

    scores: np.ndarray
    spans: np.ndarray
    saliency: np.ndarray
    num_clips: np.ndarray

    def are_finite(self) -> bool:
        """Whether every value of every video is a finite number."""
        inside = np.arange(self.saliency.shape[1]) < self.num_clips[:, None]
        return bool(
            np.isfinite(self.scores).all()
            and np.isfinite(self.spans).all()
            and np.isfinite(self.saliency[inside]).all()
        )


def submission_rows(
    annotations: Sequence[Mapping[str, Any]],
    outputs: SplitOutputs,
    clip_length: float,
    selection: MomentSelection | None,
) -> list[dict[str, Any]]:
    """Predictions as the released evaluation makes them, one row per query.

    Moments are fractions of the annotated duration, or of what the clips cover where that differs by more than a clip
    (see `TimeAxis`). Saliency next to moments is rounded to float16, in which the
    release writes and scores it (ties count in the metrics); without moments it stays float32, as the release ranks
    TVSum and YouTube Highlights.

    Args:
        annotations: Q rows with `qid`, `query`, `vid` and `duration` (seconds).
        outputs: The model's outputs, in the order of the annotations.
        clip_length: Seconds per clip.
        selection: Which moments are kept; `None` for highlight-only models, which predict none.

    Returns:
        Rows with `qid`, `query`, `vid`, `pred_relevant_windows` ([start, end, score], best first) if there are
        moments, and `pred_saliency_scores`.

    Raises:
        ValueError: There is not one prediction for each query.
    """
    if len(annotations) != len(outputs.scores):
        raise ValueError(
            f"{len(outputs.scores)} predictions for {len(annotations)} queries: one for each query is needed."
        )
    saliency = outputs.saliency.astype(np.float32 if selection is None else np.float16)
    rows = []
    for index, annotation in enumerate(annotations):
        row = {key: annotation[key] for key in ("qid", "query", "vid")}
        if selection is not None:
            duration = annotation["duration"]
            seconds = TimeAxis(duration, int(outputs.num_clips[index]), clip_length).seconds
            windows = windows_in_seconds(outputs.spans[index], outputs.scores[index], seconds)
            moments = select_moments(windows, duration, clip_length, selection)
            row["pred_relevant_windows"] = [[moment["start"], moment["end"], moment["score"]] for moment in moments]
        row["pred_saliency_scores"] = saliency[index, : int(outputs.num_clips[index])].tolist()
        rows.append(row)
    return rows
