import numpy as np
import pytest

from videolights_hf.common.time_axis import TimeAxis, count_clips


@pytest.mark.parametrize(
    ("duration", "clip_length", "clips"),
    [(150, 2.0, 75), (61.2, 2.0, 31), (1.5, 2.0, 1), (2.4, 0.8, 3), (0.7, 0.1, 7), (30.96, 1.0, 31), (1e-9, 2.0, 1)],
)
def test_the_last_shorter_clip_counts_rounding_dust_does_not_and_there_is_one_clip(duration, clip_length, clips):
    assert count_clips(duration, clip_length) == clips


def test_features_within_a_clip_of_the_duration_keep_the_releases_two_scales():
    axis = TimeAxis(150.0, 74, 2.0)
    assert axis.is_covered
    np.testing.assert_allclose(axis.to_spans([[140.0, 150.0]]), [[145 / 148, 10 / 148]])
    assert axis.to_seconds(np.array([0.5, 1.0])).tolist() == [75.0, 150.0]
    assert axis.visible([[149.0, 150.0]]).tolist() == [[149.0, 150.0]]
    assert axis.clips_of((146.0, 150.0)) == (72, 73)


@pytest.mark.parametrize(("duration", "clips"), [(400.0, 75), (200.0, 58), (116.0, 75), (20.0, 75)])
def test_where_features_and_duration_differ_a_perfect_answer_is_the_truth(duration, clips):
    axis = TimeAxis(duration, clips, 2.0)
    assert not axis.is_covered
    center, width = axis.to_spans([[10.0, 16.0]])[0]
    assert axis.to_seconds(np.array([center - width / 2, center + width / 2])) == pytest.approx([10.0, 16.0])
    assert axis.clips_of((10.0, 16.0)) == (5, 7)


def test_moments_are_cut_to_what_is_seen_and_dropped_outside():
    axis = TimeAxis(400.0, 75, 2.0)
    moments = [[140.0, 160.0], [300.0, 340.0], [20.0, 40.0], [150.0, 170.0]]
    assert axis.visible(moments).tolist() == [[140.0, 150.0], [20.0, 40.0]]


def test_a_window_of_a_video_has_its_own_origin():
    axis = TimeAxis(400.0 - 100.0, 75, 2.0, first_clip=50)
    assert (axis.start, axis.covered, axis.seconds) == (100.0, 150.0, 150.0)
    assert axis.visible([[90.0, 130.0], [0.0, 50.0], [260.0, 270.0]]).tolist() == [[100.0, 130.0]]
    assert axis.to_spans([[100.0, 130.0]]).tolist() == [[0.1, 0.2]]
    assert axis.to_seconds(np.array([0.0, 0.2])).tolist() == [100.0, 130.0]
    assert axis.clips_of((100.0, 130.0)) == (0, 14)
