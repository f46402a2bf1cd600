"""When the pictures of files are shown whose timestamps jump, are missing, or come late."""

from __future__ import annotations

import itertools
import random
import time
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from tests.support.videos import Tone, join_files, numbered_frames, read_number, write_video
from videolights_hf.video.clock import TimelineBuilder
from videolights_hf.video.film import FileSource
from videolights_hf.video.reader import FrameRequirement, VideoReader

FPS = 10
NUMBERS = range(240)
FINE = {"b": "8000000"}


def numbers_by_second(video) -> list[int]:
    """Numbers of the frames on show in the middle of each second."""
    batches = VideoReader(video).clip_frames([FrameRequirement(48)], 1.0)
    return [read_number(crop) for _, crops in batches for crop in crops]


EXPECTED = [FPS * second + FPS // 2 - 1 for second in range(len(NUMBERS) // FPS)]


def write_part(path, numbers, offset=0.0, **options):
    rate = options.pop("rate", FPS)
    times = [offset + Fraction(index, rate) for index in range(len(numbers))]
    return write_video(path, numbered_frames(numbers), rate, times=times, **options)


class TestJumps:
    @pytest.mark.parametrize("cuts", [(120,), (40, 90), (40, 60, 200)])
    def test_transport_streams_joined_from_parts_are_as_long_as_all(self, tmp_path, cuts):
        ends = [0, *cuts, len(NUMBERS)]
        parts = [
            write_part(tmp_path / f"{index}.ts", NUMBERS[first:last])
            for index, (first, last) in enumerate(itertools.pairwise(ends))
        ]
        joined = join_files(tmp_path / "joined.ts", *parts)
        assert VideoReader(joined).metadata.duration == 24
        assert numbers_by_second(joined) == EXPECTED

    @pytest.mark.parametrize("offset", [1000, 40_000])
    def test_a_jump_ahead_is_taken_out(self, tmp_path, offset):
        first, second = (
            write_part(tmp_path / "1.ts", NUMBERS[:120]),
            write_part(tmp_path / "2.ts", NUMBERS[120:], offset),
        )
        jumped = join_files(tmp_path / "jumped.ts", first, second)
        assert VideoReader(jumped).metadata.duration == 24
        assert numbers_by_second(jumped) == EXPECTED

    def test_program_streams_joined_from_parts_are_as_long_as_all(self, tmp_path):
        parts = [
            write_video(
                tmp_path / f"{first}.mpg", numbered_frames(NUMBERS[first:last]), 25, codec="mpeg2video", options=FINE
            )
            for first, last in ((0, 120), (120, 240))
        ]
        joined = join_files(tmp_path / "joined.mpg", *parts)
        # The muxer gives few pictures a timestamp of their own.
        assert VideoReader(joined).metadata.duration == pytest.approx(9.6, abs=0.1)
        assert numbers_by_second(joined) == pytest.approx([25 * second + 12 for second in range(10)], abs=2)

    def test_a_part_of_a_joined_stream_is_found(self, tmp_path):
        first, second = write_part(tmp_path / "1.ts", NUMBERS[:120]), write_part(tmp_path / "2.ts", NUMBERS[120:])
        joined = join_files(tmp_path / "joined.ts", first, second)
        ((_, crops),) = VideoReader(joined, start=15, end=19).clip_frames([FrameRequirement(48)], 1.0)
        assert [read_number(crop) for crop in crops] == EXPECTED[15:19]

    def test_damaged_timestamps_do_not_add_hours(self, tmp_path):
        path = write_part(tmp_path / "damaged.ts", NUMBERS)
        data, noise = bytearray(path.read_bytes()), random.Random(1)
        for index in range(len(data) // 2, len(data) * 6 // 10, 97):
            data[index] = noise.randrange(256)
        path.write_bytes(data)
        assert VideoReader(path).metadata.duration == pytest.approx(24, abs=1)

    def test_a_pause_in_a_file_that_cannot_jump_stays(self, tmp_path):
        times = [0, 0.1, 0.2, 20, 20.1]
        path = write_video(tmp_path / "pause.mp4", numbered_frames(range(5)), 10, times=times, options={"bf": "0"})
        assert VideoReader(path).metadata.duration == pytest.approx(20.2, abs=0.1)


class TestMissingTimes:
    @pytest.mark.parametrize(("codec", "suffix"), [("libx264", "h264"), ("libx265", "hevc")])
    @pytest.mark.parametrize("rate", [10, 30, Fraction(24000, 1001)])
    def test_elementary_streams_keep_the_rate_that_they_state(self, tmp_path, codec, suffix, rate):
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        frames = numbered_frames(range(90))
        path = write_video(tmp_path / f"raw.{suffix}", frames, rate, codec=codec, format=suffix, options=options)
        metadata = VideoReader(path).metadata
        assert metadata.fps == pytest.approx(float(rate), rel=1e-3)
        assert metadata.duration == pytest.approx(float(90 / Fraction(rate)), rel=1e-3)
        (frame,) = VideoReader(path).frames_at([50 / Fraction(rate) + Fraction(1, 1000)])
        assert read_number(frame.crop(48)) == 50

    def test_pictures_of_an_avi_file_come_in_the_order_of_their_times(self, tmp_path):
        path = write_video(tmp_path / "b.avi", numbered_frames(range(100)), 10, options={"bf": "3"})
        frames = list(FileSource(path).frames())
        assert [frame.time for frame in frames] == [Fraction(index, 10) for index in range(100)]
        assert [read_number(frame.crop(48)) for frame in frames] == list(range(100))
        assert [frame.time for frame in FileSource(path).frames(Fraction(5))][-1] == Fraction(99, 10)


class TestLateStreams:
    @pytest.mark.parametrize(("suffix", "codec", "sound"), [("ts", "libx264", "aac"), ("mpg", "mpeg2video", "mp2")])
    def test_sound_that_begins_late_does_not_end_the_reading(self, tmp_path, suffix, codec, sound):
        silent = write_video(tmp_path / f"1.{suffix}", numbered_frames(NUMBERS[:120]), 25, codec=codec)
        tone = Tone(4.8, rate=48_000, layout="stereo", num_channels=2, codec=sound)
        loud = write_video(tmp_path / f"2.{suffix}", numbered_frames(NUMBERS[120:]), 25, codec=codec, sounds=[tone])
        joined = join_files(tmp_path / f"joined.{suffix}", silent, loud)
        for _ in range(3):
            assert len(list(FileSource(joined).frames())) == 240

    def test_pictures_that_begin_late_are_found(self, tmp_path):
        sound = tmp_path / "sound.mpg"
        with av.open(str(sound), "w") as container:
            track = container.add_stream("mp2", rate=48_000, layout="stereo")
            for block in Tone(150, rate=48_000, layout="stereo", num_channels=2).blocks():
                container.mux(track.encode(block))
            container.mux(track.encode(None))
        film = write_video(tmp_path / "film.mpg", numbered_frames(range(50)), 25, codec="mpeg2video")
        path = join_files(tmp_path / "late.mpg", sound, film)
        with pytest.warns(UserWarning, match="announces 150"):
            assert VideoReader(path).metadata.num_frames == 50

    def test_a_stream_that_pyav_does_not_find_when_it_ends_is_passed_over(self, tmp_path, monkeypatch):
        path = write_part(tmp_path / "late.ts", NUMBERS[:50])
        opened = av.open

        def open_with_a_late_stream(*arguments, **options):
            container = opened(*arguments, **options)

            def demux(*streams):
                yield from container.demux(*streams)
                raise IndexError("list index out of range")

            names = ("format", "streams", "duration", "close", "seek")
            return SimpleNamespace(demux=demux, **{name: getattr(container, name) for name in names})

        monkeypatch.setattr(av, "open", open_with_a_late_stream)
        assert len(list(FileSource(path).frames())) == 50


def test_times_of_a_long_video_are_collected_in_linear_time():
    stream = SimpleNamespace(
        time_base=Fraction(1, 12_800), average_rate=Fraction(25), guessed_rate=Fraction(25), name="video"
    )
    builder = TimelineBuilder(stream, SimpleNamespace(format=SimpleNamespace(name="mov,mp4", flags=0)))
    packet = SimpleNamespace(pts=0, dts=0, duration=512, size=100, is_discard=False)
    begun = time.process_time()
    for index in range(200_000):
        packet.pts = packet.dts = 512 * index
        builder.add(packet)
    assert builder.build().duration == 8000
    # 400 s where each picture looks through all those before it.
    assert time.process_time() - begun < 20
