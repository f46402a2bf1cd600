"""Highlight detection on QVHighlights: mean average precision and HIT@1 at three levels of saliency.

Annotators rate every clip of the relevant moments from 0 to 4. A clip is a highlight for an annotator at level Fair,
Good or VeryGood if the rating is at least 2, 3 or 4 (Lei et al., 2021). Everything is computed over all queries at
once.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from .common import as_percent, check_same_length, label_of, pad_rows

SALIENCY_LEVELS: dict[str, int] = {"Fair": 2, "Good": 3, "VeryGood": 4}
"""Lowest rating at which a clip is a highlight, by name of the level."""


def clip_ratings(
    durations: Sequence[float],
    relevant_clip_ids: Sequence[Sequence[int]],
    saliency_scores: Sequence[Sequence[Sequence[float]]],
    clip_length: float = 2.0,
    qids: Sequence[Hashable] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ratings of every clip of every video; clips outside the relevant ones are rated 0.

    Args:
        durations: Seconds of video per query; a video has int(duration / clip_length) clips.
        relevant_clip_ids: Per query, the indices of its N_q rated clips.
        saliency_scores: Per query, the ratings of these clips, shape `(N_q, A)`, A annotators.
        clip_length: Seconds per clip.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Ratings `(Q, L, A)`, 0 on padding, and the mask of real clips `(Q, L)`.

    Raises:
        ValueError: If a clip id lies outside its video, ids and ratings differ in number, or the number of
            annotators varies.
    """
    check_same_length(durations, relevant_clip_ids, "durations and relevant_clip_ids")
    check_same_length(relevant_clip_ids, saliency_scores, "relevant_clip_ids and saliency_scores")
    for row, (ids, scores) in enumerate(zip(relevant_clip_ids, saliency_scores)):
        if len(ids) != len(scores):
            raise ValueError(
                f"query {label_of(qids, row)} has {len(ids)} relevant_clip_ids but {len(scores)} saliency_scores"
            )
    num_annotators = next((len(scores[0]) for scores in saliency_scores if len(scores)), 1)
    values, mask = pad_rows(saliency_scores, name="saliency_scores", columns=num_annotators, qids=qids)
    clip_ids = pad_rows(relevant_clip_ids, name="relevant_clip_ids", qids=qids)[0].astype(np.int64)

    num_clips = (np.asarray(durations, dtype=np.float64) / clip_length).astype(np.int64)
    outside = mask & ((clip_ids < 0) | (clip_ids >= num_clips[:, None]))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"query {label_of(qids, row)}: relevant clip {clip_ids[row, column]} lies outside the video, which has "
            f"{num_clips[row]} clips of {clip_length} s"
        )
    clip_mask = np.arange(num_clips.max(initial=0)) < num_clips[:, None]
    ratings = np.zeros((*clip_mask.shape, num_annotators))
    query, _ = np.nonzero(mask)
    ratings[query, clip_ids[mask]] = values[mask]
    return ratings, clip_mask


