import json
from pathlib import Path

import numpy as np
import pytest

from videolights_hf.inference.moments import (
    MomentSelection,
    adjust_times,
    check_finite,
    round_decimals,
    select_moments,
    temporal_nms,
)

GOLDEN = json.loads((Path(__file__).parent.parent / "fixtures" / "postprocess.json").read_text())


def select(windows, duration, **settings):
    return select_moments(np.array(windows, dtype=float), duration, 2.0, MomentSelection(**settings))


@pytest.mark.parametrize("case", GOLDEN["postprocess"], ids=lambda case: f"{case['clip_length']}-{case['steps'][0]}")
def test_windows_equal_the_released_post_processor(case):
    clips_times = "clip_ts" in case["steps"]
    clips_lengths = "clip_window_l" in case["steps"]
    selection = MomentSelection(
        round_to_clips="round_multiple" in case["steps"],
        bounds=(case["min_ts"], case["max_ts"]) if clips_times else None,
        min_length=case["min_window"] if clips_lengths else None,
        max_length=case["max_window"] if clips_lengths else None,
        keep=case["move"],
    )
    result = adjust_times(case["windows"], 150.0, case["clip_length"], selection)
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
    selection = MomentSelection(min_length=10, max_length=20, keep=keep, round_to_clips=False, bounds=None)
    result = adjust_times(windows, 100.0, 2.0, selection)
    assert result[:, :2].tolist() == expected


def test_halves_round_to_the_even_multiple():
    rounded = adjust_times([[1, 3, 0.1], [5, 7, 0.2]], 20.0, 2.0, MomentSelection())
    assert rounded[:, :2].tolist() == [[0, 4], [4, 8]]


def test_windows_given_are_not_changed():
    windows = np.array([[1.23456, 200.0, 0.123456]])
    adjust_times(windows, 150.0, 2.0, MomentSelection())
    assert windows.tolist() == [[1.23456, 200.0, 0.123456]]


def test_no_windows_stay_no_windows():
    assert adjust_times([], 10.0, 2.0, MomentSelection(min_length=1)).shape == (0, 3)
    assert temporal_nms(np.zeros((0, 3)), 0.5).shape == (0, 3)
    assert select(np.zeros((0, 3)), 10.0, nms_threshold=0.5) == []


def test_identical_zero_length_windows_survive_nms():
    windows = [[4.0, 4.0, 0.9], [4.0, 4.0, 0.8]]
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
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"score_threshold": float("nan")}, "score_threshold"),
        ({"top_k": 0}, "top_k"),
        ({"nms_threshold": -0.1}, "nms_threshold"),
        ({"nms_threshold": 1.5}, "nms_threshold"),
        ({"max_after_nms": 0}, "max_after_nms"),
        ({"bounds": (5, 1)}, "low and high"),
        ({"bounds": "video"}, "'duration'"),
        ({"min_length": 5, "max_length": 1}, "min_length"),
        ({"keep": "middle"}, "keep"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MomentSelection(**settings)


def test_a_clip_length_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="clip_length"):
        adjust_times([[0, 1, 0.5]], 10.0, 0.0, MomentSelection())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_predictions_that_are_not_finite_are_refused(value):
    check_finite(np.zeros(3), np.ones((2, 2)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        check_finite(np.zeros(3), np.array([[0.5, value]]))


def test_windows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(N, 3\), got \(1, 2\)"):
        adjust_times([[0, 1]], 10.0, 2.0, MomentSelection())


def test_moments_come_by_score_and_equal_scores_in_the_given_order():
    windows = [[0, 2, 0.3], [4, 6, 0.9], [8, 10, 0.3]]
    moments = select(windows, 20.0)
    assert [moment["start"] for moment in moments] == [4, 0, 8]


def test_scores_below_the_threshold_are_left_out_and_the_best_are_kept():
    windows = [[0, 2, 0.3], [4, 6, 0.9], [8, 10, 0.5]]
    assert [m["score"] for m in select(windows, 20.0, score_threshold=0.5)] == [0.9, 0.5]
    assert [m["score"] for m in select(windows, 20.0, top_k=1)] == [0.9]


def test_nms_works_on_rounded_windows():
    windows = [[0.4, 5.6, 0.9], [0.1, 6.3, 0.8]]
    assert len(select(windows, 20.0, nms_threshold=0.99)) == 1
    assert len(select(windows, 20.0, nms_threshold=0.99, round_to_clips=False)) == 2


def test_moments_end_with_the_video_even_after_rounding():
    (moment,) = select([[25, 40, 0.5]], 31.0)
    assert (moment["start"], moment["end"]) == (24, 31)


def test_release_bounds_round_past_the_end_of_the_video():
    (moment,) = select([[25, 40, 0.5]], 31.0, bounds=(0, 150))
    assert (moment["start"], moment["end"]) == (24, 40)
    (moment,) = select([[-25, 40, 0.5]], 31.0, bounds=None, round_to_clips=False)
    assert (moment["start"], moment["end"]) == (-25, 40)


@pytest.mark.parametrize(
    ("window", "expected"),
    [((10.4, 10.6), (10, 12)), ((11, 13), (12, 14)), ((30.9, 31), (30, 31)), ((31, 31), (30, 31)), ((0, 0.2), (0, 2))],
)
def test_a_moment_that_rounding_would_empty_becomes_the_clip_that_holds_it(window, expected):
    (moment,) = select([[*window, 0.5]], 31.0)
    assert (moment["start"], moment["end"]) == expected
