import json
from pathlib import Path

import numpy as np
import pytest

from videolights_hf.inference.moments import (
    post_process_windows,
    round_decimals,
    select_moments,
    temporal_nms,
)

GOLDEN = json.loads((Path(__file__).parent.parent / "fixtures" / "postprocess.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["postprocess"], ids=lambda case: f"{case['clip_length']}-{case['steps'][0]}")
def test_windows_equal_the_released_post_processor(case):
    clips_times = "clip_ts" in case["steps"]
    clips_lengths = "clip_window_l" in case["steps"]
    result = post_process_windows(
        case["windows"],
        clip_length=case["clip_length"] if "round_multiple" in case["steps"] else None,
        min_timestamp=case["min_ts"] if clips_times else None,
        max_timestamp=case["max_ts"] if clips_times else None,
        min_length=case["min_window"] if clips_lengths else None,
        max_length=case["max_window"] if clips_lengths else None,
        keep=case["move"],
    )
    assert result.tolist() == case["expected"]


@pytest.mark.parametrize("index", range(len(GOLDEN["nms"])))
def test_nms_equals_the_released_one(index):
    case = GOLDEN["nms"][index]
    kept = temporal_nms(case["windows"], case["nms_threshold"], case["max_after_nms"])
    assert kept.tolist() == case["expected"]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("left", [[10, 20], [30, 50], [60, 75]]),
        ("right", [[4, 14], [50, 70], [60, 75]]),
        ("center", [[7, 17], [40, 60], [60, 75]]),
    ],
)
def test_length_clipping_keeps_the_chosen_part_in_place(keep, expected):
    windows = [[10, 14, 0.5], [30, 70, 0.4], [60, 75, 0.3]]
    result = post_process_windows(windows, min_length=10, max_length=20, keep=keep)
    assert result[:, :2].tolist() == expected


def test_halves_round_to_the_even_multiple():
    assert post_process_windows([[1, 3, 0.1], [5, 7, 0.2]], clip_length=2)[:, :2].tolist() == [[0, 4], [4, 8]]


def test_windows_given_are_not_changed():
    windows = np.array([[1.23456, 200.0, 0.123456]])
    post_process_windows(windows, clip_length=2, max_timestamp=150)
    assert windows.tolist() == [[1.23456, 200.0, 0.123456]]


def test_no_windows_stay_no_windows():
    assert post_process_windows([], clip_length=2, min_length=1).shape == (0, 3)
    assert temporal_nms(np.zeros((0, 3)), 0.5).shape == (0, 3)
    assert select_moments([], 10.0, nms_threshold=0.5) == []


def test_identical_zero_length_windows_survive_nms():
    windows = [[4, 4, 0.9], [4, 4, 0.8]]
    assert temporal_nms(windows, 0.5).tolist() == windows


def test_nms_keeps_windows_whose_overlap_equals_the_threshold():
    windows = [[0, 2, 0.9], [1, 3, 0.8]]
    assert len(temporal_nms(windows, 1 / 3)) == 2
    assert len(temporal_nms(windows, 0.33)) == 1


def test_rounding_is_that_of_printing():
    values = np.array([[0.00005, 1.00015], [2.67545, -0.00005]])
    printed = [[float(f"{value:.4f}") for value in row] for row in values]
    assert round_decimals(values).tolist() == printed
    assert round_decimals(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip_length": 0}, "clip_length"),
        ({"min_timestamp": 5, "max_timestamp": 1}, "min_timestamp"),
        ({"min_length": 5, "max_length": 1}, "min_length"),
        ({"keep": "middle"}, "keep"),
    ],
)
def test_senseless_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        post_process_windows([[0, 1, 0.5]], **settings)


def test_windows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(N, 3\), got \(1, 2\)"):
        post_process_windows([[0, 1]])


@pytest.mark.parametrize(("threshold", "most"), [(-0.1, 5), (1.5, 5), (0.5, 0)])
def test_senseless_nms_settings_are_refused(threshold, most):
    with pytest.raises(ValueError, match="nms"):
        temporal_nms([[0, 1, 0.5]], threshold, most)


def test_moments_come_by_score_and_equal_scores_in_the_given_order():
    windows = [[0, 2, 0.3], [4, 6, 0.9], [8, 10, 0.3]]
    moments = select_moments(windows, 20.0)
    assert [moment["start"] for moment in moments] == [4, 0, 8]


def test_scores_below_the_threshold_are_left_out_and_the_best_are_kept():
    windows = [[0, 2, 0.3], [4, 6, 0.9], [8, 10, 0.5]]
    assert [m["score"] for m in select_moments(windows, 20.0, score_threshold=0.5)] == [0.9, 0.5]
    assert [m["score"] for m in select_moments(windows, 20.0, top_k=1)] == [0.9]
    with pytest.raises(ValueError, match="top_k"):
        select_moments(windows, 20.0, top_k=0)


def test_nms_works_on_rounded_windows():
    windows = [[0.4, 5.6, 0.9], [0.1, 6.3, 0.8]]
    assert len(select_moments(windows, 20.0, clip_length=2, nms_threshold=0.99)) == 1
    assert len(select_moments(windows, 20.0, nms_threshold=0.99)) == 2


def test_moments_end_with_the_video_even_after_rounding():
    (moment,) = select_moments([[25, 40, 0.5]], 31.0, clip_length=2)
    assert (moment["start"], moment["end"]) == (24, 31)


def test_release_bounds_round_past_the_end_of_the_video():
    (moment,) = select_moments([[25, 40, 0.5]], 31.0, clip_length=2, clamp=(0, 150))
    assert (moment["start"], moment["end"]) == (24, 40)
    (moment,) = select_moments([[-25, 40, 0.5]], 31.0, clamp=None)
    assert (moment["start"], moment["end"]) == (-25, 40)


@pytest.mark.parametrize(
    ("window", "expected"),
    [((10.4, 10.6), (10, 12)), ((11, 13), (12, 14)), ((30.9, 31), (30, 31)), ((31, 31), (30, 31)), ((0, 0.2), (0, 2))],
)
def test_a_moment_that_rounding_would_empty_becomes_the_clip_that_holds_it(window, expected):
    (moment,) = select_moments([[*window, 0.5]], 31.0, clip_length=2)
    assert (moment["start"], moment["end"]) == expected


def test_unknown_bounds_are_refused():
    with pytest.raises(ValueError, match="clamp"):
        select_moments([[0, 1, 0.5]], 10.0, clamp="video")
