"""Training labels: span targets, per-clip saliency and the clip pairs of the saliency margin loss.

Each dataset's annotations become saliency by one of four rules, chosen by name (`LABEL_RULES`):

- `"graded"` (QVHighlights): the annotators' scores on the relevant clips;
- `"window"` (Charades-STA, TACoS, pretraining corpora): one inside the moments, zero outside;
- `"annotators"` (TVSum): every clip scored 1 to 5 by every annotator;
- `"binary"` (YouTube Highlights): every clip a highlight or not.

Everything random is drawn from `draw_generator(seed, epoch, qid)`, so that the labels of a query in an epoch are the
same on every machine, in every process and with any number of data loader workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# Saliency lies in [0, 12] for every rule that grades it: three QVHighlights annotators who give 0 to 4 each. The
# rank-aware contrastive loss counts its ranks on this scale.
GRADED_ANNOTATORS = 3
MAX_SALIENCY = 12.0
MAX_WINDOWS = 5


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
    num_clips: int,
    clip_length: float,
    rng: np.random.Generator,
    max_windows: int = MAX_WINDOWS,
) -> np.ndarray:
    """Moments as normalised (centre, width).

    A span is a fraction of the *features'* length, `num_clips * clip_length` seconds, and is not clipped: where the
    features are a clip short of the video, a moment that lasts to the end reaches past 1.

    Args:
        windows: (start, end) in seconds, or `None` for a dataset without moments.
        num_clips: Clips of the video after cutting.
        clip_length: Seconds per clip.
        rng: Draws the moments to keep where there are more than `max_windows`.
        max_windows: At most so many moments.

    Returns:
        float32 array of shape (number of moments, 2); (0, 2) without moments.
    """
    if not windows:
        return np.zeros((0, 2), dtype=np.float32)
    start_end = np.asarray(windows, dtype=np.float64)
    if len(start_end) > max_windows:
        start_end = start_end[np.sort(rng.choice(len(start_end), size=max_windows, replace=False))]
    start_end = start_end / (num_clips * clip_length)
    start, end = start_end[:, 0], start_end[:, 1]
    return np.stack([(start + end) / 2, end - start], axis=-1).astype(np.float32)


def window_clips(window: Sequence[float], duration: float, num_clips: int) -> tuple[int, int]:
    """First and last clip (inclusive) of a moment, with clips of `duration / num_clips` seconds.

    Args:
        window: (start, end) in seconds.
        duration: Seconds of the video.
        num_clips: Clips of the video after cutting.
    """
    clip_length = duration / num_clips
    last = max(0, min(int(window[1] / clip_length), num_clips) - 1)
    return min(int(window[0] / clip_length), last), last


def _highest_and_lowest(saliency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(saliency, kind="stable")
    return order[-1:], order[:1]


def _draw_two(pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(pool, size=2, replace=False) if len(pool) > 1 else np.repeat(pool, 2)


def graded_saliency(
    annotation: Mapping[str, Any], num_clips: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """QVHighlights: the sum of the annotators' scores (0 to 4) on relevant clips, zero elsewhere.

    With a number of annotators other than three, the sum is scaled to three. Two pairs: the relevant clips with the
    highest and the lowest sum; a random relevant clip and a random irrelevant one (where every clip is relevant, the
    first pair again). Relevant clips at or beyond `num_clips` are dropped; where none is left both pairs are (0, 0),
    which the margin loss cannot learn anything from.

    Returns:
        Saliency of shape (num_clips,), positive clips (2,) and negative clips (2,).
    """
    saliency = np.zeros(num_clips)
    ids = np.asarray(annotation["relevant_clip_ids"], dtype=np.int64)
    inside = ids < num_clips
    relevant = ids[inside]
    if len(relevant) == 0:
        return saliency, np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    scores = np.asarray(annotation["saliency_scores"], dtype=np.float64)[inside]
    saliency[relevant] = scores.sum(axis=1) * (GRADED_ANNOTATORS / scores.shape[1])
    highest, lowest = _highest_and_lowest(saliency[relevant])
    positives, negatives = [relevant[highest[0]]], [relevant[lowest[0]]]
    irrelevant = np.setdiff1d(np.arange(num_clips), relevant)
    if len(irrelevant):
        positives.append(rng.choice(relevant))
        negatives.append(rng.choice(irrelevant))
    else:
        positives, negatives = positives * 2, negatives * 2
    return saliency, np.asarray(positives), np.asarray(negatives)


def window_saliency(
    annotation: Mapping[str, Any], num_clips: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Charades-STA, TACoS and pretraining corpora: one on the clips of the moments, zero elsewhere.

    Two pairs: two random positives (the same twice if there is one) and two random negatives (the same twice if there
    is one, the positives again if there is none). The published datasets have one moment a query; where there are
    several, the clips of all of them are positive.

    Returns:
        Saliency of shape (num_clips,), positive clips (2,) and negative clips (2,).
    """
    saliency = np.zeros(num_clips)
    for window in annotation["relevant_windows"]:
        first, last = window_clips(window, annotation["duration"], num_clips)
        saliency[first : last + 1] = 1
    positives = _draw_two(np.flatnonzero(saliency), rng)
    pool = np.flatnonzero(saliency == 0)
    return saliency, positives, _draw_two(pool, rng) if len(pool) else positives


