from __future__ import annotations

import json

import pytest

from tests.support.runs import annotation_rows, prediction_rows
from videolights_hf.metrics import Bootstrap, break_down, compare_models, evaluate_predictions

ROWS = annotation_rows(24)
FEW = Bootstrap(num_resamples=400)


def test_values_are_the_published_metrics_and_differences_are_to_the_first():
    good, bad = prediction_rows(ROWS), prediction_rows(ROWS, shift=4.0)
    comparison = compare_models({"bad": [bad], "good": [good]}, ROWS, bootstrap=FEW)
    by_name = {metric.name: metric for metric in comparison.metrics}
    for index, predictions in enumerate((bad, good)):
        brief = evaluate_predictions(predictions, ROWS)["brief"]
        assert {name: round(by_name[name].values[index], 2) for name in brief} == brief
    recall = by_name["MR-full-R1@0.5"]
    (difference,) = recall.differences
    assert difference.value == recall.values[1] - recall.values[0]
    assert difference.low <= difference.value <= difference.high
    assert difference.is_clear


def test_a_model_does_not_differ_from_itself():
    rows = prediction_rows(ROWS, shift=2.0)
    comparison = compare_models({"one": [rows], "same": [rows]}, ROWS, bootstrap=FEW)
    for metric in comparison.metrics:
        (difference,) = metric.differences
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert not difference.is_clear


def test_seeds_of_a_model_are_averaged_query_by_query():
    seeds = [prediction_rows(ROWS, shift=shift) for shift in (0.0, 4.0)]
    comparison = compare_models({"base": [seeds[1]], "two": seeds}, ROWS, bootstrap=FEW)
    means = [evaluate_predictions(rows, ROWS)["brief"]["MR-full-mIoU"] for rows in seeds]
    mean_iou = next(metric for metric in comparison.metrics if metric.name == "MR-full-mIoU")
    assert mean_iou.values[1] == pytest.approx(sum(means) / 2, abs=0.01)
    assert comparison.runs == (1, 2)


def test_the_assumptions_say_what_was_drawn():
    models = {"a": [prediction_rows(ROWS)], "b": [prediction_rows(ROWS, 2.0)]}
    assert "24 queries" in compare_models(models, ROWS, bootstrap=FEW).assumptions
    by_video = compare_models(models, ROWS, unit="video", bootstrap=FEW)
    assert "12 videos" in by_video.assumptions
    assert "another seed" in by_video.assumptions
    assert json.loads(json.dumps(by_video.to_dict()))["models"] == ["a", "b"]


def test_one_model_is_refused():
    with pytest.raises(ValueError, match="at least two models, got 1: a"):
        compare_models({"a": [prediction_rows(ROWS)]}, ROWS)


def test_a_missing_prediction_scores_zero_and_is_counted():
    with pytest.warns(UserWarning, match="1 queries have no prediction"):
        comparison = compare_models(
            {"a": [prediction_rows(ROWS)[1:]], "b": [prediction_rows(ROWS)]}, ROWS, bootstrap=FEW
        )
    recall = next(metric for metric in comparison.metrics if metric.name == "MR-full-R1@0.5")
    assert recall.values == (pytest.approx(100 * 23 / 24), 100.0)


def test_breakdown_by_length_is_that_of_the_published_ranges():
    predictions = prediction_rows(ROWS, shift=4.0)
    details = evaluate_predictions(predictions, ROWS)
    found = break_down(predictions, ROWS, bootstrap=FEW)["length"]
    assert [score.name for score in found["mAP"]] == ["short", "middle", "long"]
    for score in found["mAP"]:
        assert round(score.value, 2) == details[score.name]["MR-mAP"]["average"]
        assert score.num_queries == 8
        assert score.low <= score.value <= score.high
    assert round(found["R1@0.5"][1].value, 2) == details["middle"]["MR-R1"]["0.5"]


def test_breakdown_by_position_counts_each_moment_once():
    found = break_down(prediction_rows(ROWS), ROWS, bootstrap=FEW)["position"]["mAP"]
    assert sum(score.num_queries for score in found) == len(ROWS)
    assert next(score for score in found if score.num_queries == 0).value == 0
