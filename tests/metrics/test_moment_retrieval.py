import numpy as np
import pytest

from tests.support import metric_reference as reference
from tests.support.metric_samples import random_moment_queries
from videolights_hf.metrics import common
from videolights_hf.metrics.moment_retrieval import (
    LENGTH_RANGES,
    MAP_IOU_THRESHOLDS,
    RECALL_IOU_THRESHOLDS,
    average_precision,
    first_moment_iou,
    moment_retrieval_metrics,
)


def test_thresholds_are_the_published_ones_to_the_digit():
    assert [str(threshold) for threshold in MAP_IOU_THRESHOLDS] == (
        ["0.5", "0.55", "0.6", "0.65", "0.7", "0.75", "0.8", "0.85", "0.9", "0.95"]
    )
    assert [str(threshold) for threshold in RECALL_IOU_THRESHOLDS[:5]] == ["0.3", "0.35", "0.4", "0.45", "0.5"]
    assert RECALL_IOU_THRESHOLDS[4:] == MAP_IOU_THRESHOLDS


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_equals_the_definition_query_by_query(seed):
    predictions, truth = random_moment_queries(150, seed)
    expected = [
        [reference.detection_ap(windows, moments, threshold) for threshold in MAP_IOU_THRESHOLDS]
        for windows, moments in zip(predictions, truth)
    ]
    np.testing.assert_allclose(average_precision(predictions, truth), expected, atol=1e-12)
    assert 0.02 < np.mean(expected) < 0.9


@pytest.mark.parametrize("seed", range(3))
def test_first_moment_iou_equals_the_definition_query_by_query(seed):
    predictions, truth = random_moment_queries(150, seed)
    expected = [reference.first_iou(windows, moments) for windows, moments in zip(predictions, truth)]
    np.testing.assert_allclose(first_moment_iou(predictions, truth), expected, atol=1e-12)
    assert 0.02 < np.mean(expected) < 0.9


def test_average_precision_of_a_case_computed_by_hand():
    # Ranked: a miss, the first moment, a miss, the second moment: 1/2 * 1/2 + 1/2 * 1/2.
    predictions = [[50, 60, 0.9], [0, 10, 0.8], [80, 90, 0.7], [20, 30, 0.6]]
    assert average_precision([predictions], [[[0, 10], [20, 30]]], [0.5]).tolist() == [[0.5]]


def test_precision_is_interpolated_from_the_right():
    # Ranked: a hit, a miss, two hits: precisions 1, 1/2, 2/3, 3/4; the third hit lifts the second to 3/4.
    predictions = [[0, 10, 0.9], [90, 95, 0.8], [20, 30, 0.7], [40, 50, 0.6]]
    value = average_precision([predictions], [[[0, 10], [20, 30], [40, 50]]], [0.5])[0, 0]
    assert value == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)


def test_a_moment_is_matched_once_and_then_the_next_best():
    # Both predictions overlap the first moment most; the second still reaches 0.5 with the other.
    predictions = [[0, 10, 0.9], [0, 10, 0.8]]
    assert average_precision([predictions], [[[0, 10], [0, 20]]], [0.5, 0.75]).tolist() == [[1.0, 0.5]]


def test_of_moments_with_equal_iou_the_last_is_taken():
    # The first window overlaps both moments by half; if it took the first one, the second window would miss.
    predictions = [[0, 20, 0.9], [0, 10, 0.8]]
    assert average_precision([predictions], [[[0, 10], [10, 20]]], [0.5]).tolist() == [[1.0]]
    assert average_precision([predictions], [[[10, 20], [0, 10]]], [0.5]).tolist() == [[0.5]]


def test_only_the_best_ten_predictions_count_whatever_their_order():
    misses = [[100, 110, 0.5]] * 10
    assert average_precision([[*misses, [0, 10, 0.4]]], [[[0, 10]]], [0.5]).tolist() == [[0.0]]
    assert average_precision([[*misses, [0, 10, 0.6]]], [[[0, 10]]], [0.5]).tolist() == [[1.0]]
    assert average_precision([[*misses, [0, 10, 0.4]]], [[[0, 10]]], [0.5], max_predictions=11)[0, 0] > 0


def test_recall_looks_at_the_window_of_highest_score():
    assert first_moment_iou([[[90, 99, 0.1], [0, 10, 0.7]]], [[[0, 10]]]).tolist() == [1.0]


