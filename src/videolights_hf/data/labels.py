"""Training labels: span targets, per-clip saliency and the clip pairs of the saliency margin loss.

Each dataset's annotations become saliency by one of these rules, chosen by name (`LABEL_RULES`):

- `"graded"` (QVHighlights): the annotators' scores on the relevant clips;
- `"window"` (Charades-STA, TACoS, pretraining corpora): one inside the moments, zero outside;
- `"scores"`, `"similarities"` (synthetic corpora, trained on what their scorer says): a score for each clip inside;
- `"annotators"` (TVSum): every clip scored 1 to 5 by every annotator;
- `"binary"` (YouTube Highlights): every clip a highlight or not.

Random draws come from `draw_generator(seed, epoch, qid)`, so that the labels of a query in an epoch are the same on
every machine, in every process and with any number of data loader workers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from ..common.messages import unknown_name
from ..common.time_axis import TimeAxis
from ..models.losses import MAX_SALIENCY

# Three QVHighlights annotators who give 0 to 4 each make MAX_SALIENCY.
GRADED_ANNOTATORS = 3
MAX_WINDOWS = 5


class SaliencyLabels(NamedTuple):
    """What a label rule gives for one query.

    Attributes:
        saliency: Shape (num_clips,), from 0 to `MAX_SALIENCY` (synthetic scores: to 12.2).
        positive_clips: (P,) the clip of each pair that must score higher.
        negative_clips: (P,) the clip of each pair that must score lower.
        relevant_clips: (num_clips,) bool, the clips that belong to the query; by default those of positive saliency.
    """

    saliency: np.ndarray
    positive_clips: np.ndarray
    negative_clips: np.ndarray
    relevant_clips: np.ndarray | None = None


class Labels(TypedDict):
    """The labels of one query.

    Attributes:
        spans: float32 (K, 2), (center, width) of each moment as fractions of the features' seconds.
        saliency: float32 (num_clips,), from 0 to `MAX_SALIENCY`.
        positive_clips: int64 (P,).
        negative_clips: int64 (P,).
        relevant_clips: float32 (num_clips,), 1 for the clips that belong to the query, which TR-DETR's loss reads.
    """

    spans: np.ndarray
    saliency: np.ndarray
    positive_clips: np.ndarray
    negative_clips: np.ndarray
    relevant_clips: np.ndarray


def draw_generator(seed: int, epoch: int, qid: int | str, purpose: str = "labels") -> np.random.Generator:
    """A random generator that depends on nothing but its arguments.

    Args:
        seed: The run's seed.
        epoch: The epoch, counted from zero.
        qid: The query's id; `7` and `"7"` are the same query.
        purpose: What is drawn, so that two kinds of draws for one query do not share a sequence.
    """
    key = f"{purpose}|{seed}|{epoch}|{qid}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "little"))


def span_targets(
    windows: Sequence[Sequence[float]] | None,
    axis: TimeAxis,
    rng: np.random.Generator,
    max_windows: int = MAX_WINDOWS,
) -> np.ndarray:
    """Moments as normalized (center, width), by `TimeAxis.to_spans`; of each, what the model sees.

    Args:
        windows: (start, end) in seconds, or `None` for a dataset without moments.
        axis: The sample's clips.
        rng: Draws the moments to keep where there are more than `max_windows`.
        max_windows: Keep at most this many moments.

    Returns:
        float32 array of shape (number of moments, 2); (0, 2) without moments.
    """
    if not windows:
        return np.zeros((0, 2), dtype=np.float32)
    moments = axis.visible(np.asarray(windows, dtype=np.float64))
    if len(moments) > max_windows:
        moments = moments[np.sort(rng.choice(len(moments), size=max_windows, replace=False))]
    return axis.to_spans(moments).astype(np.float32)


def graded_saliency(annotation: Mapping[str, Any], axis: TimeAxis, rng: np.random.Generator) -> SaliencyLabels:
    """QVHighlights: the sum of the annotators' scores (0 to 4) on relevant clips, zero elsewhere.

    With a number of annotators other than three, the sum is scaled to three. Two pairs: the relevant clips with the
    highest and the lowest sum; a random relevant clip and a random irrelevant one (where every clip is relevant, the
    first pair again). Relevant clips that the model does not see are dropped; where none is left, both pairs are
    (0, 0), from which the margin loss learns nothing.
    """
    saliency = np.zeros(axis.num_clips)
    ids = np.asarray(annotation["relevant_clip_ids"], dtype=np.int64) - axis.first_clip
    inside = (ids >= 0) & (ids < axis.num_clips)
    relevant = ids[inside]
    if len(relevant) == 0:
        return SaliencyLabels(saliency, *_no_pairs())
    scores = np.asarray(annotation["saliency_scores"], dtype=np.float64)[inside]
    saliency[relevant] = scores.sum(axis=1) * (GRADED_ANNOTATORS / scores.shape[1])
    highest, lowest = _highest_and_lowest(saliency[relevant])
    positives, negatives = [relevant[highest[0]]], [relevant[lowest[0]]]
    # Whatever their scores.
    relevant_clips = np.zeros(axis.num_clips, dtype=bool)
    relevant_clips[relevant] = True
    irrelevant = np.flatnonzero(~relevant_clips)
    if len(irrelevant):
        positives.append(_draw_one(relevant, rng))
        negatives.append(_draw_one(irrelevant, rng))
    else:
        positives, negatives = positives * 2, negatives * 2
    return SaliencyLabels(saliency, np.asarray(positives), np.asarray(negatives), relevant_clips)


def window_saliency(annotation: Mapping[str, Any], axis: TimeAxis, rng: np.random.Generator) -> SaliencyLabels:
    """Charades-STA, TACoS and pretraining corpora: one on the clips of the moments, zero elsewhere.

    Two pairs: two random positives (the same twice if there is one) and two random negatives (the same twice if there
    is one, the positives again if there is none). The published datasets have one moment per query; where there are
    several, the clips of all of them are positive. Where the model sees none, both pairs are (0, 0).
    """
    saliency = np.zeros(axis.num_clips)
    for moment in axis.visible(np.asarray(annotation["relevant_windows"], dtype=np.float64)):
        first, last = axis.clips_of(moment)
        saliency[first : last + 1] = 1
    positive_pool, negative_pool = np.flatnonzero(saliency), np.flatnonzero(saliency == 0)
    if len(positive_pool) == 0:
        return SaliencyLabels(saliency, *_no_pairs())
    positives = _draw_two(positive_pool, rng)
    return SaliencyLabels(saliency, positives, _draw_two(negative_pool, rng) if len(negative_pool) else positives)


def scored_saliency(annotation: Mapping[str, Any], axis: TimeAxis, rng: np.random.Generator) -> SaliencyLabels:
    """Synthetic corpora whose scores are on the scale of the labels, as the release's are: the scores as they are.

    Zero outside the moment, and on clips of it that have no score. The pairs are those of `window_saliency`.
    """
    return _label_by_scores(annotation, axis, rng, scale=1)


def similarity_saliency(annotation: Mapping[str, Any], axis: TimeAxis, rng: np.random.Generator) -> SaliencyLabels:
    """Synthetic corpora whose scores are cosines, as the paper's are: 12 times the cosine, and zero below zero.

    The rest is as in `scored_saliency`.
    """
    return _label_by_scores(annotation, axis, rng, scale=MAX_SALIENCY)


def _label_by_scores(
    annotation: Mapping[str, Any], axis: TimeAxis, rng: np.random.Generator, scale: float
) -> SaliencyLabels:
    windowed = window_saliency(annotation, axis, rng)
    saliency = np.zeros(axis.num_clips)
    ids = np.asarray(annotation.get("relevant_clip_ids") or [], dtype=np.int64) - axis.first_clip
    inside = (ids >= 0) & (ids < axis.num_clips)
    if inside.any():
        scores = np.asarray(annotation["saliency_scores"], dtype=np.float64).mean(axis=1)
        saliency[ids[inside]] = np.maximum(scale * scores[inside], 0)
    return windowed._replace(saliency=saliency, relevant_clips=windowed.saliency > 0)


def annotators_saliency(annotation: Mapping[str, Any], axis: TimeAxis, rng: np.random.Generator) -> SaliencyLabels:
    """TVSum: the annotators' scores (1 to 5) less one, summed over the annotators and scaled to `MAX_SALIENCY`.

    Cut or zero-padded to the clips. One pair: the clips with the highest and the lowest saliency. Half of the clips,
    those of the highest saliency, are relevant.
    """
    label = np.asarray(annotation["label"], dtype=np.float64)
    highest_sum = 4 * label.shape[1]
    saliency = _fit_clips((label - 1).sum(axis=1) / highest_sum * MAX_SALIENCY, axis)
    relevant_clips = np.zeros(axis.num_clips, dtype=bool)
    relevant_clips[np.argsort(saliency)[-math.ceil(axis.num_clips / 2) :]] = True
    return SaliencyLabels(saliency, *_highest_and_lowest(saliency), relevant_clips)


def binary_saliency(annotation: Mapping[str, Any], axis: TimeAxis, rng: np.random.Generator) -> SaliencyLabels:
    """YouTube Highlights: the label's first column, cut or zero-padded to the clips.

    One pair: a clip with the highest and a clip with the lowest label.
    """
    label = np.asarray(annotation["label"], dtype=np.float64)
    saliency = _fit_clips(label[:, 0], axis)
    return SaliencyLabels(saliency, *_highest_and_lowest(saliency))


def _fit_clips(values: np.ndarray, axis: TimeAxis) -> np.ndarray:
    values = values[axis.first_clip : axis.first_clip + axis.num_clips]
    return np.pad(values, (0, axis.num_clips - len(values)))


def _no_pairs() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)


def _highest_and_lowest(saliency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(saliency, kind="stable")
    return order[-1:], order[:1]


def _draw_one(pool: np.ndarray, rng: np.random.Generator) -> int:
    # What `rng.choice(pool)` does, in a quarter of its time.
    return pool[rng.integers(len(pool))]


def _draw_two(pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(pool, size=2, replace=False) if len(pool) > 1 else np.repeat(pool, 2)


LabelRule = Callable[[Mapping[str, Any], TimeAxis, np.random.Generator], SaliencyLabels]

LABEL_RULES: dict[str, LabelRule] = {
    "graded": graded_saliency,
    "window": window_saliency,
    "scores": scored_saliency,
    "similarities": similarity_saliency,
    "annotators": annotators_saliency,
    "binary": binary_saliency,
}


def make_labels(
    annotation: Mapping[str, Any],
    axis: TimeAxis,
    label_rule: str,
    rng: np.random.Generator,
    max_windows: int = MAX_WINDOWS,
) -> Labels:
    """The labels of one query.

    Args:
        annotation: A labeled annotation row (see `read_annotations`).
        axis: The sample's clips, by `TimeAxis.of_query`.
        label_rule: A key of `LABEL_RULES`.
        rng: From `draw_generator`.
        max_windows: Keep at most this many span targets.

    Raises:
        ValueError: Unknown `label_rule`, or a video without clips.
    """
    if label_rule not in LABEL_RULES:
        raise ValueError(unknown_name("label rule", label_rule, LABEL_RULES))
    if axis.num_clips < 1:
        raise ValueError(f"Query {annotation.get('qid')!r}: a video needs at least one clip, got {axis.num_clips}.")
    spans = span_targets(annotation.get("relevant_windows"), axis, rng, max_windows)
    saliency, positives, negatives, relevant_clips = LABEL_RULES[label_rule](annotation, axis, rng)
    return {
        "spans": spans,
        "saliency": saliency.astype(np.float32),
        "positive_clips": positives.astype(np.int64),
        "negative_clips": negatives.astype(np.int64),
        "relevant_clips": (saliency > 0 if relevant_clips is None else relevant_clips).astype(np.float32),
    }