def annotators_saliency(
    annotation: Mapping[str, Any], num_clips: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """TVSum: the annotators' scores (1 to 5) less one, summed over the annotators and scaled to [0, 12].

    Cut or zero-padded to `num_clips`. One pair: the clips with the highest and the lowest saliency.

    Returns:
        Saliency of shape (num_clips,), positive clips (1,) and negative clips (1,).
    """
    label = np.asarray(annotation["label"], dtype=np.float64)
    highest_sum = 4 * label.shape[1]
    saliency = _fit_length((label - 1).sum(axis=1) / highest_sum * MAX_SALIENCY, num_clips)
    return saliency, *_highest_and_lowest(saliency)


def binary_saliency(
    annotation: Mapping[str, Any], num_clips: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """YouTube Highlights: the label's first column, cut or zero-padded to `num_clips`.

    One pair: a clip with the highest and a clip with the lowest label.

    Returns:
        Saliency of shape (num_clips,), positive clips (1,) and negative clips (1,).
    """
    label = np.asarray(annotation["label"], dtype=np.float64)
    saliency = _fit_length(label[:, 0], num_clips)
    return saliency, *_highest_and_lowest(saliency)


def _fit_length(values: np.ndarray, length: int) -> np.ndarray:
    values = values[:length]
    return np.pad(values, (0, length - len(values)))


LabelRule = Callable[[Mapping[str, Any], int, np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]]

LABEL_RULES: dict[str, LabelRule] = {
    "graded": graded_saliency,
    "window": window_saliency,
    "annotators": annotators_saliency,
    "binary": binary_saliency,
}


def make_labels(
    annotation: Mapping[str, Any],
    num_clips: int,
    clip_length: float,
    label_rule: str,
    rng: np.random.Generator,
    max_windows: int = MAX_WINDOWS,
) -> dict[str, np.ndarray]:
    """The labels of one query.

    Args:
        annotation: A labelled annotation row (see `read_annotations`).
        num_clips: Clips of the video after cutting.
        clip_length: Seconds per clip.
        label_rule: A key of `LABEL_RULES`.
        rng: From `draw_generator`.
        max_windows: At most so many span targets.

    Returns:
        `spans` float32 (K, 2) as (centre, width), `saliency` float32 (num_clips,) in [0, 12], `positive_clips` and
        `negative_clips` int64 (P,).

    Raises:
        ValueError: For an unknown `label_rule`, or a video without clips.
    """
    if label_rule not in LABEL_RULES:
        raise ValueError(f"Unknown label rule {label_rule!r}; choose one of {', '.join(sorted(LABEL_RULES))}.")
    if num_clips < 1:
        raise ValueError(f"Query {annotation.get('qid')!r}: a video needs at least one clip, got {num_clips}.")
    spans = span_targets(annotation.get("relevant_windows"), num_clips, clip_length, rng, max_windows)
    saliency, positives, negatives = LABEL_RULES[label_rule](annotation, num_clips, rng)
    return {
        "spans": spans,
        "saliency": saliency.astype(np.float32),
        "positive_clips": positives.astype(np.int64),
        "negative_clips": negatives.astype(np.int64),
    }
