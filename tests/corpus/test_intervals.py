import itertools
import math
from fractions import Fraction

import pytest

from videolights_hf.corpus import get_form
from videolights_hf.corpus.intervals import (
    Interval,
    count_clips,
    interval_clips,
    paper_intervals,
    paper_saliency,
    release_intervals,
    release_saliency,
)


def bounds(intervals):
    return [(float(interval.start), float(interval.end)) for interval in intervals]


def an_interval(start, end):
    return Interval(Fraction(start), Fraction(end), Fraction(start))


class TestPaper:
    def test_intervals_are_ten_seconds_and_the_last_ends_with_the_video(self):
        assert bounds(paper_intervals(34.5)) == [(0, 10), (10, 20), (20, 30), (30, 34.5)]

    @pytest.mark.parametrize(("duration", "number"), [(0.4, 1), (10.0, 1), (10.01, 2), (150.0, 15), (150.02, 16)])
    def test_there_are_as_many_as_duration_over_ten_rounded_up(self, duration, number):
        assert len(paper_intervals(duration)) == number

    def test_the_middle_frame_is_captioned(self):
        assert [float(interval.frame_time) for interval in paper_intervals(34.5)] == [5, 15, 25, 32.25]

    def test_saliency_is_the_cosine_similarity(self):
        assert paper_saliency(-0.25) == -0.25


class TestRelease:
    def test_frames_are_ten_seconds_apart_and_intervals_share_the_whole_seconds(self):
        intervals = release_intervals(149.9)
        assert [float(interval.frame_time) for interval in intervals] == [5.0 + 10 * index for index in range(15)]
        assert bounds(intervals)[-1] == pytest.approx((149 - 149 / 15, 149))
        assert {interval.end - interval.start for interval in intervals} == {Fraction(149, 15)}

    @pytest.mark.parametrize(
        ("duration", "number"), [(10.2, 1), (14.9, 1), (15.0, 2), (126.0, 13), (150.0, 15), (154.99, 15)]
    )
    def test_there_are_as_many_as_frames_at_a_tenth_of_a_frame_a_second(self, duration, number):
        assert len(release_intervals(duration)) == number

    @pytest.mark.parametrize("duration", [1.0, 4.0, 10.1])
    def test_a_short_video_has_two_frames(self, duration):
        first, second = release_intervals(duration)
        assert [float(first.frame_time), float(second.frame_time)] == pytest.approx([duration / 4, 3 * duration / 4])
        assert float(second.end) == math.floor(duration)

    def test_a_video_of_less_than_a_second_has_none(self):
        assert release_intervals(0.99) == []

    def test_one_interval_begins_where_the_last_ended(self):
        intervals = release_intervals(127.3)
        assert all(one.end == other.start for one, other in itertools.pairwise(intervals))

    @pytest.mark.parametrize(
        ("probability", "saliency"),
        [(0.0, math.e), (0.4, math.e), (0.5, math.exp(1.25)), (0.8, math.exp(2)), (1.0, math.exp(2.5))],
    )
    def test_saliency_is_flat_and_then_exponential(self, probability, saliency):
        assert release_saliency(probability) == pytest.approx(saliency)


class TestClips:
    def test_first_begins_before_the_interval_and_last_ends_after_it(self):
        assert list(interval_clips(an_interval("9.9", "19.8"), 75, 2.0)) == [4, 5, 6, 7, 8, 9]

    def test_bounds_on_the_grid_take_no_clip_beyond(self):
        assert list(interval_clips(an_interval(10, 20), 75, 2.0)) == [5, 6, 7, 8, 9]
        assert list(interval_clips(an_interval(10, 20), 150, 1.0)) == list(range(10, 20))

    def test_thirds_of_seconds_do_not_win_a_clip_by_rounding(self):
        step = Fraction(20, 3)
        assert list(interval_clips(an_interval(2 * step, 3 * step), 10, 2.0))[-1] == 9

    def test_none_is_past_the_last_clip(self):
        assert list(interval_clips(an_interval(140, 151), 75, 2.0)) == [70, 71, 72, 73, 74]

    def test_a_split_second_at_the_end_has_none(self):
        assert not interval_clips(paper_intervals(150.02)[-1], count_clips(150.02, 2.0), 2.0)

    @pytest.mark.parametrize(("duration", "number"), [(0.3, 1), (150.0, 75), (150.9, 75), (151.0, 76)])
    def test_number_of_clips(self, duration, number):
        assert count_clips(duration, 2.0) == number


def test_unknown_form_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'paper'"):
        get_form("papper")


def test_forms_score_and_skip_as_they_were_published():
    release, paper = get_form("release"), get_form("paper")
    assert (release.scoring, release.max_duration) == ("matching", 500)
    assert (paper.scoring, paper.max_duration) == ("similarity", math.inf)
