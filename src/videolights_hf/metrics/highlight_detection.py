"""Highlight detection on QVHighlights: mean average precision and HIT@1 at three levels of saliency.

Annotators rate every clip of the relevant moments from 0 to 4. A clip is a highlight for an annotator at level Fair,
Good or VeryGood if the rating is at least 2, 3 or 4 (Lei et al., 2021). Everything is computed over all queries at
once.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..common.time_axis import count_clips
from .common import RaggedRows, as_percent, check_same_length, first_entry_length, flatten_rows, group_rows, label_of

SALIENCY_LEVELS: dict[str, int] = {"Fair": 2, "Good": 3, "VeryGood": 4}
"""Lowest rating at which a clip is a highlight, by name of the level."""

MAX_CLIPS = 1_000_000
"""Clips of the longest annotated video (23 days at 2 s per clip): a duration beyond it is taken for a mistake."""


@dataclass(frozen=True)
class ClipRatings:
    """The annotators' ratings of the clips of every video.

    Attributes:
        num_clips: Clips of each video, `(Q,)`.
        values: For each query the ratings of its N_q rated clips, A columns.
        clip_ids: For each query the indices of its N_q rated clips.
    """

    num_clips: np.ndarray
    values: RaggedRows
    clip_ids: RaggedRows

    @classmethod
    def of(
        cls,
        durations: Sequence[float],
        relevant_clip_ids: Sequence[Sequence[int]],
        saliency_scores: Sequence[Sequence[Sequence[float]]],
        clip_length: float = 2.0,
        qids: Sequence[Hashable] | None = None,
    ) -> ClipRatings:
        """Check and keep the ratings; arguments as of `clip_ratings`."""
        check_same_length(durations, relevant_clip_ids, "durations and relevant_clip_ids")
        check_same_length(relevant_clip_ids, saliency_scores, "relevant_clip_ids and saliency_scores")
        num_annotators = first_entry_length(saliency_scores)
        values = flatten_rows(saliency_scores, name="saliency_scores", columns=num_annotators, qids=qids)
        clip_ids = flatten_rows(relevant_clip_ids, name="relevant_clip_ids", qids=qids)
        unequal = values.lengths != clip_ids.lengths
        if unequal.any():
            row = int(np.argmax(unequal))
            raise ValueError(
                f"query {label_of(qids, row)} has {clip_ids.lengths[row]} relevant_clip_ids but "
                f"{values.lengths[row]} saliency_scores"
            )
        num_clips = clips_of_videos(durations, clip_length, qids)
        row_numbers = clip_ids.row_numbers
        outside = (clip_ids.flat < 0) | (clip_ids.flat >= num_clips[row_numbers]) | (clip_ids.flat % 1 != 0)
        if outside.any():
            entry = int(np.argmax(outside))
            row = int(row_numbers[entry])
            raise ValueError(
                f"query {label_of(qids, row)}: relevant clip {clip_ids.flat[entry]:g} lies outside the video, which "
                f"has {num_clips[row]} clips of {clip_length:g} s"
            )
        return cls(num_clips, values, clip_ids)

    def pad(self, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Ratings `(R, L, A)` of every clip of some videos (all by default), and the mask of real clips `(R, L)`."""
        rows = np.arange(len(self.num_clips)) if rows is None else rows
        clip_mask = np.arange(self.num_clips[rows].max(initial=0)) < self.num_clips[rows][:, None]
        values, mask = self.values.pad(rows)
        ratings = np.zeros((*clip_mask.shape, values.shape[2]))
        query, _ = np.nonzero(mask)
        ratings[query, self.clip_ids.pad(rows)[0][mask].astype(np.int64)] = values[mask]
        return ratings, clip_mask


def clips_of_videos(durations: Sequence[float], clip_length: float, qids: Sequence[Hashable] | None) -> np.ndarray:
    """How many clips annotated videos have, int64 (Q,), before anything of that size is made.

    Raises:
        ValueError: A duration is no positive number of seconds, or makes more than `MAX_CLIPS` clips.
    """
    if not 0 < clip_length < math.inf:
        raise ValueError(f"clip_length must be a positive number of seconds, but is {clip_length}")
    num_clips = np.zeros(len(durations), dtype=np.int64)
    for row, duration in enumerate(durations):
        if isinstance(duration, bool) or not isinstance(duration, (int, float, np.number)) or not duration > 0:
            raise ValueError(
                f"query {label_of(qids, row)}: duration must be a positive number of seconds, but is {duration!r}"
            )
        if duration > MAX_CLIPS * clip_length:
            raise ValueError(
                f"query {label_of(qids, row)}: a duration of {str(duration)[:20]} s makes more than {MAX_CLIPS:,} clips of "
                f"{clip_length:g} s, the most that a video may have (MAX_CLIPS): correct the duration or the clip length"
            )
        num_clips[row] = count_clips(duration, clip_length)
    return num_clips


