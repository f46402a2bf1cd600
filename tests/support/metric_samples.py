"""Made-up queries with what is awkward in them: ties, empty predictions, short and long videos, many windows."""

from __future__ import annotations

import numpy as np


def random_windows(rng: np.random.Generator, max_count: int, longest: float = 60.0) -> list[list[float]]:
    """Up to `max_count` windows on a grid of 2 s, some of length 0 and some twice."""
    starts = 2.0 * rng.integers(0, 60, rng.integers(0, max_count + 1))
    lengths = 2.0 * rng.integers(0, longest / 2, len(starts))
    return [[start, start + length] for start, length in zip(starts.tolist(), lengths.tolist())]


def random_moment_queries(num_queries: int, seed: int = 0) -> tuple[list, list]:
    """Predicted windows with scores (often near a ground-truth window, often equal) and ground-truth windows."""
    rng = np.random.default_rng(seed)
    predictions, truth = [], []
    for _ in range(num_queries):
        moments = random_windows(rng, 6)
        near = [[max(0.0, start - 2.0 * rng.integers(0, 2)), end + 2.0 * rng.integers(0, 3)] for start, end in moments]
        windows = near + random_windows(rng, 8)
        scores = rng.integers(0, 6, len(windows)) / 5
        predictions.append([[*window, score] for window, score in zip(windows, scores.tolist())])
        truth.append(moments)
    return predictions, truth


def random_saliency_queries(num_queries: int, num_annotators: int = 3, seed: int = 0) -> tuple[list, list]:
    """Predicted saliency (coarse, so that scores tie; of any length) and ratings 0 to 4, `(L, A)` per query."""
    rng = np.random.default_rng(seed)
    predictions, ratings = [], []
    for _ in range(num_queries):
        num_clips = int(rng.integers(1, 12))
        low, high = sorted(rng.integers(0, 5, 2).tolist())
        ratings.append(rng.integers(low, high + 1, (num_clips, num_annotators)).tolist())
        num_scores = max(0, num_clips + int(rng.integers(-3, 3)))
        predictions.append((rng.integers(-4, 5, num_scores) / 4).tolist())
    return predictions, ratings
