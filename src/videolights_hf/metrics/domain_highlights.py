"""Highlight detection by domain: top-5 mean average precision on TVSum, mean average precision on YouTube Highlights.

Both rank a video's clips by predicted saliency; they differ in what counts as a highlight and in how far down the
ranking they look. Values are fractions with five decimals, as published.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from .common import RaggedRows, check_same_length, first_entry_length, flatten_rows, group_rows, label_of


@dataclass(frozen=True)
class HighlightProtocol:
    """How a dataset scores highlights.

    Attributes:
        top_k: Look at this many best-ranked clips; `None` for all.
        above_median: A clip is a highlight for an annotator if its rating exceeds the median of this annotator's
            ratings of the video; otherwise, if it exceeds 0.
    """

    top_k: int | None
    above_median: bool


HIGHLIGHT_PROTOCOLS: dict[str, HighlightProtocol] = {
    "tvsum": HighlightProtocol(top_k=5, above_median=True),
    "youtube_highlights": HighlightProtocol(top_k=None, above_median=False),
}
"""The published protocol of each dataset that is scored by domain."""


def ranked_average_precision(
    predicted_saliency: Sequence[Sequence[float]],
    labels: np.ndarray,
    clip_mask: np.ndarray | None = None,
    top_k: int | None = None,
    qids: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Area under the precision-recall curve of the best-ranked clips, by trapezoids that start at precision 1.

    Recall is relative to the positive clips among those looked at.

    Args:
        predicted_saliency: Per video, one score per clip, shape `(L_q,)`; equal scores rank in the order of the
            clips. Scores past the video's last clip are cut; clips without a score rank last. An empty row is a video
            without a prediction and scores 0.
        labels: True for a positive clip, shape `(Q, L, A)`, one set of labels per annotator.
        clip_mask: True for the clips that the video has, shape `(Q, L)`. Defaults to all.
        top_k: Look at this many best-ranked clips; `None` for all.
        qids: The videos' query ids, for error messages. Defaults to the row numbers.

    Returns:
        Average precision as a fraction, shape `(Q, A)`; 0 if none of the clips looked at is positive.

    Raises:
        ValueError: The number of videos differs, `top_k` is below 1, or a score is not a finite number.
    """
    check_same_length(predicted_saliency, labels, "predicted saliency and labels")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, but is {top_k}")
    clip_mask = np.ones(labels.shape[:2], dtype=bool) if clip_mask is None else clip_mask
    scores = flatten_rows(predicted_saliency, name="predicted saliency scores", qids=qids)
    return _ranked_precision(scores.pad(), labels, clip_mask, top_k)


def _ranked_precision(
    padded_scores: tuple[np.ndarray, np.ndarray], labels: np.ndarray, clip_mask: np.ndarray, top_k: int | None
) -> np.ndarray:
    scores, score_mask = padded_scores
    num_queries, num_clips = labels.shape[:2]
    shared = min(num_clips, scores.shape[1])
    is_scored = np.zeros((num_queries, num_clips), dtype=bool)
    is_scored[:, :shared] = score_mask[:, :shared]
    fitted = np.zeros((num_queries, num_clips))
    fitted[:, :shared] = scores[:, :shared]
    # Last key first: real clips before padding, scored before unscored, then by score.
    order = np.lexsort((-fitted, ~is_scored, ~clip_mask), axis=1)[:, :top_k]

    positive = np.take_along_axis(labels & clip_mask[..., None], order[..., None], axis=1)
    hits = positive.cumsum(axis=1)
    num_positive = positive.sum(axis=1, keepdims=True)
    precision = hits / np.arange(1, order.shape[1] + 1)[:, None]
    previous = np.concatenate([np.ones_like(precision[:, :1]), precision[:, :-1]], axis=1)
    # Recall rises by 1 / num_positive at each positive clip and nowhere else.
    area = (positive * (previous + precision) / 2).sum(axis=1) / np.maximum(num_positive[:, 0], 1)
    area[~is_scored.any(axis=1)] = 0.0
    return area


def domain_highlight_metrics(
    predicted_saliency: Sequence[Sequence[float]],
    ratings: Sequence[Sequence[Sequence[float]]],
    domains: Sequence[str],
    dataset: str,
    qids: Sequence[Hashable] | None = None,
) -> dict[str, dict[str, float]]:
    """Mean average precision of every domain, and the mean of the domains.

    Args:
        predicted_saliency: Per video, one score per clip, shape `(L_q,)`; an empty row scores 0.
        ratings: Per video, the annotators' ratings of its clips, shape `(L_q, A)`: TVSum 1 to 5 by 20 annotators,
            YouTube Highlights 0 or 1 in one column.
        domains: The videos' domains.
        dataset: `tvsum` or `youtube_highlights`: the protocol.
        qids: The videos' query ids, for error messages. Defaults to the row numbers.

    Returns:
        Fractions with five decimals: `brief` with `HL-mAP`, the mean of the domains, and under the dataset's name the
        value of each domain.

    Raises:
        ValueError: The dataset is unknown, the number of videos differs, the ratings are malformed or empty, or a
            score is not a finite number.
    """
    check_same_length(ratings, domains, "ratings and domains")
    precision = domain_highlight_scores(predicted_saliency, ratings, dataset, qids)
    names = np.asarray(domains, dtype=object)
    means = {domain: float(precision[names == domain].mean()) for domain in dict.fromkeys(domains)}
    overall = float(np.mean(list(means.values()))) if means else 0.0
    return {
        "brief": {"HL-mAP": round(overall, 5)},
        dataset: {domain: round(mean, 5) for domain, mean in means.items()},
    }


def domain_highlight_scores(
    predicted_saliency: Sequence[Sequence[float]],
    ratings: Sequence[Sequence[Sequence[float]]],
    dataset: str,
    qids: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Average precision of every video, the mean of its annotators: `(Q,)`; arguments as of `domain_highlight_metrics`.

    Raises:
        ValueError: See `domain_highlight_metrics`.
    """
    if dataset not in HIGHLIGHT_PROTOCOLS:
        raise ValueError(f"{dataset!r} is not scored by domain; choose from {', '.join(HIGHLIGHT_PROTOCOLS)}")
    check_same_length(predicted_saliency, ratings, "predicted saliency and ratings")
    protocol = HIGHLIGHT_PROTOCOLS[dataset]
    values = flatten_rows(ratings, name="ratings", columns=first_entry_length(ratings), qids=qids)
    if (values.lengths == 0).any():
        raise ValueError(f"query {label_of(qids, int(np.argmin(values.lengths)))} has no ratings")
    scores = flatten_rows(predicted_saliency, name="predicted saliency scores", qids=qids)
    precision = np.zeros(len(ratings))
    for rows in group_rows(values.lengths, values.flat.shape[1]):
        labels, clip_mask = _labels(values, rows, protocol)
        padded = scores.pad(rows, values.lengths[rows])
        precision[rows] = _ranked_precision(padded, labels, clip_mask, protocol.top_k).mean(axis=1)
    return precision


def _labels(ratings: RaggedRows, rows: np.ndarray, protocol: HighlightProtocol) -> tuple[np.ndarray, np.ndarray]:
    """Which clips of some videos are highlights for which annotator, `(R, L, A)`, and the mask of real clips."""
    values, mask = ratings.pad(rows)
    if not protocol.above_median:
        return values > 0, mask
    return values > np.nanmedian(np.where(mask[..., None], values, np.nan), axis=1, keepdims=True), mask
