"""From the model's outputs on a split to predictions in the submission format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..inference.moments import MomentSelection, select_moments, windows_in_seconds


def submission_rows(
    annotations: Sequence[Mapping[str, Any]],
    scores: np.ndarray,
    spans: np.ndarray,
    saliency: np.ndarray,
    num_clips: np.ndarray,
    clip_length: float,
    selection: MomentSelection | None,
) -> list[dict[str, Any]]:
    """Predictions of the released evaluation, one row per query.

    Moments are fractions of the annotated duration. Saliency is rounded to float16, in which the release writes it:
    ties count in the metrics.

    Args:
        annotations: Q rows with `qid`, `query`, `vid` and `duration` (seconds).
        scores: (Q, M) foreground probability of each moment.
        spans: (Q, M, 2) moments as (center, width) fractions.
        saliency: (Q, L) score of each clip; what lies behind a video's last clip is not read.
        num_clips: (Q,) clips of each video.
        clip_length: Seconds per clip.
        selection: Which moments are kept; `None` for a highlight-only model, which predicts none.

    Returns:
        Rows with `qid`, `query`, `vid`, `pred_relevant_windows` ([start, end, score], best first) if there are
        moments, and `pred_saliency_scores`.

    Raises:
        ValueError: The number of predictions differs from the number of queries.
    """
    if len(annotations) != len(scores):
        raise ValueError(f"{len(scores)} predictions for {len(annotations)} queries: one for each is needed.")
    half = saliency.astype(np.float16)
    rows = []
    for index, annotation in enumerate(annotations):
        row = {key: annotation[key] for key in ("qid", "query", "vid")}
        if selection is not None:
            duration = annotation["duration"]
            windows = windows_in_seconds(spans[index], scores[index], duration)
            moments = select_moments(windows, duration, clip_length, selection)
            row["pred_relevant_windows"] = [[moment["start"], moment["end"], moment["score"]] for moment in moments]
        row["pred_saliency_scores"] = half[index, : int(num_clips[index])].tolist()
        rows.append(row)
    return rows
