from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.support.metric_samples import random_moment_queries, random_saliency_queries
from videolights_hf.metrics import (
    Bootstrap,
    evaluate_predictions,
    interval,
    moments_by_length,
    moments_by_position,
    resampled_means,
    score_moments,
    score_queries,
    weighted_mean,
)


def moment_rows(num_queries=60):
    predicted, truth = random_moment_queries(num_queries)
    saliency, ratings = random_saliency_queries(num_queries)
    rows, predictions = [], []
    for qid in range(num_queries):
        clips = len(ratings[qid])
        rows.append(
            {
                "qid": qid,
                "vid": f"v{qid // 2}",
                "duration": max(2.0 * clips, max((end for _, end in truth[qid]), default=0) + 2),
                "relevant_windows": truth[qid],
                "relevant_clip_ids": list(range(clips)),
                "saliency_scores": ratings[qid],
            }
        )
        predictions.append(
            {"qid": qid, "pred_relevant_windows": predicted[qid], "pred_saliency_scores": saliency[qid]}
        )
    return predictions[:-3], rows


def test_means_are_the_published_metrics():
    predictions, rows = moment_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        brief = evaluate_predictions(predictions, rows)["brief"]
        results = evaluate_predictions(predictions, rows)
        means = score_queries(predictions, rows).means()
    assert brief.keys() <= means.keys()
    assert {name: float(f"{means[name]:.2f}") for name in brief} == brief
    assert float(f"{means['MR-short-R1@0.5']:.2f}") == results["short"]["MR-R1"]["0.5"]
    assert float(f"{means['MR-middle-mIoU']:.2f}") == results["middle"]["MR-mIoU"]


@pytest.mark.parametrize("columns", [20, 1])
def test_means_of_domains_count_the_same_whatever_their_number_of_videos(columns):
    rng = np.random.default_rng(0)
    domains = ["BK", "BK", "BK", "DS", "DS", "PR"]
    rows = [
        {"qid": qid, "vid": f"v{qid}", "domain": domain, "label": rng.integers(0, 2, (9, columns)).tolist()}
        for qid, domain in enumerate(domains)
    ]
    predictions = [{"qid": qid, "pred_saliency_scores": rng.random(9).tolist()} for qid in range(len(rows))]
    published = evaluate_predictions(predictions, rows)["brief"]["HL-mAP"]
    assert score_queries(predictions, rows).means()["HL-mAP"] == pytest.approx(100 * published, abs=1e-3)


def test_a_query_without_a_counted_moment_is_nan():
    scores = score_moments([[[0, 10, 0.9]], [[0, 10, 0.9]]], [[[0, 10]], []])
    assert scores["R1@0.7"].tolist()[0] == 100
    assert np.isnan(scores["R1@0.7"][1])
    assert weighted_mean(scores["mAP"], np.ones(2)) == 100


def test_moments_are_split_by_length_and_by_where_they_lie():
    rows = [{"duration": 100.0, "relevant_windows": [[0, 10], [10, 30], [60, 100]]}]
    assert moments_by_length(rows) == {"short": [[[0, 10]]], "middle": [[[10, 30]]], "long": [[[60, 100]]]}
    parts = moments_by_position(rows)
    assert list(parts) == ["0–20 %", "20–40 %", "40–60 %", "60–80 %", "80–100 %"]
    assert parts["0–20 %"] == [[[0, 10]]]
    assert parts["20–40 %"] == [[[10, 30]]]
    assert parts["80–100 %"] == [[[60, 100]]]


def test_paired_intervals_are_those_of_the_differences():
    # A difference that is the same for every query has an interval of width zero, however much queries differ.
    values = np.random.default_rng(0).normal(50, 20, 200)
    samples = resampled_means(np.stack([values, values + 3], axis=1), np.ones(200), range(200))
    low, high = interval(samples[:, 1:] - samples[:, :1])
    assert (low[0], high[0]) == (pytest.approx(3), pytest.approx(3))


def test_intervals_have_the_width_of_the_standard_error():
    values = np.random.default_rng(1).normal(0, 10, (400, 1))
    low, high = interval(resampled_means(values, np.ones(400), range(400)))
    assert (high - low)[0] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_drawing_videos_keeps_their_queries_together():
    # Two queries with the same score are one observation: the interval is wider by the square root of two.
    values = np.repeat(np.random.default_rng(2).normal(0, 10, 200), 2)[:, None]
    widths = []
    for units in (range(400), [query // 2 for query in range(400)]):
        low, high = interval(resampled_means(values, np.ones(400), list(units)))
        widths.append((high - low)[0])
    assert widths[1] / widths[0] == pytest.approx(2**0.5, rel=0.06)


def test_means_of_samples_leave_out_what_does_not_count():
    values = np.array([[10.0, np.nan], [20.0, np.nan], [np.nan, np.nan]])
    samples = resampled_means(values, np.ones(3), [0, 1, 2], Bootstrap(num_resamples=500))
    seen = samples[~np.isnan(samples[:, 0]), 0]
    assert seen.min() == 10
    assert seen.max() == 20
    assert np.isnan(samples[:, 1]).all()
    assert np.isnan(interval(samples)[0][1])


@pytest.mark.parametrize(("options", "message"), [({"num_resamples": 5}, "100"), ({"confidence": 1.0}, "confidence")])
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Bootstrap(**options)


def test_saliency_of_other_clips_is_refused():
    predictions, rows = moment_rows(6)
    other = [{**row, "clip_length": 1.0} for row in predictions]
    with pytest.raises(ValueError, match=r"clips of 1 s, the truth for clips of 2 s"):
        score_queries(other, rows)