def average_precision(
    predicted_saliency: Sequence[Sequence[float]],
    labels: np.ndarray,
    clip_mask: np.ndarray | None = None,
    qids: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Average precision of every query for every labelling of its clips.

    The precision-recall curve has one point per distinct score: tied clips enter together. Precision is made monotone
    from the lowest score up, and averaged, unweighted, over the points at which recall changes. Without ties that is
    the recall-weighted average precision.

    Args:
        predicted_saliency: Per query, one score per clip, shape `(L_q,)`. Scores past the video's last clip are cut,
            missing ones count as 0. An empty row is a query without a prediction and scores 0.
        labels: True for a positive clip, shape `(Q, L)` or `(Q, L, ...)` for several labellings.
        clip_mask: True for the clips that the video has, shape `(Q, L)`. Defaults to all.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Average precision as a fraction, shape `(Q, ...)`: 0 without positive clips, 1 if all clips are positive.

    Raises:
        ValueError: If the number of queries differs, or a score is not a finite number.
    """
    check_same_length(predicted_saliency, labels, "predicted saliency and labels")
    scores, mask = pad_rows(predicted_saliency, name="predicted saliency scores", qids=qids)
    clip_mask = np.ones(labels.shape[:2], dtype=bool) if clip_mask is None else clip_mask
    return _average_precision(scores, mask, labels, clip_mask)


def hit_at_one(
    predicted_saliency: Sequence[Sequence[float]], labels: np.ndarray, qids: Sequence[Hashable] | None = None
) -> np.ndarray:
    """Whether every query's highest-scored clip is positive.

    Args:
        predicted_saliency: Per query, one score per clip, shape `(L_q,)`; of equal scores the first clip's counts. If
            the best clip lies past the labels' end it is a miss, and so is an empty row.
        labels: True for a positive clip, shape `(Q, L)` or `(Q, L, A)`: positive for any of A annotators.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Booleans, shape `(Q,)`.

    Raises:
        ValueError: If the number of queries differs, or a score is not a finite number.
    """
    check_same_length(predicted_saliency, labels, "predicted saliency and labels")
    scores, mask = pad_rows(predicted_saliency, name="predicted saliency scores", qids=qids)
    return _hit_at_one(scores, mask, labels)


def highlight_detection_metrics(
    predicted_saliency: Sequence[Sequence[float]],
    ratings: np.ndarray,
    clip_mask: np.ndarray | None = None,
    levels: Mapping[str, float] = SALIENCY_LEVELS,
    qids: Sequence[Hashable] | None = None,
) -> dict[str, dict[str, float]]:
    """Mean average precision (over annotators and queries) and HIT@1 (over queries) at every level.

    Args:
        predicted_saliency: Per query, one score per clip, shape `(L_q,)`; an empty row scores 0.
        ratings: The annotators' ratings of every clip, shape `(Q, L, A)`, as `clip_ratings` gives them.
        clip_mask: True for the clips that the video has, shape `(Q, L)`. Defaults to all.
        levels: Name -> lowest rating that counts as positive.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Percent with two decimals: `brief` with `HL-min-{level}-mAP` and `HL-min-{level}-Hit1`, and per level
        `HL-min-{level}` with `HL-mAP` and `HL-Hit1`.

    Raises:
        ValueError: If the number of queries differs, or a score is not a finite number.
    """
    check_same_length(predicted_saliency, ratings, "predicted saliency and ratings")
    scores, mask = pad_rows(predicted_saliency, name="predicted saliency scores", qids=qids)
    clip_mask = np.ones(ratings.shape[:2], dtype=bool) if clip_mask is None else clip_mask
    brief: dict[str, float] = {}
    details: dict[str, dict[str, float]] = {}
    for level, lowest in levels.items():
        labels = ratings >= lowest
        precision = _average_precision(scores, mask, labels, clip_mask)
        hits = _hit_at_one(scores, mask, labels)
        name = f"HL-min-{level}"
        details[name] = {
            "HL-mAP": as_percent(precision.mean() if precision.size else 0.0),
            "HL-Hit1": as_percent(hits.mean() if hits.size else 0.0),
        }
        brief |= {f"{name}-mAP": details[name]["HL-mAP"], f"{name}-Hit1": details[name]["HL-Hit1"]}
    return {"brief": brief, **details}


def _hit_at_one(scores: np.ndarray, mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    num_queries, num_clips = labels.shape[:2]
    if scores.shape[1] == 0 or num_clips == 0:
        return np.zeros(num_queries, dtype=bool)
    best = np.where(mask, scores, -np.inf).argmax(axis=1)
    positive = labels.reshape(num_queries, num_clips, -1).any(axis=2)
    hit = positive[np.arange(num_queries), np.minimum(best, num_clips - 1)]
    return hit & (best < num_clips) & mask.any(axis=1)


def _average_precision(
    scores: np.ndarray, score_mask: np.ndarray, labels: np.ndarray, clip_mask: np.ndarray
) -> np.ndarray:
    num_queries, num_clips = clip_mask.shape
    flat_labels = labels.reshape(num_queries, num_clips, math.prod(labels.shape[2:]))
    labellings = np.moveaxis(flat_labels, 2, 1) & clip_mask[:, None]
    fitted = np.zeros((num_queries, num_clips))
    shared = min(num_clips, scores.shape[1])
    fitted[:, :shared] = scores[:, :shared]
    fitted[~clip_mask] = -np.inf

    order = np.argsort(-fitted, axis=1, kind="stable")
    ranked = np.take_along_axis(fitted, order, axis=1)
    # A point of the curve is the last clip of a run of equal scores; the padding after the real clips is no point.
    is_point = np.take_along_axis(clip_mask, order, axis=1)
    is_point[:, :-1] &= ranked[:, :-1] != ranked[:, 1:]

    found = np.take_along_axis(labellings, order[:, None], axis=2).cumsum(axis=2)
    found = np.where(is_point[:, None], found, 0)
    precision = found / np.arange(1, num_clips + 1)
    monotone = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    # The counts at points never fall, so their running maximum before a point is the count at the previous point.
    previous = np.zeros_like(found)
    previous[..., 1:] = np.maximum.accumulate(found, axis=2)[..., :-1]
    recall_rises = found > previous
    area = (monotone * recall_rises).sum(axis=2) / np.maximum(recall_rises.sum(axis=2), 1)

    num_positive = labellings.sum(axis=2)
    area[(num_positive == clip_mask.sum(axis=1)[:, None]) & (num_positive > 0)] = 1.0
    area[~score_mask.any(axis=1)] = 0.0
    return area.reshape(num_queries, *labels.shape[2:])