@pytest.mark.filterwarnings("error")
def test_two_windows_of_no_length_at_one_place_overlap_by_zero():
    assert first_moment_iou([[[5, 5, 1.0]]], [[[5, 5]]]).tolist() == [0.0]
    assert average_precision([[[5, 5, 1.0]]], [[[5, 5]]]).max() == 0.0


def test_recall_divides_by_the_span_of_overlapping_windows():
    # Exactly half; the sum of the lengths less the overlap, by which the average precision divides, rounds to less.
    predictions, truth = [[[0.0, 1.0, 1.0]]], [[[0.2, 1.6]]]
    assert first_moment_iou(predictions, truth).tolist() == [0.5]
    assert average_precision(predictions, truth, [0.5]).tolist() == [[0.0]]


def test_queries_without_prediction_or_moment_have_no_precision():
    assert average_precision([[], [[0, 10, 1]]], [[[0, 10]], []]).max() == 0.0
    assert first_moment_iou([[], [[0, 10, 1]]], [[[0, 10]], []]).tolist() == [0.0, 0.0]
    assert average_precision([[]], [[]]).shape == (1, 10)
    assert average_precision([], []).shape == (0, 10)
    assert first_moment_iou([[]], [[]]).tolist() == [0.0]


def test_metrics_hold_the_published_keys():
    metrics = moment_retrieval_metrics([[[0, 10, 1]]], [[[0, 10]]])
    assert set(metrics) == {"brief", "full", "short", "middle", "long"}
    assert set(metrics["brief"]) == {
        *(f"MR-full-R1@{threshold}" for threshold in (0.3, 0.5, 0.7)),
        *("MR-full-mAP", "MR-full-mAP@0.5", "MR-full-mAP@0.75", "MR-full-mIoU"),
        *("MR-short-mAP", "MR-middle-mAP", "MR-long-mAP"),
    }
    assert set(metrics["full"]) == {"MR-mIoU", "MR-mAP", "MR-R1"}
    assert list(metrics["full"]["MR-mAP"]) == [*map(str, MAP_IOU_THRESHOLDS), "average"]
    assert list(metrics["full"]["MR-R1"]) == [*map(str, RECALL_IOU_THRESHOLDS)]


def test_a_range_counts_only_its_windows_and_only_queries_that_have_one():
    truth = [[[0, 10], [20, 50]], [[0, 31]], []]
    predictions = [[[20, 50, 0.9], [0, 10, 0.8]], [[0, 31, 0.5]], [[0, 10, 0.5]]]
    metrics = moment_retrieval_metrics(predictions, truth)
    # Length 10 is short, 30 is middle: the upper end belongs to the range. The third query has no moment at all.
    assert metrics["brief"]["MR-short-mAP"] == 50.0
    assert metrics["brief"]["MR-middle-mAP"] == 100.0
    assert metrics["brief"]["MR-long-mAP"] == 100.0
    assert metrics["short"]["MR-R1"]["0.5"] == 0.0
    assert metrics["full"]["MR-R1"]["0.95"] == 100.0
    assert metrics["full"]["MR-mIoU"] == 100.0


def test_every_range_equals_the_definition():
    predictions, truth = random_moment_queries(200, seed=5)
    metrics = moment_retrieval_metrics(predictions, truth)
    for name, (low, high) in LENGTH_RANGES.items() | {("full", (-1.0, 1e9))}:
        selected = [
            (windows, [moment for moment in moments if low < moment[1] - moment[0] <= high])
            for windows, moments in zip(predictions, truth)
        ]
        selected = [(windows, moments) for windows, moments in selected if moments]
        assert len(selected) > 20
        by_threshold = [
            np.mean([reference.detection_ap(*pair, threshold) for pair in selected])
            for threshold in MAP_IOU_THRESHOLDS
        ]
        assert metrics[name]["MR-mAP"]["average"] == pytest.approx(100 * np.mean(by_threshold), abs=0.0051)
        assert metrics[name]["MR-mAP"]["0.75"] == pytest.approx(100 * by_threshold[5], abs=0.0051)
        iou = np.array([reference.first_iou(*pair) for pair in selected])
        assert metrics[name]["MR-mIoU"] == pytest.approx(100 * iou.mean(), abs=0.0051)


