from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.videos import Colors, Tone, gray_frames, join_files, write_video
from videolights_hf.video.excerpts import excerpt_file_name, write_excerpt
from videolights_hf.video.reader import VideoReader, read_video_metadata

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


def read_sound(path):
    """Samples (channels, n) of the sound of a file, its rate and its layout."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)
        return samples, stream.rate, stream.layout.name


def loudest_frequency(samples, rate):
    return np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)


@pytest.mark.parametrize(("start", "end"), [(0, 1), (1.3, 2.7), (4, 6), (2.5, 2.6)])
def test_excerpt_has_the_pictures_of_the_moment(video, tmp_path, start, end):
    path = write_excerpt(video, start, end, tmp_path / "cut.mp4")
    times, levels, size = read(path)
    first, last = round(start * FPS), round(end * FPS)
    assert times == pytest.approx([index / FPS for index in range(last - first)], abs=1e-3)
    assert levels == pytest.approx(LEVELS[first:last], abs=3)
    assert size == (64, 48)


def test_excerpt_between_frames_begins_with_the_picture_on_show(video, tmp_path):
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
    with pytest.raises(ValueError, match=r"lasts 6\.0 s, so no part of it starts at 60 s"):
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


class TestSound:
    def test_it_is_kept_in_step(self, tmp_path):
        video = write_video(tmp_path / "sound.mp4", gray_frames(LEVELS), FPS, sounds=[Tone(3, start=2)])
        samples, rate, _ = read_sound(write_excerpt(video, 1, 4, tmp_path / "cut.mp4"))
        loud = np.flatnonzero(np.abs(samples[0]) > 0.2)
        assert loud[0] / rate == pytest.approx(1.0, abs=0.05)
        assert samples.shape[1] / rate == pytest.approx(3.0, abs=0.1)

    def test_it_ends_where_it_ends(self, tmp_path):
        video = write_video(tmp_path / "short.mp4", gray_frames(LEVELS), FPS, sounds=[Tone(2)])
        samples, rate, _ = read_sound(write_excerpt(video, 1, 4, tmp_path / "cut.mp4"))
        assert np.flatnonzero(np.abs(samples[0]) > 0.2)[-1] / rate == pytest.approx(1.0, abs=0.1)

    @pytest.mark.parametrize(
        ("suffix", "tone", "layout", "rate"),
        [
            ("avi", Tone(6, rate=44_100, layout="2 channels", num_channels=2, codec="pcm_s16le"), "stereo", 44_100),
            ("mkv", Tone(6, rate=16_000, layout="1 channels", codec="pcm_s16le"), "mono", 16_000),
            ("avi", Tone(6, rate=11_025, layout="1 channels", codec="pcm_mulaw"), "mono", 11_025),
            ("mov", Tone(6, rate=192_000, codec="pcm_s16le"), "mono", 48_000),
            ("mov", Tone(6, rate=37_800, layout="2 channels", num_channels=2, codec="pcm_s16le"), "stereo", 48_000),
            ("mkv", Tone(6, rate=48_000, layout="3 channels", num_channels=3, codec="pcm_s16le"), "stereo", 48_000),
            ("mkv", Tone(6, rate=48_000, layout="5.1", num_channels=6, codec="flac"), "stereo", 48_000),
            ("mov", Tone(6, rate=48_000, layout="8 channels", num_channels=8, codec="pcm_s16le"), "stereo", 48_000),
            ("mkv", Tone(6, rate=48_000, layout="7.1", num_channels=8, codec="flac"), "stereo", 48_000),
            ("mkv", Tone(6, rate=48_000, layout="16 channels", num_channels=16, codec="pcm_s16le"), "stereo", 48_000),
        ],
        ids=lambda value: f"{value.codec}-{value.layout}-{value.rate}" if isinstance(value, Tone) else None,
    )
    def test_every_layout_and_rate_is_written(self, tmp_path, suffix, tone, layout, rate):
        video = write_video(tmp_path / f"video.{suffix}", gray_frames(LEVELS), FPS, sounds=[tone])
        for _ in range(2):
            path = write_excerpt(video, 1, 4, tmp_path / "cut.mp4")
        samples, found_rate, found_layout = read_sound(path)
        assert (found_rate, found_layout) == (rate, layout)
        assert samples.shape[1] / rate == pytest.approx(3, abs=0.1)
        assert loudest_frequency(samples[0], rate) == pytest.approx(440, abs=2)
        assert 0.05 < np.abs(samples).max() < 2
        assert len(read(path)[0]) == 30

    def test_a_layout_of_single_channels_does_not_corrupt_memory(self, tmp_path):
        # Made by ffmpeg with `pan=8c`: its layout is a list of channels, which PyAV frees twice.
        video = Path(__file__).parents[1] / "fixtures" / "eight_single_channels.mov"
        script = (
            "import sys; from videolights_hf.video.excerpts import write_excerpt\n"
            "for _ in range(3): write_excerpt(sys.argv[1], 0, 0.5, sys.argv[2])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, video, tmp_path / "cut.mp4"],
            capture_output=True,
            text=True,
            env={**os.environ, "MALLOC_CHECK_": "3"},
        )
        assert done.returncode == 0, done.stderr
        samples, rate, layout = read_sound(tmp_path / "cut.mp4")
        assert (rate, layout) == (8000, "stereo")
        assert np.abs(samples).max() > 0.02

    @pytest.mark.parametrize("default", [0, 1])
    def test_the_default_track_is_taken(self, tmp_path, default):
        tones = [Tone(6, frequency=440 * (index + 1), is_default=index == default) for index in range(2)]
        video = write_video(tmp_path / "two.mp4", gray_frames(LEVELS), FPS, sounds=tones)
        samples, rate, _ = read_sound(write_excerpt(video, 1, 4, tmp_path / "cut.mp4"))
        assert loudest_frequency(samples[0], rate) == pytest.approx(440 * (default + 1), abs=2)

    @pytest.mark.parametrize("offset", [0, 1000])
    def test_it_follows_the_pictures_over_a_jump(self, tmp_path, offset):
        parts = [
            write_video(
                tmp_path / f"{index}.ts",
                gray_frames(LEVELS),
                FPS,
                times=[start + Fraction(number, FPS) for number in range(len(LEVELS))],
                sounds=[Tone(6, start, frequency=440 * (index + 1), rate=48_000)],
            )
            for index, start in enumerate((0, offset))
        ]
        joined = join_files(tmp_path / "joined.ts", *parts)
        for start, frequency in ((3, 440), (8, 880)):
            samples, rate, _ = read_sound(write_excerpt(joined, start, start + 2, tmp_path / "cut.mp4"))
            assert loudest_frequency(samples[0], rate) == pytest.approx(frequency, abs=2)

    def test_sound_that_begins_after_a_minute_is_found(self, tmp_path):
        late = Tone(6, 60, rate=48_000)
        video = write_video(tmp_path / "late.ts", gray_frames([90] * 660), FPS, sounds=[late])
        path = write_excerpt(video, 61, 63, tmp_path / "cut.mp4")
        samples, rate, _ = read_sound(path)
        assert loudest_frequency(samples[0], rate) == pytest.approx(440, abs=2)


class TestLength:
    """As long as was asked for, however long each picture stays."""

    TIMES = (0, 12, 60, 71.9)

    @pytest.fixture(params=["mp4", "mkv"])
    def slides(self, request, tmp_path):
        tones = [Tone(72)] if request.param == "mkv" else []
        path = tmp_path / f"slides.{request.param}"
        return write_video(
            path, gray_frames([40, 90, 140, 190]), FPS, times=self.TIMES, options={"bf": "0"}, sounds=tones
        )

    @pytest.mark.parametrize(("start", "end"), [(11, 39), (36, 61), (44, 61), (20, 30), (13, 14)])
    def test_slides(self, slides, tmp_path, start, end):
        path = write_excerpt(slides, start, end, tmp_path / "cut.mp4")
        metadata = read_video_metadata(path)
        assert metadata.duration == pytest.approx(end - start, abs=1e-3)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert float(stream.duration * stream.time_base) == pytest.approx(end - start, abs=1e-3)
        reader = VideoReader(path)
        times = [Fraction(second) + Fraction(1, 2) for second in range(end - start)]
        levels = [frame.scale(48).mean() for frame in reader.frames_at(times)]
        shown = [[40, 90, 140, 190][np.searchsorted(self.TIMES, start + float(time), "right") - 1] for time in times]
        assert levels == pytest.approx(shown, abs=3)

    def test_a_time_lapse(self, tmp_path):
        video = write_video(tmp_path / "slow.mp4", gray_frames(range(40, 220, 5)), Fraction(1, 2))
        assert read_video_metadata(write_excerpt(video, 10, 15, tmp_path / "cut.mp4")).duration == 5


def colorful(count=20, width=64, height=48):
    """Pictures with the whole range of brightness and many colors, the same all the time."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    picture = np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)
    picture[: height // 4], picture[height // 4 : height // 2] = 0, 255
    return np.broadcast_to(picture, (count, *picture.shape)).copy()


def shown(path, time):
    (frame,) = VideoReader(path).frames_at([Fraction(time)])
    return frame.scale(48).astype(int)


FULL_709, LIMITED_709, HDR = Colors(range=2), Colors(), Colors(matrix=9, primaries=9, transfer=16)
FINE = {"crf": "1"}


class TestPictures:
    @pytest.mark.parametrize(
        ("suffix", "options"),
        [
            ("mp4", {"options": FINE}),
            ("mp4", {"colors": FULL_709, "options": FINE}),
            ("mp4", {"colors": LIMITED_709, "options": FINE}),
            ("mkv", {"codec": "ffv1", "pixel_format": "bgr0"}),
            ("avi", {"codec": "mjpeg", "pixel_format": "yuvj420p", "options": {"qmin": "1", "qmax": "2"}}),
            ("mkv", {"codec": "ffv1", "pixel_format": "yuv420p10le", "colors": HDR}),
            ("mkv", {"codec": "ffv1", "pixel_format": "yuv444p", "colors": Colors(matrix=6, primaries=6, transfer=6)}),
            ("mkv", {"codec": "ffv1", "pixel_format": "gray"}),
            ("mkv", {"codec": "ffv1", "pixel_format": "bgra"}),
        ],
        ids=["untagged", "full", "limited", "rgb", "mjpeg", "hdr", "601", "gray", "bgra"],
    )
    def test_they_look_the_same(self, tmp_path, suffix, options):
        video = write_video(tmp_path / f"video.{suffix}", colorful(), FPS, **options)
        path = write_excerpt(video, 0.5, 1.5, tmp_path / "cut.mp4")
        difference = np.abs(shown(video, 1) - shown(path, 0.5))
        assert difference.mean() < 3
        # Neither is black crushed nor white washed out.
        for rows in (slice(1, 11), slice(13, 23)):
            assert difference[rows].mean() < 2

    @pytest.mark.parametrize("colors", [FULL_709, LIMITED_709, HDR], ids=["full", "limited", "hdr"])
    def test_the_file_says_what_its_colors_are(self, tmp_path, colors):
        video = write_video(tmp_path / "video.mkv", colorful(), FPS, codec="ffv1", colors=colors)
        with av.open(str(write_excerpt(video, 0.5, 1.5, tmp_path / "cut.mp4"))) as container:
            context = container.streams.video[0].codec_context
            found = Colors(context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        assert found == colors

    @pytest.mark.parametrize("rotation", [None, 90])
    def test_the_shape_of_the_pixels_is_kept(self, tmp_path, rotation):
        ratio = Fraction(16, 11)
        video = write_video(
            tmp_path / "pal.mp4", gray_frames(LEVELS), FPS, sample_aspect_ratio=ratio, rotation=rotation
        )
        with av.open(str(write_excerpt(video, 1, 2, tmp_path / "cut.mp4"))) as container:
            found = container.streams.video[0].sample_aspect_ratio
        assert found == (1 / ratio if rotation else ratio)

    def test_a_change_of_size_is_scaled_to_the_first(self, tmp_path):
        wide = write_video(tmp_path / "1.ts", gray_frames(LEVELS[:30]), FPS)
        times = [20 + Fraction(index, FPS) for index in range(30)]
        tall = write_video(tmp_path / "2.ts", gray_frames(LEVELS[30:], 48, 80), FPS, times=times)
        joined = join_files(tmp_path / "joined.ts", wide, tall)
        path = write_excerpt(joined, 2, 5, tmp_path / "cut.mp4")
        times, levels, size = read(path)
        assert size == (64, 48)
        assert levels == pytest.approx(LEVELS[20:50], abs=3)
        assert read_video_metadata(path).duration == 3

    def test_a_cover_picture_is_not_the_film(self, tmp_path):
        path = tmp_path / "cover.mkv"
        with av.open(str(path), "w") as container:
            cover, film = container.add_stream("mjpeg", rate=1), container.add_stream("libx264", rate=FPS)
            cover.width, cover.height, cover.pix_fmt = 400, 400, "yuvj420p"
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
            cover.disposition = av.stream.Disposition.attached_pic
            container.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((400, 400, 3), 255, np.uint8))))
            for frame in gray_frames(LEVELS):
                container.mux(film.encode(av.VideoFrame.from_ndarray(frame)))
            for stream in (cover, film):
                container.mux(stream.encode(None))
        _, levels, size = read(write_excerpt(path, 1, 2, tmp_path / "cut.mp4"))
        assert size == (64, 48)
        assert levels == pytest.approx(LEVELS[10:20], abs=3)

    def test_damage_is_passed_over_as_in_reading(self, tmp_path):
        path = write_video(tmp_path / "damaged.mp4", gray_frames(LEVELS), FPS, options={"g": "5"})
        with av.open(str(path)) as container:
            packet = list(container.demux(video=0))[15]
        data = bytearray(path.read_bytes())
        start = data.index(bytes(packet))
        data[start : start + packet.size] = b"\xff" * packet.size
        path.write_bytes(data)
        with pytest.warns(UserWarning, match="damaged"):
            cut = write_excerpt(path, 1, 3, tmp_path / "cut.mp4")
        assert read_video_metadata(cut).duration == 2


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("A dog, runs!", "a-dog-runs_0012.0-0020.5.mp4"),
        ("../../etc/passwd", "etc-passwd_0012.0-0020.5.mp4"),
        ("???", "moment_0012.0-0020.5.mp4"),
        ("Ça va très bien", "ça-va-très-bien_0012.0-0020.5.mp4"),
        ("x" * 100, "x" * 40 + "_0012.0-0020.5.mp4"),
        ("a\nb\x00c", "a-b-c_0012.0-0020.5.mp4"),
    ],
)
def test_file_names_hold_only_letters_and_digits_of_the_query(query, name):
    assert excerpt_file_name(query, 12, 20.5) == name
