from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support.videos import gray_frames, write_video
from videolights_hf.video.excerpts import excerpt_file_name, write_excerpt

FPS = 10
# Brightness of the frame tells when it is shown: 3 levels a frame.
LEVELS = [20 + 3 * index for index in range(60)]


def read(path):
    """Times, brightness and size of the pictures of a file."""
    with av.open(str(path)) as container:
        pictures = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        return [time for time, _ in pictures], [level for _, level in pictures], (stream.width, stream.height)


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "video.mp4", gray_frames(LEVELS), FPS, options={"g": "25"})


def add_sound(path, seconds, start=0.0, rate=16_000):
    """Write the pictures of LEVELS with a tone that begins `start` seconds after the first picture."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=FPS)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=rate, layout="mono")
        for frame in gray_frames(LEVELS):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode(None))
        tone = np.sin(np.arange(int(seconds * rate)) * 0.2).astype(np.float32)[None] * 0.5
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), int(start * rate)
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(("start", "end"), [(0, 1), (1.3, 2.7), (4, 6), (2.5, 2.6)])
def test_cut_has_the_pictures_of_the_moment(video, tmp_path, start, end):
    path = write_excerpt(video, start, end, tmp_path / "cut.mp4")
    times, levels, size = read(path)
    first, last = round(start * FPS), round(end * FPS)
    assert times == pytest.approx([index / FPS for index in range(last - first)], abs=1e-3)
    assert levels == pytest.approx(LEVELS[first:last], abs=3)
    assert size == (64, 48)


def test_cut_between_frames_begins_with_the_picture_on_show(video, tmp_path):
    times, levels, _ = read(write_excerpt(video, 1.05, 1.35, tmp_path / "cut.mp4"))
    assert times == pytest.approx([0, 0.05, 0.15, 0.25], abs=1e-3)
    assert levels == pytest.approx(LEVELS[10:14], abs=3)


def test_end_after_the_video_is_cut_at_its_end(video, tmp_path):
    times, levels, _ = read(write_excerpt(video, 5.5, 9, tmp_path / "cut.mp4"))
    assert len(times) == 5
    assert levels[-1] == pytest.approx(LEVELS[-1], abs=3)


def test_times_count_from_the_first_picture(tmp_path):
    times = [Fraction(7) + Fraction(index, FPS) for index in range(len(LEVELS))]
    video = write_video(tmp_path / "late.ts", gray_frames(LEVELS), FPS, times=times)
    _, levels, _ = read(write_excerpt(video, 1, 1.5, tmp_path / "cut.mp4"))
    assert levels == pytest.approx(LEVELS[10:15], abs=3)


def test_sound_is_kept_in_step(tmp_path):
    video = add_sound(tmp_path / "sound.mp4", seconds=3, start=2)
    path = write_excerpt(video, 1, 4, tmp_path / "cut.mp4")
    with av.open(str(path)) as container:
        samples = [(frame.time, np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0)]
    loud = [time for time, level in samples if level > 0.2]
    assert loud[0] == pytest.approx(1.0, abs=0.1)
    assert samples[-1][0] == pytest.approx(3.0, abs=0.15)


def test_silent_video_gives_a_silent_cut(video, tmp_path):
    with av.open(str(write_excerpt(video, 0, 1, tmp_path / "cut.mp4"))) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_is_carried_out(tmp_path, rotation):
    # The left half is bright, the right half dark.
    frames = gray_frames([30] * 10)
    frames[:, :, :32] = 200
    video = write_video(tmp_path / "turned.mp4", frames, FPS, rotation=rotation)
    with av.open(str(write_excerpt(video, 0, 1, tmp_path / "cut.mp4"))) as container:
        picture = next(container.decode(video=0))
    assert picture.rotation == 0
    pixels = picture.to_ndarray(format="gray")
    expected = np.rot90(frames[0, :, :, 0], rotation // 90)
    assert pixels.shape == expected.shape
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.95


def test_odd_sides_lose_a_row(tmp_path):
    video = write_video(tmp_path / "odd.mkv", gray_frames(LEVELS[:10], width=65, height=49), FPS, codec="ffv1")
    assert read(write_excerpt(video, 0, 1, tmp_path / "cut.mp4"))[2] == (64, 48)


@pytest.mark.parametrize(("start", "end"), [(2, 2), (3, 2), (-1, 2)])
def test_times_that_make_no_moment_are_refused(video, tmp_path, start, end):
    with pytest.raises(ValueError, match="must start at 0 or later"):
        write_excerpt(video, start, end, tmp_path / "cut.mp4")


def test_moment_after_the_video_is_refused_and_leaves_no_file(video, tmp_path):
    folder = tmp_path / "cuts"
    folder.mkdir()
    with pytest.raises(ValueError, match="no pictures between 60 s and 70 s"):
        write_excerpt(video, 60, 70, folder / "cut.mp4")
    assert not list(folder.iterdir())


def test_file_without_pictures_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(ValueError, match="no video stream"):
        write_excerpt(path, 0, 1, tmp_path / "cut.mp4")


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match=r"nothing\.mp4"):
        write_excerpt(tmp_path / "nothing.mp4", 0, 1, tmp_path / "cut.mp4")


def test_an_existing_cut_is_replaced(video, tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_text("old")
    write_excerpt(video, 0, 1, path)
    assert len(read(path)[0]) == 10


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("A dog, runs!", "a-dog-runs_0012.0-0020.5.mp4"),
        ("../../etc/passwd", "etc-passwd_0012.0-0020.5.mp4"),
        ("???", "moment_0012.0-0020.5.mp4"),
        ("ein Hund läuft", "ein-hund-läuft_0012.0-0020.5.mp4"),
        ("x" * 100, "x" * 40 + "_0012.0-0020.5.mp4"),
        ("a\nb\x00c", "a-b-c_0012.0-0020.5.mp4"),
    ],
)
def test_file_names_hold_only_letters_and_digits_of_the_query(query, name):
    assert excerpt_file_name(query, 12, 20.5) == name
