"""What annotations say of each clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..metrics.highlight_detection import clips_of_videos


def true_saliency(row: Mapping[str, Any], clip_length: float) -> np.ndarray | None:
    """The true saliency (L,) of the clips of a query.

    Args:
        row: An annotation row.
        clip_length: Seconds per clip.

    Returns:
        The mean of the annotators (0 to 4 on QVHighlights, 0 outside the rated clips; 1 to 5 on TVSum). Where only moments
        are annotated, 1 on clips whose middle lies in one, else 0. `None` without labels.

    Raises:
        ValueError: A rated clip lies outside the video, as with a wrong clip length, or the duration is no video's.
    """
    if row.get("label"):
        return np.asarray(row["label"], dtype=np.float64).mean(axis=1)
    num_clips = int(clips_of_videos([row["duration"]], clip_length, [row.get("qid")])[0])
    saliency = np.zeros(num_clips)
    if row.get("saliency_scores") is not None and row.get("relevant_clip_ids") is not None:
        for clip, ratings in zip(row["relevant_clip_ids"], row["saliency_scores"], strict=True):
            if not 0 <= clip < num_clips:
                raise ValueError(
                    f"Query {row.get('qid')!r}: relevant clip {clip} lies outside the video, which has {num_clips} clips of "
                    f"{clip_length:g} s: give the clip length of the annotations."
                )
            saliency[clip] = np.mean(ratings)
        return saliency
    if row.get("relevant_windows") is None:
        return None
    middles = (np.arange(num_clips) + 0.5) * clip_length
    for start, end in row["relevant_windows"]:
        saliency[(middles > start) & (middles < end)] = 1
    return saliency


__all__ = ["true_saliency"]