def test_a_range_without_queries_is_zero_throughout():
    metrics = moment_retrieval_metrics([[[0, 5, 1]]], [[[0, 5]]])
    assert metrics["short"]["MR-mIoU"] == 100.0
    assert metrics["long"]["MR-mIoU"] == 0.0
    assert set(metrics["long"]["MR-mAP"].values()) == {0.0}
    assert set(metrics["long"]["MR-R1"].values()) == {0.0}
    assert metrics["long"].keys() == metrics["full"].keys()


def test_own_length_ranges_replace_the_published_ones():
    metrics = moment_retrieval_metrics([[[0, 5, 1]]], [[[0, 5]]], length_ranges={"tiny": (0, 6)})
    assert set(metrics) == {"brief", "full", "tiny"}
    assert metrics["brief"]["MR-tiny-mAP"] == 100.0


def test_arrays_are_accepted_as_rows():
    metrics = moment_retrieval_metrics([np.array([[0, 10, 1.0]], dtype=np.float32)], [np.array([[0, 10]])])
    assert metrics["brief"]["MR-full-mAP"] == 100.0


@pytest.mark.parametrize(
    ("predictions", "truth", "message"),
    [
        ([[[0, float("nan"), 1]]], [[[0, 1]]], "predicted windows of query 'q7' hold a value that is not a finite"),
        ([[[0, 1, float("inf")]]], [[[0, 1]]], "predicted windows of query 'q7' hold a value that is not a finite"),
        ([[[0, 1, 1]]], [[[0, float("nan")]]], "ground-truth windows of query 'q7' hold a value that is not"),
        ([[[9, 1, 1]]], [[[0, 1]]], r"predicted windows of query 'q7': \[9.0, 1.0\] ends before it starts"),
        ([[[0, 1, 1]]], [[[5, 1]]], r"ground-truth windows of query 'q7': \[5.0, 1.0\] ends before it starts"),
        (
            [[[0, 1]]],
            [[[0, 1]]],
            r"predicted windows of query 'q7': each entry must be 3 numbers, but one is \[0, 1\]",
        ),
        ([[[0, 1, "x"]]], [[[0, 1]]], "predicted windows of query 'q7': each entry must be 3 numbers"),
        ([[0, 1, 1]], [[[0, 1]]], "predicted windows of query 'q7': each entry must be 3 numbers, but one is 0"),
        ([3], [[[0, 1]]], "predicted windows of query 'q7' must be a list"),
    ],
)
def test_malformed_windows_are_refused_with_the_qid(predictions, truth, message):
    with pytest.raises(ValueError, match=message):
        moment_retrieval_metrics(predictions, truth, qids=["q7"])


def test_without_ids_the_row_is_named():
    with pytest.raises(ValueError, match="predicted windows of query #1 "):
        first_moment_iou([[[0, 1, 1]], [[0, 1, float("nan")]]], [[[0, 1]], [[0, 1]]])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\], but got \[0, 1.5\]"):
        average_precision([[]], [[]], [0, 0.5, 1.5])
    with pytest.raises(ValueError, match="max_predictions must be at least 1, but is 0"):
        average_precision([[]], [[]], max_predictions=0)
    with pytest.raises(ValueError, match="one entry per query each, but have 1 and 2"):
        moment_retrieval_metrics([[]], [[], []])


def test_groups_of_queries_score_as_all_together(monkeypatch):
    predictions, truth = random_moment_queries(80)
    together = moment_retrieval_metrics(predictions, truth)
    by_query = average_precision(predictions, truth), first_moment_iou(predictions, truth)
    monkeypatch.setattr(common, "_MAX_CELLS", 300)
    assert moment_retrieval_metrics(predictions, truth) == together
    np.testing.assert_allclose(average_precision(predictions, truth), by_query[0], rtol=1e-12)
    np.testing.assert_allclose(first_moment_iou(predictions, truth), by_query[1], rtol=1e-12)


def test_one_query_with_very_many_windows_costs_no_more_than_its_own_size():
    many = [[0.0, 1.0, 0.5]] * 300_000
    results = moment_retrieval_metrics([many, *[[[0, 1, 1]]] * 20_000], [[[0, 1]]] * 20_001)
    assert results["brief"]["MR-full-R1@0.7"] == 100.0
