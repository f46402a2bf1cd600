import threading
from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.support.corpora import NumberBackbone, expected_numbers, write_numbered
from tests.support.tiny_backbones import make_tiny_clip
from tests.support.videos import numbered_frames, write_video
from videolights_hf.backbones.features import VideoFeatures
from videolights_hf.backbones.runner import VideoEncoder
from videolights_hf.video import files, film
from videolights_hf.video.background import BackgroundDecoder, FramesDecoded
from videolights_hf.video.reader import FrameRequirement, VideoReader, VideoReadError, VideoSource


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


def irregular_times(count: int, longest: float) -> list[float]:
    steps = np.random.default_rng(0).uniform(0.005, longest, count - 1)
    return [0.0, *np.cumsum(steps).tolist()]


def upright_after(frames: np.ndarray, rotation: int) -> np.ndarray:
    """Pictures that look like these once a player has turned them counter-clockwise by `rotation` degrees."""
    return np.ascontiguousarray(np.rot90(frames, -rotation // 90, axes=(1, 2)))


def numbered_arrays(*lengths: int) -> list[VideoReader]:
    """Videos of these numbers of 2 s clips."""
    return [VideoReader(numbered_frames(range(2 * length)), 1) for length in lengths]


class TestFrameTimes:
    """Clip i of every backbone looks at the same seconds, whatever the video."""

    def check(self, path, times, duration, clip_length):
        one, many = NumberBackbone("one", 1), NumberBackbone("many", 32)
        (video,) = VideoEncoder([one, many], clip_length).encode([VideoSource(path)])
        assert video.duration == pytest.approx(duration, abs=1e-3)
        num_clips, length = len(video.features["one"]), video.clip_length
        if duration < clip_length + 0.1:
            short = max(int(duration), 1) / 2
            assert (num_clips, length) == (int(duration / short + 0.5), short)
        else:
            assert (num_clips, length) == (int(duration / clip_length + 0.5), clip_length)
        middles = [(clip + 0.5) * length for clip in range(num_clips)]
        assert video.features["one"][:, 0].tolist() == expected_numbers(times, middles)
        spread = [(clip + (index + 0.5) / 32) * length for clip in range(num_clips) for index in range(32)]
        assert video.features["many"].reshape(-1).tolist() == expected_numbers(times, spread)

    @pytest.mark.parametrize("clip_length", [1.0, 2.0])
    @pytest.mark.parametrize("rate", [Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(73, 10)])
    def test_constant_and_odd_frame_rates(self, folder, rate, clip_length):
        path = write_numbered(folder / f"rate-{float(rate):.3f}.mp4", 240, rate)
        self.check(path, [index / rate for index in range(240)], float(240 / rate), clip_length)

    @pytest.mark.parametrize("ending", [".mp4", ".mkv"])
    def test_a_variable_frame_rate(self, folder, ending):
        # Matroska's clock counts milliseconds.
        times = np.round(irregular_times(200, 0.3), 3)
        path = write_numbered(folder / f"variable{ending}", 200, 30, times=times)
        duration = VideoReader(path).metadata.duration
        assert times[-1] < duration < times[-1] + 0.3
        self.check(path, times, duration, 2.0)

    @pytest.mark.parametrize("rotation", [90, 180, 270])
    def test_a_rotated_video(self, folder, rotation):
        frames = upright_after(numbered_frames(range(100)), rotation)
        path = write_video(folder / f"rotated-{rotation}.mp4", frames, 10, rotation=rotation)
        self.check(path, [index / 10 for index in range(100)], 10.0, 2.0)

    def test_half_a_second(self, folder):
        path = write_numbered(folder / "half.mp4", 12, 24)
        self.check(path, [index / 24 for index in range(12)], 0.5, 2.0)

    def test_ten_minutes(self, folder):
        path = write_numbered(folder / "long.mp4", 300, Fraction(1, 2))
        self.check(path, [2 * index for index in range(300)], 600.0, 2.0)


class TestBatches:
    def test_batches_are_full_across_videos(self):
        small, large = NumberBackbone("small", 1, batch_size=4), NumberBackbone("large", 2, batch_size=7)
        videos = list(VideoEncoder([small, large], 2.0).encode(numbered_arrays(3, 6, 2)))
        assert small.batches == [4, 4, 3]
        assert large.batches == [7, 4]
        assert [len(video.features["small"]) for video in videos] == [3, 6, 2]
        for video, expected in zip(videos, numbered_arrays(3, 6, 2), strict=True):
            (alone,) = VideoEncoder([NumberBackbone("small"), NumberBackbone("large", 2)], 2.0).encode([expected])
            for name, rows in alone.features.items():
                assert np.array_equal(video.features[name], rows)

    def test_batches_end_with_a_group(self):
        backbone = NumberBackbone(batch_size=4)
        list(VideoEncoder([backbone]).encode(numbered_arrays(3, 6, 2, 3, 4), group_size=2))
        assert backbone.batches == [4, 4, 1, 4, 1, 4]

    @pytest.mark.parametrize("num_threads", [1, 2, 5])
    def test_what_shares_a_batch_does_not_depend_on_the_threads(self, num_threads):
        class Recording(NumberBackbone):
            def encode_frames(self, frames):
                seen.append(frames.copy())
                return super().encode_frames(frames)

        seen: list[np.ndarray] = []
        encoder = VideoEncoder([Recording(batch_size=4)], 2.0, num_threads=num_threads, max_waiting_bytes=10_000)
        list(encoder.encode(numbered_arrays(3, 6, 2, 9, 3)))
        # The frame before the middle of clip i, at 1 frame a second: number 2 i.
        expected = np.concatenate([numbered_frames(range(0, 2 * length, 2)) for length in (3, 6, 2, 9, 3)])
        assert np.array_equal(np.concatenate(seen), expected[:, :, 8:56])
        assert [len(batch) for batch in seen] == [4, 4, 4, 4, 4, 3]

    def test_a_single_video_and_a_corpus_give_the_same_features(self, folder):
        paths = [write_numbered(folder / f"same-{index}.mp4", 20 + 9 * index) for index in range(3)]
        backbones = [make_tiny_clip(image_size=48), NumberBackbone("many", 32)]
        backbones[0].batch_size = 4
        corpus = VideoEncoder(backbones, 1.0, num_threads=2).encode([VideoSource(path) for path in paths])
        for path, video in zip(paths, corpus, strict=True):
            (alone,) = VideoEncoder(backbones, 1.0).encode([VideoSource(path)])
            assert list(video.features) == list(alone.features) == ["clip", "many"]
            for name, rows in alone.features.items():
                np.testing.assert_allclose(video.features[name], rows, atol=1e-5)

    @pytest.mark.parametrize("names", [[], ["a", "b", "a"]])
    def test_backbones_need_different_names(self, names):
        with pytest.raises(ValueError, match="different names"):
            VideoEncoder([NumberBackbone(name) for name in names])


class TestBackground:
    def test_pictures_are_decoded_once_for_all_backbones(self, folder, monkeypatch):
        decoded = []
        decode = film._decode_packet
        monkeypatch.setattr(film, "_decode_packet", lambda packet: decoded.append(packet.pts) or decode(packet))
        reader = VideoReader(write_numbered(folder / "once.mp4", 50))
        decoded.clear()
        small = NumberBackbone("small")
        small.frame_size = 24
        (video,) = VideoEncoder([NumberBackbone("one"), small, NumberBackbone("many", 32)]).encode([reader])
        assert len(video.features) == 3
        assert len(decoded) == len(set(decoded)) > 40

    def test_the_next_video_is_decoded_while_a_backbone_works(self):
        is_next_open = threading.Event()

        class Waiting(NumberBackbone):
            def encode_frames(self, frames):
                assert is_next_open.wait(timeout=60)
                return super().encode_frames(frames)

        class Telling(VideoSource):
            def open(self):
                is_next_open.set()
                return super().open()

        first, second = (VideoSource(numbered_frames(range(8)), 1), Telling(numbered_frames(range(8)), 1))
        results = list(VideoEncoder([Waiting(batch_size=2)]).encode([first, second]))
        assert len(results) == 2

    @pytest.mark.parametrize("num_threads", [1, 4])
    def test_waiting_frames_take_bounded_memory(self, num_threads):
        requirement = FrameRequirement(48, 8)
        one_batch = 64 * 48 * 48 * 3
        with BackgroundDecoder(numbered_arrays(*[40] * 6), [requirement], 2.0, num_threads, one_batch) as decoder:
            count = 0
            for event in decoder:
                assert decoder._waiting_bytes <= 2 * one_batch
                count += len(event.frames) if isinstance(event, FramesDecoded) else 0
        assert count == 6 * 40 * 8

    def test_a_caller_that_stops_early_leaves_no_thread_behind(self):
        before = set(threading.enumerate())
        # With so little room, the threads cannot have finished.
        encoder = VideoEncoder([NumberBackbone(batch_size=1)], num_threads=3, max_waiting_bytes=1)
        results = encoder.encode(numbered_arrays(*[20] * 9))
        next(results)
        assert set(threading.enumerate()) - before
        results.close()
        assert not set(threading.enumerate()) - before

    def test_progress_counts_the_clips_of_each_backbone(self):
        steps = []
        encoder = VideoEncoder([NumberBackbone("one", batch_size=4), NumberBackbone("two", 2)])
        list(encoder.encode(numbered_arrays(3, 6), on_progress=steps.append))
        assert [step for step in steps if step] == [8, 1, 9]


class TestFailures:
    def test_a_bad_video_does_not_touch_the_others(self, folder):
        (folder / "bad.mp4").write_text("no video")
        good, bad, gone = numbered_arrays(3)[0], VideoSource(folder / "bad.mp4"), VideoSource(folder / "gone.mp4")
        results = list(VideoEncoder([NumberBackbone(batch_size=2)]).encode([good, bad, gone, *numbered_arrays(4)]))
        assert [type(result) for result in results] == [
            VideoFeatures,
            VideoReadError,
            FileNotFoundError,
            VideoFeatures,
        ]
        assert results[3].features["numbers"][:, 0].tolist() == [0, 2, 4, 6]

    def test_a_video_that_breaks_off_is_reported_and_its_clips_dropped(self):
        class Breaking(VideoReader):
            def clip_frames(self, *arguments, **settings):
                yield next(super().clip_frames(*arguments, **settings))
                raise VideoReadError("broken off")

        broken = Breaking(numbered_frames(range(200)), 1)
        results = list(VideoEncoder([NumberBackbone(batch_size=50)]).encode([broken, *numbered_arrays(5)]))
        assert str(results[0]) == "broken off"
        assert results[1].features["numbers"][:, 0].tolist() == [0, 2, 4, 6, 8]

    def test_a_list_of_videos_that_fails_ends_the_run(self):
        def videos():
            yield numbered_arrays(3)[0]
            raise RuntimeError("the list broke")

        with pytest.raises(RuntimeError, match="the list broke"):
            list(VideoEncoder([NumberBackbone()]).encode(videos()))

    def test_a_backbone_that_fails_ends_the_run(self):
        class Broken(NumberBackbone):
            def encode_frames(self, frames):
                raise RuntimeError("a bug")

        before = threading.active_count()
        with pytest.raises(RuntimeError, match="a bug"):
            list(VideoEncoder([Broken(batch_size=1)], num_threads=2).encode(numbered_arrays(9, 9, 9)))
        assert threading.active_count() == before

    def test_without_pyav_no_video_is_blamed(self, monkeypatch):
        monkeypatch.setattr(files, "av", None)
        with pytest.raises(ImportError, match=r"videolights-hf\[video\]"):
            list(VideoEncoder([NumberBackbone()]).encode([VideoSource("a.mp4")]))


class TestMemory:
    def test_a_batch_that_does_not_fit_is_halved_once_per_size(self):
        backbone = NumberBackbone(batch_size=12, limit=3)
        with pytest.warns(UserWarning, match="out of memory") as caught:
            videos = list(VideoEncoder([backbone]).encode(numbered_arrays(20, 20)))
        messages = [str(warning.message) for warning in caught]
        assert len(messages) == 2
        assert "'numbers' continues with batches of 6." in messages[0]
        assert "batches of 3." in messages[1]
        assert backbone.batch_size == 3
        for video in videos:
            assert video.features["numbers"][:, 0].tolist() == list(range(0, 40, 2))

    def test_other_backbones_keep_their_batch_size(self):
        tight, roomy = NumberBackbone("tight", 1, 8, limit=4), NumberBackbone("roomy", 1, 8)
        with pytest.warns(UserWarning, match="'tight' continues with"):
            list(VideoEncoder([tight, roomy]).encode(numbered_arrays(20)))
        assert (tight.batch_size, roomy.batch_size) == (4, 8)

    def test_a_single_clip_that_does_not_fit_is_an_error(self):
        with pytest.warns(UserWarning, match="batches of 1"), pytest.raises(torch.OutOfMemoryError):
            list(VideoEncoder([NumberBackbone(batch_size=2, limit=0)]).encode(numbered_arrays(3)))