def clip_ratings(
    durations: Sequence[float],
    relevant_clip_ids: Sequence[Sequence[int]],
    saliency_scores: Sequence[Sequence[Sequence[float]]],
    clip_length: float = 2.0,
    qids: Sequence[Hashable] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ratings of every clip of every video; clips outside the relevant ones are rated 0.

    Args:
        durations: Seconds of video per query. A video has `count_clips(duration, clip_length)` clips: the last,
            shorter one counts, and there is at least one.
        relevant_clip_ids: Per query, the indices of its N_q rated clips.
        saliency_scores: Per query, the ratings of these clips, shape `(N_q, A)`, A annotators.
        clip_length: Seconds per clip.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Ratings `(Q, L, A)`, 0 on padding, and the mask of real clips `(Q, L)`.

    Raises:
        ValueError: A duration is not positive or beyond `MAX_CLIPS`, a clip id lies outside its video, ids and ratings
            differ in number, or the number of annotators varies.
    """
    return ClipRatings.of(durations, relevant_clip_ids, saliency_scores, clip_length, qids).pad()


def average_precision(
    predicted_saliency: Sequence[Sequence[float]],
    labels: np.ndarray,
    clip_mask: np.ndarray | None = None,
    qids: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Average precision of every query for every set of labels of its clips.

    The precision-recall curve has one point per distinct score: tied clips enter together. Precision is made monotone
    from the lowest score up, and averaged, unweighted, over the points at which recall changes. Without ties that is
    the recall-weighted average precision.

    Args:
        predicted_saliency: Per query, one score per clip, shape `(L_q,)`. Scores past the video's last clip are cut,
            missing ones count as 0. An empty row is a query without a prediction and scores 0.
        labels: True for a positive clip, shape `(Q, L)` or `(Q, L, ...)` for several sets.
        clip_mask: True for the clips that the video has, shape `(Q, L)`. Defaults to all.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Average precision as a fraction, shape `(Q, ...)`: 0 without positive clips, 1 if all clips are positive.

    Raises:
        ValueError: The number of queries differs, or a score is not a finite number.
    """
    check_same_length(predicted_saliency, labels, "predicted saliency and labels")
    scores = _flatten_scores(predicted_saliency, qids)
    clip_mask = np.ones(labels.shape[:2], dtype=bool) if clip_mask is None else clip_mask
    return _average_precision(scores.pad()[0], scores.lengths > 0, labels, clip_mask)


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
        ValueError: The number of queries differs, or a score is not a finite number.
    """
    check_same_length(predicted_saliency, labels, "predicted saliency and labels")
    return _is_hit(_best_clips(_flatten_scores(predicted_saliency, qids)), labels)


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
        levels: Name to the lowest rating that counts as positive.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        Percent with two decimals: `brief` with `HL-min-{level}-mAP` and `HL-min-{level}-Hit1`, and per level
        `HL-min-{level}` with `HL-mAP` and `HL-Hit1`.

    Raises:
        ValueError: The number of queries differs, or a score is not a finite number.
    """
    check_same_length(predicted_saliency, ratings, "predicted saliency and ratings")
    scores = _flatten_scores(predicted_saliency, qids)
    clip_mask = np.ones(ratings.shape[:2], dtype=bool) if clip_mask is None else clip_mask
    padded, best = scores.pad()[0], _best_clips(scores)
    precisions, hits = {}, {}
    for level, lowest in levels.items():
        precisions[level] = _average_precision(padded, scores.lengths > 0, ratings >= lowest, clip_mask)
        hits[level] = _is_hit(best, ratings >= lowest)
    return _summarize(precisions, hits)


def rated_highlight_metrics(
    predicted_saliency: Sequence[Sequence[float]], ratings: ClipRatings, qids: Sequence[Hashable] | None = None
) -> dict[str, dict[str, float]]:
    """`highlight_detection_metrics` at `SALIENCY_LEVELS`, in groups of queries where videos differ much in length."""
    return _summarize(*rated_highlight_scores(predicted_saliency, ratings, qids))


def rated_highlight_scores(
    predicted_saliency: Sequence[Sequence[float]], ratings: ClipRatings, qids: Sequence[Hashable] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Average precision `(Q, A)` and hits `(Q,)` of every query, by name of the level in `SALIENCY_LEVELS`.

    Scores past a video's last clip are cut (a best clip there is a miss), missing ones count as 0, as in the release.
    """
    check_same_length(predicted_saliency, ratings.num_clips, "predicted saliency and ratings")
    scores = _flatten_scores(predicted_saliency, qids)
    best = _best_clips(scores)
    num_annotators = ratings.values.flat.shape[1]
    precisions = {level: np.zeros((len(scores.lengths), num_annotators)) for level in SALIENCY_LEVELS}
    hits = {level: np.zeros(len(scores.lengths), dtype=bool) for level in SALIENCY_LEVELS}
    for rows in group_rows(ratings.num_clips, num_annotators):
        values, clip_mask = ratings.pad(rows)
        padded = scores.pad(rows, ratings.num_clips[rows])[0]
        for level, lowest in SALIENCY_LEVELS.items():
            is_positive = values >= lowest
            precisions[level][rows] = _average_precision(padded, scores.lengths[rows] > 0, is_positive, clip_mask)
            hits[level][rows] = _is_hit(best[rows], is_positive)
    return precisions, hits


def _summarize(precisions: Mapping[str, np.ndarray], hits: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    brief: dict[str, float] = {}
    details: dict[str, dict[str, float]] = {}
    for level, precision in precisions.items():
        name = f"HL-min-{level}"
        details[name] = {
            "HL-mAP": as_percent(precision.mean() if precision.size else 0.0),
            "HL-Hit1": as_percent(hits[level].mean() if hits[level].size else 0.0),
        }
        brief |= {f"{name}-mAP": details[name]["HL-mAP"], f"{name}-Hit1": details[name]["HL-Hit1"]}
    return {"brief": brief, **details}


def _flatten_scores(predicted_saliency: Sequence[Sequence[float]], qids: Sequence[Hashable] | None) -> RaggedRows:
    return flatten_rows(predicted_saliency, name="predicted saliency scores", qids=qids)


def _best_clips(scores: RaggedRows) -> np.ndarray:
    """Index `(Q,)` of every query's highest-scored clip, the first of equals; -1 without scores."""
    # Stable: of equal scores the first comes first.
    order = np.lexsort((-scores.flat, scores.row_numbers))
    best = np.full(len(scores.lengths), -1)
    has_scores = scores.lengths > 0
    best[has_scores] = order[scores.starts[has_scores]] - scores.starts[has_scores]
    return best


def _is_hit(best: np.ndarray, labels: np.ndarray) -> np.ndarray:
    num_queries, num_clips = labels.shape[:2]
    if num_clips == 0:
        return np.zeros(num_queries, dtype=bool)
    positive = np.any(labels.reshape(num_queries, num_clips, -1), axis=2).reshape(num_queries, num_clips)
    hit = positive[np.arange(num_queries), np.clip(best, 0, num_clips - 1)]
    return hit & (best >= 0) & (best < num_clips)


def _average_precision(
    scores: np.ndarray, has_scores: np.ndarray, labels: np.ndarray, clip_mask: np.ndarray
) -> np.ndarray:
    num_queries, num_clips = clip_mask.shape
    flat_labels = labels.reshape(num_queries, num_clips, math.prod(labels.shape[2:]))
    label_sets = np.moveaxis(flat_labels, 2, 1) & clip_mask[:, None]
    fitted = np.zeros((num_queries, num_clips))
    shared = min(num_clips, scores.shape[1])
    fitted[:, :shared] = scores[:, :shared]
    fitted[~clip_mask] = -np.inf

    order = np.argsort(-fitted, axis=1, kind="stable")
    ranked = np.take_along_axis(fitted, order, axis=1)
    # A point of the curve is the last clip of a run of equal scores; the padding after the real clips is no point.
    is_point = np.take_along_axis(clip_mask, order, axis=1)
    is_point[:, :-1] &= ranked[:, :-1] != ranked[:, 1:]

    found = np.take_along_axis(label_sets, order[:, None], axis=2).cumsum(axis=2)
    found = np.where(is_point[:, None], found, 0)
    precision = found / np.arange(1, num_clips + 1)
    monotone = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    # The counts at points never fall, so their running maximum before a point is the count at the previous point.
    previous = np.zeros_like(found)
    previous[..., 1:] = np.maximum.accumulate(found, axis=2)[..., :-1]
    recall_rises = found > previous
    area = (monotone * recall_rises).sum(axis=2) / np.maximum(recall_rises.sum(axis=2), 1)

    num_positive = label_sets.sum(axis=2)
    area[(num_positive == clip_mask.sum(axis=1)[:, None]) & (num_positive > 0)] = 1.0
    area[~has_scores] = 0.0
    return area.reshape(num_queries, *labels.shape[2:])
