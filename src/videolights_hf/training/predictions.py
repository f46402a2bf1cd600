"""From the model's outputs on a split to predictions in the submission format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..inference.moments import select_moments
from ..models.spans import center_width_to_start_end


def submission_rows(
    annotations: Sequence[Mapping[str, Any]],
    scores: np.ndarray,
    spans: np.ndarray,
    saliency: np.ndarray,
    num_clips: np.ndarray,
    *,
    clip_length: float | None,
    moment_bounds: Sequence[float] | None = None,
    nms_threshold: float | None = None,
    max_after_nms: int = 10,
    with_moments: bool = True,
) -> list[dict[str, Any]]:
    """Predictions of the released evaluation, one row a query.

    Moments are fractions of the annotated duration. Saliency is rounded to float16, in which the release writes it:
    ties count in the metrics.

    Args:
        annotations: Q rows with `qid`, `query`, `vid` and `duration` (seconds).
        scores: (Q, M) foreground probability of each moment.
        spans: (Q, M, 2) moments as (centre, width) fractions.
        saliency: (Q, L) score of each clip; what lies behind a video's last clip is not read.
        num_clips: (Q,) clips of each video.
        clip_length: Round moments to multiples of this many seconds; `None`: do not.
        moment_bounds: Clamp moments to these times in seconds; `None`: do not.
        nms_threshold: Temporal IoU above which the worse of two moments is removed; `None`: keep all.
        max_after_nms: At most so many moments are left by the suppression.
        with_moments: Whether to predict moments at all (not for highlight-only models).

    Returns:
        Rows with `qid`, `query`, `vid`, `pred_relevant_windows` ([start, end, score], best first) if there are
        moments, and `pred_saliency_scores`.

    Raises:
        ValueError: If there is not one prediction for each query.
    """
    if len(annotations) != len(scores):
        raise ValueError(f"{len(scores)} predictions for {len(annotations)} queries: one for each is needed.")
    start_end = center_width_to_start_end(torch.from_numpy(spans)).numpy()
    half = saliency.astype(np.float16)
    rows = []
    for index, annotation in enumerate(annotations):
        row = {key: annotation[key] for key in ("qid", "query", "vid")}
        if with_moments:
            duration = annotation["duration"]
            moments = select_moments(
                np.concatenate([start_end[index] * duration, scores[index, :, None]], axis=1),
                duration,
                clip_length=clip_length,
                clamp=None if moment_bounds is None else tuple(moment_bounds),
                nms_threshold=nms_threshold,
                max_after_nms=max_after_nms,
            )
            row["pred_relevant_windows"] = [[moment["start"], moment["end"], moment["score"]] for moment in moments]
        row["pred_saliency_scores"] = half[index, : int(num_clips[index])].tolist()
        rows.append(row)
    return rows
