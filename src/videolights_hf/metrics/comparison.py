"""Models that answered the same queries, side by side, with paired bootstrap intervals of their differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from .bootstrap import DEFAULT_BOOTSTRAP, Bootstrap, interval, resampled_means
from .query_scores import QueryScores, score_queries, weighted_mean

Unit = Literal["query", "video"]

ASSUMPTIONS = (
    "Intervals: {confidence:.0%} of {num_resamples:,} paired bootstrap samples of the {num_units:,} {units} "
    "(percentiles). They assume that the {units} are independent draws of those that matter, and take the trained models "
    "as given: another seed of training can move a metric by more. Of many metrics, some intervals leave out zero by chance."
)


@dataclass(frozen=True)
class Difference:
    """A model less the first one in one metric, in percent points, with its interval."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of all models.

    Attributes:
        name: As in `evaluate_predictions`.
        num_queries: How many queries count.
        values: Of each model, in percent.
        differences: Of each model but the first.
    """

    name: str
    num_queries: int
    values: tuple[float, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """Models side by side.

    Attributes:
        models: Their names; the others are compared with the first.
        runs: How many runs (seeds) each is the mean of.
        metrics: In the order of `score_queries`.
        assumptions: What the intervals are and assume.
    """

    models: tuple[str, ...]
    runs: tuple[int, ...]
    metrics: tuple[ComparedMetric, ...]
    assumptions: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def compare_models(
    models: Mapping[str, Sequence[Iterable[Mapping[str, Any]]]],
    ground_truth: Sequence[Mapping[str, Any]],
    *,
    unit: Unit = "query",
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    clip_length: float = 2.0,
) -> Comparison:
    """Compare models with the first of them, query by query.

    Args:
        models: By name of the model its runs, each a list of predictions (rows of the submission format). Of several runs
            (seeds) the mean of each query's scores counts.
        ground_truth: Annotation rows.
        unit: What the samples draw: queries, or videos with all of their queries, where queries of one video are alike.
        bootstrap: Number of samples, their seed, and the share inside an interval.
        clip_length: Seconds per clip rated in `saliency_scores`.

    Returns:
        The metrics that all models have, with the differences to the first model.

    Raises:
        ValueError: Fewer than two models, or predictions that cannot be scored; see `evaluate_predictions`.
    """
    if len(models) < 2:
        raise ValueError(f"A comparison needs at least two models, got {len(models)}: {', '.join(models)}.")
    scored = {
        name: [score_queries(predictions, ground_truth, clip_length) for predictions in runs]
        for name, runs in models.items()
    }
    first = next(iter(scored.values()))[0]
    names = [name for name in first.values if all(name in run.values for runs in scored.values() for run in runs)]
    units: Sequence[Any] = first.qids if unit == "query" else first.vids
    means = [_mean_of_runs(runs, names) for runs in scored.values()]
    samples = [resampled_means(values, first.weights, units, bootstrap) for values in means]
    metrics = []
    for column, name in enumerate(names):
        values = tuple(weighted_mean(model[:, column], first.weights) for model in means)
        pairs = zip(values[1:], samples[1:], strict=True)
        differences = tuple(
            _difference(value - values[0], drawn[:, column] - samples[0][:, column], bootstrap)
            for value, drawn in pairs
        )
        metrics.append(ComparedMetric(name, int((~np.isnan(means[0][:, column])).sum()), values, differences))
    assumptions = ASSUMPTIONS.format(
        confidence=bootstrap.confidence,
        num_resamples=bootstrap.num_resamples,
        num_units=len(set(units)),
        units="queries" if unit == "query" else "videos",
    )
    return Comparison(tuple(scored), tuple(map(len, scored.values())), tuple(metrics), assumptions)


def _mean_of_runs(runs: Sequence[QueryScores], names: Sequence[str]) -> np.ndarray:
    """Scores (Q, K): which queries count depends on the truth alone, and so is the same in all runs."""
    return np.mean([np.stack([run.values[name] for name in names], axis=1) for run in runs], axis=0)


def _difference(value: float, samples: np.ndarray, bootstrap: Bootstrap) -> Difference:
    if np.isnan(samples).all():
        return Difference(0.0, 0.0, 0.0)
    low, high = interval(samples[:, None], bootstrap.confidence)
    return Difference(float(value), float(low[0]), float(high[0]))
