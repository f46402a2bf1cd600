import itertools
import json
import math
from fractions import Fraction

import pytest

from tests.support.golden import golden_path
from videolights_hf.corpus import get_form
from videolights_hf.corpus.intervals import (
    Interval,
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
    @pytest.mark.parametrize("duration", [4.6, 9.9, 10.0])
    def test_a_short_video_has_two_frames(self, duration):
        first, second = release_intervals(duration)
        assert float(second.end) == math.floor(duration)
        assert first.end == second.start

    def test_a_video_of_less_than_a_second_has_none(self):
        assert release_intervals(0.99) == []

    def test_one_interval_begins_where_the_last_ended(self):
        intervals = release_intervals(127.3)
        assert all(one.end == other.start for one, other in itertools.pairwise(intervals))
        assert {interval.end - interval.start for interval in intervals} == {Fraction(127, 13)}

    def test_other_lengths_on_request(self):
        assert len(release_intervals(60.0, 20.0)) == 3


GOLDEN = json.loads((golden_path("data") / "pretraining_release.json").read_text())
# Below a second there is no moment that an annotation could name.
GOLDEN_VIDEOS = [video for video in GOLDEN["videos"] if video["duration"] >= 1 and not video["skipped"]]


class TestGolden:
    """What the released code made of videos whose pictures spell their number."""

    @pytest.mark.parametrize("video", GOLDEN_VIDEOS, ids=lambda video: str(video["duration"]))
    def test_intervals_and_their_clips_are_those_of_the_release(self, video):
        intervals = release_intervals(video["duration"])
        assert bounds(intervals) == [pytest.approx(row["window"]) for row in video["intervals"]]
        clips = [list(interval_clips(item, video["num_clips"], 2.0, keeps_last=False)) for item in intervals]
        ids = [row["exact_clip_ids"] for row in video["intervals"]]
        assert clips == [list(range(first[0], first[1] + 1)) if first else [] for first in ids]

    @pytest.mark.parametrize("video", GOLDEN_VIDEOS, ids=lambda video: str(video["duration"]))
    def test_captioned_frames_are_those_of_the_release(self, video):
        # Frame n is on show from n / fps on; wanted is the last one that began before the time.
        rate = Fraction(video["fps"])
        times = [interval.frame_time for interval in release_intervals(video["duration"])]
        assert [math.ceil(time * rate) - 1 for time in times] == video["captioned_frames"]

    def test_videos_of_more_than_500_whole_seconds_are_skipped(self):
        longest = get_form("release").max_duration
        assert longest == GOLDEN["max_duration_after_floor"]
        assert {math.floor(video["duration"]) > longest for video in GOLDEN["videos"] if video["skipped"]} == {True}

    @pytest.mark.parametrize(("probability", "saliency"), GOLDEN["saliency"])
    def test_saliency_is_flat_and_then_exponential(self, probability, saliency):
        assert release_saliency(probability) == pytest.approx(saliency, rel=1e-6)

    def test_models_prompt_and_lengths_are_those_of_the_release(self):
        form, captioner = get_form("release"), GOLDEN["captioner"]
        assert form.prompt == captioner["prompt"]
        own = captioner["prompt_tokens"]
        assert form.generation == {
            "num_beams": captioner["num_beams"],
            "do_sample": captioner["do_sample"],
            "min_new_tokens": captioner["min_length"] - own,
            "max_new_tokens": captioner["max_length"] - own,
        }
        assert (form.caption_frame_size, form.crops_captioned) == (GOLDEN["frame_size"], True)
        assert "base" in form.scorer
        assert GOLDEN["scorer"]["type"] == "base"


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

    def test_the_last_one_is_lost_on_request(self):
        assert list(interval_clips(an_interval(140, 150), 75, 2.0, keeps_last=False)) == [70, 71, 72, 73]
        assert list(interval_clips(an_interval(130, 140), 75, 2.0, keeps_last=False)) == [65, 66, 67, 68, 69]
        assert not interval_clips(an_interval(2, 4), 2, 2.0, keeps_last=False)

    def test_a_split_second_at_the_end_has_none(self):
        assert not interval_clips(paper_intervals(150.02)[-1], 75, 2.0)


def test_unknown_form_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'paper'"):
        get_form("papper")


def test_forms_score_and_skip_as_they_were_published():
    release, paper = get_form("release"), get_form("paper")
    assert (release.scoring, release.max_duration) == ("matching", 500)
    assert (paper.scoring, paper.max_duration) == ("similarity", math.inf)
