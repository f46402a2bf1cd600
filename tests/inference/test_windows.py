from __future__ import annotations

import numpy as np
import pytest

from videolights_hf.inference.windows import merge_moments, merge_saliency, plan_windows

CLIP = 2.0
WINDOW = 75


def windows_of(num_clips: int, stride: int | None = None, duration: float | None = None):
    return plan_windows(num_clips, CLIP, duration or num_clips * CLIP, WINDOW, stride)


def moment(start: float, end: float, score: float = 0.9) -> dict[str, float]:
    return {"start": start, "end": end, "score": score}


def see(windows, truth: tuple[float, float], score: float = 0.9) -> list[list[dict[str, float]]]:
    """What a perfect model reports in each window about one true moment of the video."""
    seen = []
    for window in windows:
        start, end = max(truth[0], window.start), min(truth[1], window.end)
        seen.append([moment(start - window.start, end - window.start, score)] if end > start else [])
    return seen


@pytest.mark.parametrize("num_clips", [1, 2, 74, 75])
def test_a_video_that_fits_is_one_window_over_everything(num_clips):
    (window,) = windows_of(num_clips, duration=num_clips * CLIP - 0.5)
    assert (window.first_clip, window.num_clips, window.start) == (0, num_clips, 0.0)
    assert window.duration == num_clips * CLIP - 0.5
    assert window.is_first
    assert window.is_last


def test_duration_of_a_single_window_is_taken_as_given():
    (window,) = plan_windows(2, CLIP, 1.0, WINDOW)
    assert window.duration == 1.0


@pytest.mark.parametrize("stride", [None, 1, 10, 74, 75])
@pytest.mark.parametrize("num_clips", [76, 100, 150, 151, 300])
def test_windows_are_full_and_leave_no_gap(num_clips, stride):
    windows = windows_of(num_clips, stride)
    assert {window.num_clips for window in windows} == {WINDOW}
    covered = np.zeros(num_clips)
    for window in windows:
        covered[window.clips] += 1
    assert covered.min() >= 1
    assert [window.is_first for window in windows] == [True] + [False] * (len(windows) - 1)
    assert [window.is_last for window in windows] == [False] * (len(windows) - 1) + [True]
    starts = [window.first_clip for window in windows]
    assert len(set(starts)) == len(starts)
    if num_clips - WINDOW >= (stride or 37):
        assert starts[1] == (stride or 37)


def test_last_window_ends_with_the_video():
    windows = windows_of(300, duration=599.3)
    assert windows[-1].clips == slice(225, 300)
    assert windows[-1].start == 450.0
    assert windows[-1].end == pytest.approx(599.3)
    assert windows[0].duration == 150.0


def test_no_clips_are_refused():
    with pytest.raises(ValueError, match="no clips"):
        plan_windows(0, CLIP, 0.0, WINDOW)


@pytest.mark.parametrize("stride", [0, -1, 76])
def test_a_stride_that_leaves_gaps_is_refused(stride):
    with pytest.raises(ValueError, match="stride"):
        windows_of(100, stride)


def test_duration_that_contradicts_the_clips_of_a_long_video_is_refused():
    with pytest.raises(ValueError, match=r"200 clips of 2 s make 400 s.*100 s"):
        plan_windows(200, CLIP, 100.0, WINDOW)


def test_saliency_of_one_window_is_unchanged():
    scores = np.random.default_rng(0).normal(size=40).astype(np.float32)
    assert np.array_equal(merge_saliency(windows_of(40), [scores]), scores)


def test_saliency_that_windows_agree_on_is_unchanged():
    truth = np.sin(np.arange(300) / 7)
    windows = windows_of(300)
    np.testing.assert_allclose(merge_saliency(windows, [truth[window.clips] for window in windows]), truth)


def test_saliency_fades_from_one_window_to_the_next():
    windows = windows_of(WINDOW + 37)
    merged = merge_saliency(windows, [np.zeros(WINDOW), np.ones(WINDOW)])
    overlap = merged[37:WINDOW]
    assert np.all(merged[:37] == 0)
    assert np.all(merged[WINDOW:] == 1)
    assert np.all(np.diff(overlap) > 0)
    assert overlap[0] < 0.05
    assert overlap[-1] > 0.95


def test_moments_of_one_window_are_unchanged():
    moments = [moment(-1.0, 200.0, 0.2), moment(3.0, 9.0)]
    assert merge_moments(windows_of(75), [moments], CLIP) == moments


