"""Parts of a video one after the other in one file."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tests.support.videos import Tone, gray_frames, write_video
from videolights_hf.video.excerpts import write_reel

FPS = 10
LEVELS = [20 + 3 * index for index in range(60)]


def read(path):
    """Times and brightness of the pictures of a file."""
    with av.open(str(path)) as container:
        pictures = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
    return [time for time, _ in pictures], [level for _, level in pictures]


def loudness(path, seconds):
    """Root mean square of the sound in each tenth of a second."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)[0]
    length = stream.rate // 10
    assert len(samples) == pytest.approx(seconds * stream.rate, abs=2 * 1024)
    return np.sqrt([np.mean(samples[index * length : (index + 1) * length] ** 2) for index in range(seconds * 10)])


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_pictures_and_sound_of_the_parts_stay_together(tmp_path, rate):
    # The sound is a tone from 2 to 4 s.
    tone = Tone(2, start=2, rate=rate)
    video = write_video(tmp_path / "video.mp4", gray_frames(LEVELS), FPS, sounds=[tone])
    path = write_reel(video, [(3, 5), (0, 1), (2.5, 3.5)], tmp_path / "reel.mp4")
    times, levels = read(path)
    expected = LEVELS[30:50] + LEVELS[:10] + LEVELS[25:35]
    assert times == pytest.approx([index / FPS for index in range(40)], abs=1e-3)
    assert levels == pytest.approx(expected, abs=3)
    loud = loudness(path, 4) > 0.01
    # Where parts meet, the encoder smears a little.
    assert loud[1:9].all()
    assert not loud[12:29].any()
    assert loud[31:39].all()


def test_many_short_parts_do_not_drift(tmp_path):
    video = write_video(tmp_path / "video.mp4", gray_frames(LEVELS), FPS, sounds=[Tone(6)])
    spans = [(index / 10 + 0.03, index / 10 + 0.16) for index in range(30)]
    path = write_reel(video, spans, tmp_path / "reel.mp4")
    with av.open(str(path)) as container:
        lengths = [float(stream.duration * stream.time_base) for stream in container.streams]
    assert lengths == pytest.approx([30 * 0.13] * 2, abs=0.05)


def test_a_part_between_frames_begins_with_the_picture_on_show(tmp_path):
    video = write_video(tmp_path / "video.mp4", gray_frames(LEVELS), FPS)
    times, levels = read(write_reel(video, [(1.05, 1.25), (3.05, 3.15)], tmp_path / "reel.mp4"))
    assert times == pytest.approx([0, 0.05, 0.15, 0.2, 0.25], abs=1e-3)
    assert levels == pytest.approx([LEVELS[index] for index in (10, 11, 12, 30, 31)], abs=3)


@pytest.mark.parametrize(
    ("spans", "message"),
    [([], "at least one part"), ([(0, 1), (3, 2)], "after its start"), ([(9, 10)], "starts at 9")],
)
def test_parts_that_are_none_are_refused_and_leave_no_file(tmp_path, spans, message):
    video = write_video(tmp_path / "video.mp4", gray_frames(LEVELS), FPS)
    with pytest.raises(ValueError, match=message):
        write_reel(video, spans, tmp_path / "reel.mp4")
    assert not (tmp_path / "reel.mp4").exists()
