"""Bootstrap intervals of metrics, and of the differences between models that answered the same queries."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

# Numbers of one array of drawn counts (128 MB).
_MAX_CELLS = 2**24


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are found.

    Attributes:
        num_resamples: Samples to draw.
        confidence: Share of the resampled values that lie inside an interval.
        seed: Seed of the draws.
    """

    num_resamples: int = 10_000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_resamples < 100:
            raise ValueError(f"num_resamples must be at least 100, but is {self.num_resamples}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, but is {self.confidence}")


DEFAULT_BOOTSTRAP = Bootstrap()


def resampled_means(
    values: np.ndarray, weights: np.ndarray, units: Sequence[Hashable], bootstrap: Bootstrap = DEFAULT_BOOTSTRAP
) -> np.ndarray:
    """Means over samples of the units, drawn with replacement.

    The same units are drawn for every column, so that the difference of two columns of the result is paired.

    Args:
        values: `(Q, K)` scores of Q queries in K metrics (or of several models); NaN where a query does not count.
        weights: `(Q,)`.
        units: What is drawn: equal entries stay together. The queries' ids, or their videos.
        bootstrap: Number of samples, and their seed.

    Returns:
        `(num_resamples, K)`; NaN where a sample holds no query that counts.
    """
    _, unit_of = np.unique(np.array([repr(unit) for unit in units]), return_inverse=True)
    num_units = int(unit_of.max()) + 1
    counted = ~np.isnan(values)
    sums, totals = np.zeros((num_units, values.shape[1])), np.zeros((num_units, values.shape[1]))
    np.add.at(sums, unit_of, np.where(counted, values, 0) * weights[:, None])
    np.add.at(totals, unit_of, counted * weights[:, None])

    rng = np.random.default_rng(bootstrap.seed)
    means = np.zeros((bootstrap.num_resamples, values.shape[1]))
    step = max(1, _MAX_CELLS // num_units)
    for first in range(0, bootstrap.num_resamples, step):
        size = min(step, bootstrap.num_resamples - first)
        drawn = rng.integers(num_units, size=(size, num_units)) + num_units * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * num_units).reshape(size, num_units).astype(float)
        total = counts @ totals
        means[first : first + size] = np.divide(counts @ sums, total, out=np.full_like(total, np.nan), where=total > 0)
    return means


def interval(samples: np.ndarray, confidence: float = DEFAULT_BOOTSTRAP.confidence) -> tuple[np.ndarray, np.ndarray]:
    """Low and high ends `(K,)` of the percentile interval of each column of `(S, K)`; NaN where samples are NaN."""
    tails = 50 * (1 - confidence)
    empty = np.isnan(samples).all(axis=0)
    low, high = np.nanpercentile(np.where(empty, 0, samples), [tails, 100 - tails], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)