def test_windows_must_match_their_predictions():
    with pytest.raises(ValueError, match="zip"):
        merge_moments(windows_of(300), [[]], CLIP)


@pytest.mark.parametrize(
    "truth",
    [(10.0, 30.0), (100.0, 200.0), (50.0, 170.0), (140.0, 160.0), (20.0, 580.0), (590.0, 600.0), (0.0, 600.0)],
    ids=["inside", "cut-once", "longer-than-overlap", "short-at-border", "many-windows", "at-the-end", "everything"],
)
@pytest.mark.parametrize("stride", [None, 20, 60])
def test_a_moment_anywhere_is_found_in_one_piece(truth, stride):
    windows = windows_of(300, stride)
    merged = merge_moments(windows, see(windows, truth), CLIP)
    assert {(item["start"], item["end"]) for item in merged} == {truth}
    assert merged[0]["score"] == pytest.approx(0.9)


def test_two_long_neighbors_are_not_joined_with_each_other():
    windows = windows_of(150)
    seen = [first + second for first, second in zip(see(windows, (20.0, 100.0)), see(windows, (104.0, 220.0)))]
    merged = merge_moments(windows, seen, CLIP)
    assert {(item["start"], item["end"]) for item in merged} == {(20.0, 100.0), (104.0, 220.0)}


def test_the_window_that_sees_the_whole_moment_decides_where_it_is():
    windows = windows_of(112)
    assert windows[1].start == 74.0
    merged = merge_moments(windows, [[moment(100.0, 150.0, 0.3)], [moment(24.0, 124.0, 0.9)]], CLIP)
    assert [(item["start"], item["end"]) for item in merged] == [(98.0, 198.0)]
    assert merged[0]["score"] == pytest.approx((50 * 0.3 + 100 * 0.9) / 150)


def test_a_moment_begun_before_the_window_is_taken_from_the_window_before():
    windows = windows_of(112)
    merged = merge_moments(windows, [[moment(40.0, 120.0, 0.8)], [moment(0.0, 45.0, 0.5)]], CLIP)
    assert [(item["start"], item["end"]) for item in merged] == [(40.0, 120.0)]


def test_a_weaker_cut_copy_of_a_joined_moment_is_dropped():
    windows = windows_of(112)
    earlier = [moment(100.0, 150.0, 0.9), moment(104.0, 150.0, 0.4)]
    later = [moment(26.0, 126.0, 0.9), moment(0.0, 90.0, 0.1), moment(0.0, 70.0, 0.05)]
    merged = merge_moments(windows, [earlier, later], CLIP)
    assert (merged[0]["start"], merged[0]["end"]) == (100.0, 200.0)
    assert (104.0, 150.0) not in {(item["start"], item["end"]) for item in merged}


def test_a_weaker_cut_copy_in_the_later_window_is_dropped():
    windows = windows_of(112)
    later = [moment(0.0, 46.0, 0.9), moment(0.0, 40.0, 0.2)]
    merged = merge_moments(windows, [[moment(40.0, 120.0, 0.9)], later], CLIP)
    assert [(item["start"], item["end"]) for item in merged] == [(40.0, 120.0)]


def test_a_cut_moment_that_no_other_window_confirms_stays():
    windows = windows_of(112)
    merged = merge_moments(windows, [[moment(120.0, 150.0, 0.7)], [moment(100.0, 140.0, 0.8)]], CLIP)
    assert [(item["start"], item["end"], item["score"]) for item in merged] == [
        (174.0, 214.0, 0.8),
        (120.0, 150.0, 0.7),
    ]


def test_a_span_that_leaves_its_window_is_cut_at_the_border():
    windows = windows_of(112)
    merged = merge_moments(windows, [[moment(-5.0, 20.0)], [moment(100.0, 170.0)]], CLIP)
    assert {(item["start"], item["end"]) for item in merged} == {(0.0, 20.0), (174.0, 224.0)}


def test_moments_come_out_by_score():
    windows = windows_of(300)
    moments = [[moment(5.0, 9.0, score)] for score in np.linspace(0.1, 0.8, len(windows))]
    scores = [item["score"] for item in merge_moments(windows, moments, CLIP)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(windows)


@pytest.mark.parametrize("duration", [100.0, float("nan")])
def test_a_duration_that_contradicts_the_clips_of_a_short_video_is_refused(duration):
    with pytest.raises(ValueError, match="10 clips of 2 s make 20 s"):
        windows_of(10, duration=duration)
