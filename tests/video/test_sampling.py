"""Which frames stand for a clip: the rule of the release, on the frames that its own code picked."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.support.videos import numbered_frames, read_number
from videolights_hf.video.reader import VideoReader
from videolights_hf.video.sampling import FrameRequirement, clip_grid, count_clips, frame_times, wanted_frames

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "golden" / "frame_sampling.json").read_text())


def picked(requirement, case):
    """Numbers of the frames of a golden video, clip by clip."""
    rate, count = Fraction(case["fps"]), case["num_frames"]
    clips = [
        [-1] * requirement.frames_per_clip for _ in range(count_clips(requirement, count / rate, case["clip_length"]))
    ]
    for wanted in wanted_frames(requirement, count / rate, rate, case["clip_length"]):
        clips[wanted.clip][wanted.position] = min(max(math.ceil(wanted.time * rate) - 1, 0), count - 1)
    return clips


def name(case):
    return f"{case['num_frames']} at {case['fps']}, {case['clip_length']} s"


@pytest.mark.parametrize("case", GOLDEN["single"], ids=name)
def test_single_frames_are_those_of_the_release(case):
    assert [frame for (frame,) in picked(FrameRequirement(), case)] == case["frames"]


@pytest.mark.parametrize("case", GOLDEN["slowfast"], ids=name)
def test_frames_at_30_fps_are_those_of_the_release(case):
    assert picked(FrameRequirement(224, 32, "30fps"), case) == case["frames"]


@pytest.mark.parametrize("case", [case for case in GOLDEN["slowfast"] if case["num_frames"] < 256], ids=name)
def test_the_reader_hands_out_the_frames_at_30_fps_in_their_places(case):
    requirement = FrameRequirement(48, 32, "30fps")
    reader = VideoReader(numbered_frames(range(case["num_frames"])), float(Fraction(case["fps"])))
    batches = [frames for _, frames in reader.clip_frames([requirement], case["clip_length"], batch_frames=64)]
    numbers = [read_number(frame) for frame in np.concatenate(batches)]
    assert numbers == [number for clip in case["frames"] for number in clip]


@pytest.mark.parametrize("clip_length", [0.5, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("duration", [0.3, 1.4, 2.0, 4.4, 7.6])
def test_wanted_frames_are_ordered_by_time_and_fill_every_place(duration, clip_length):
    for requirement in (FrameRequirement(), FrameRequirement(16, 4), FrameRequirement(16, 8, "30fps")):
        wanted = list(wanted_frames(requirement, Fraction(duration), Fraction(25), clip_length))
        assert [frame.time for frame in wanted] == sorted(frame.time for frame in wanted)
        places = {(frame.clip, frame.position) for frame in wanted}
        count = count_clips(requirement, duration, clip_length)
        assert places == {(clip, at) for clip in range(count) for at in range(requirement.frames_per_clip)}


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0.5, (1, 0.5)),
        (1.0, (2, 0.5)),
        (1.9, (4, 0.5)),
        (2.0, (2, 1.0)),
        (2.1, (1, 2.0)),
        (2.11, (1, 2.0)),
        (2.99, (1, 2.0)),
        (3.0, (2, 2.0)),
        (150.0, (75, 2.0)),
        (31.0, (16, 2.0)),
        (30.9, (15, 2.0)),
    ],
)
def test_number_of_clips(duration, expected):
    assert clip_grid(duration, 2.0) == expected


@pytest.mark.parametrize(("duration", "clip_length"), [(0, 2), (float("nan"), 2), (10, -1), ("10", 2)])
def test_lengths_that_are_not_positive_numbers_are_refused(duration, clip_length):
    with pytest.raises(ValueError, match="positive number"):
        clip_grid(duration, clip_length)


def test_frame_times_spread_over_each_clip():
    assert frame_times(2, 2.0) == [1, 3]
    assert frame_times(2, 1.0, 2) == [Fraction(1, 4), Fraction(3, 4), Fraction(5, 4), Fraction(7, 4)]


def test_another_sampling_is_refused():
    with pytest.raises(ValueError, match="'even' or '30fps', got 'dense'"):
        FrameRequirement(sampling="dense")
