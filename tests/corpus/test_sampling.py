import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.support.videos import gray_frames, numbered_frames, read_number, write_video
from videolights_hf.corpus import CorpusSettings
from videolights_hf.corpus.sampling import SampledVideo
from videolights_hf.corpus.sampling import sample_video as sample
from videolights_hf.video.reader import FrameRequirement, VideoReader, VideoReadError, VideoSource

RELEASE = CorpusSettings("release", caption_frame_size=48, clip_frame_size=24)
PAPER = replace(RELEASE, form="paper")


def sample_video(vid: str, video: VideoSource, settings: CorpusSettings) -> SampledVideo:
    return sample(vid, video, settings, clip_length=2.0)


def numbered_video(seconds: float, fps: int = 4, width: int = 64) -> VideoSource:
    """A video whose picture tells its number."""
    return VideoSource(numbered_frames(range(round(seconds * fps)), width=width), fps)


class TestPictures:
    def test_those_before_the_times_are_handed_out_once_for_each_time(self):
        reader = numbered_video(3).open()
        times = [Fraction(0), Fraction(1, 2), Fraction(1, 2), Fraction(9, 8), Fraction(100)]
        assert [read_number(frame.crop(48)) for frame in reader.frames_at(times)] == [0, 1, 1, 4, 11]

    def test_are_those_that_clips_get(self, tmp_path):
        path = write_video(tmp_path / "video.mp4", numbered_frames(range(90)), Fraction(30000, 1001))
        reader = VideoReader(path)
        ((_, clips),) = reader.clip_frames([FrameRequirement(48)], 1.0)
        times = [Fraction(1, 2), Fraction(3, 2), Fraction(5, 2)]
        assert all(
            np.array_equal(frame.crop(48), clip) for frame, clip in zip(reader.frames_at(times), clips, strict=True)
        )

    def test_whole_pictures_keep_their_sides_and_are_upright(self, tmp_path):
        path = write_video(tmp_path / "turned.mp4", gray_frames([0, 90]), 2, rotation=90)
        (frame,) = VideoReader(path).frames_at([Fraction(1)])
        assert frame.scale(24).shape == (32, 24, 3)
        assert frame.crop(24).shape == (24, 24, 3)


class TestRelease:
    def test_captions_the_middle_of_ten_seconds_and_scores_the_middle_of_clips(self):
        video = sample_video("v", numbered_video(30), RELEASE)
        # At 4 pictures a second, number n is shown from n / 4 s on.
        assert [read_number(frame) for frame in video.captioned] == [19, 59, 99]
        assert {index: read_number(frame) for index, frame in video.clip_frames.items()} == {
            index: 8 * index + 3 for index in range(14)
        }
        assert [list(clips) for clips in video.clips] == [[*range(5)], [*range(5, 10)], [*range(10, 14)]]

    def test_the_last_clip_is_kept_on_request(self):
        video = sample_video("v", numbered_video(30), replace(RELEASE, keep_last_clip=True))
        assert list(video.clips[-1]) == [*range(10, 15)]

    def test_captioned_frames_are_center_squares_and_so_are_scored_ones(self):
        video = sample_video("v", numbered_video(12, width=96), RELEASE)
        assert video.captioned[0].shape == (48, 48, 3)
        assert {frame.shape for frame in video.clip_frames.values()} == {(24, 24, 3)}

    def test_a_video_over_the_longest_duration_is_not_decoded(self):
        video = sample_video("v", numbered_video(30), replace(RELEASE, max_duration=29.9))
        assert video.skipped == "too_long"
        assert not video.intervals
        assert sample_video("v", numbered_video(30), replace(RELEASE, max_duration=30)).skipped is None

    def test_the_duration_counts_in_whole_seconds(self):
        video = sample_video("v", numbered_video(20.75), replace(RELEASE, max_duration=20))
        assert (video.duration, video.skipped) == (20.0, None)
        assert float(video.intervals[-1].end) == 20.0

    def test_a_video_of_half_a_second_has_nothing_to_caption(self):
        video = sample_video("v", numbered_video(0.5), RELEASE)
        assert video.skipped == "too_short"
        assert video.captioned == []

    def test_a_video_of_a_second_has_one_clip_for_both_captions(self):
        video = sample_video("v", numbered_video(1), RELEASE)
        assert [list(clips) for clips in video.clips] == [[0], [0]]


class TestPaper:
    def test_the_last_interval_is_captioned_in_its_own_middle(self):
        video = sample_video("v", numbered_video(24), PAPER)
        assert [read_number(frame) for frame in video.captioned] == [19, 59, 87]
        assert [list(clips) for clips in video.clips] == [[*range(5)], [*range(5, 10)], [10, 11]]

    def test_a_split_second_without_a_clip_of_its_own_is_left_out(self):
        video = sample_video("v", numbered_video(20.25), PAPER)
        assert [float(interval.end) for interval in video.intervals] == [10, 20]
        assert len(video.captioned) == 2

    def test_captioned_frames_are_whole_and_long_videos_are_not_skipped(self):
        video = sample_video("v", numbered_video(12, width=96), PAPER)
        assert video.captioned[0].shape == (48, 96, 3)
        frames = VideoSource(numbered_frames(range(2)), 1 / 300)
        assert sample_video("v", frames, replace(PAPER, interval_length=300)).skipped is None


@pytest.mark.parametrize("name", ["interval_length", "clip_frame_size", "caption_frame_size", "max_duration"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_sizes_that_are_not_positive_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be positive"):
        replace(RELEASE, **{name: value})


def test_what_is_no_video_is_an_error(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_bytes(b"nothing")
    with pytest.raises(VideoReadError, match=r"text\.mp4"):
        sample_video("v", VideoSource(path), RELEASE)
