import dataclasses
import errno
import json
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.corpora import NumberBackbone, write_corpus, write_numbered
from tests.support.tiny_backbones import make_tiny_clip
from tests.support.videos import numbered_frames
from videolights_hf.backbones.runner import VideoEncoder
from videolights_hf.common.locks import FolderInUseError, locked_folder
from videolights_hf.extraction import (
    ExtractionSettings,
    SettingsMismatchError,
    extract_video_features,
    find_videos,
    progress,
)
from videolights_hf.extraction import video as video_module
from videolights_hf.extraction.progress import ExtractionBar


def extract(videos, output, *backbones, missing=(), **settings):
    return extract_video_features(
        videos, output, backbones, ExtractionSettings(progress=False, **settings), missing=missing
    )


def features_in(folder):
    contents = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            assert file.files == ["features", "duration", "clip_length"]
            contents[path.stem] = file["features"]
    return contents


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 7)
    return find_videos(folder)


@pytest.fixture
def mixed(tmp_path):
    """Good videos among bad ones."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for index, vid in enumerate("bdf"):
        write_numbered(folder / f"{vid}.mp4", 20 + index)
    (folder / "a.mp4").write_bytes(b"")
    (folder / "c.mp4").write_text("This is not a video.\n" * 50)
    write_sound(folder / "e.mp4")
    return find_videos(folder)


def write_sound(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])


def failures_in(folder):
    return [json.loads(line) for line in (folder / "failed.jsonl").read_text().splitlines()]


class TestFiles:
    def test_every_backbone_has_a_folder_with_a_file_a_video(self, corpus, tmp_path):
        clip, many = make_tiny_clip(image_size=48), NumberBackbone("many", 32, batch_size=3)
        summary = extract(corpus, tmp_path, clip, many, clip_length=1.0, checkpoints={"clip": "some/where"})
        assert (summary.done, summary.skipped, summary.failed) == (7, 0, ())
        assert str(summary) == "7 done, 0 already there, 0 failed"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["clip_features", "many_features"]
        encoded = VideoEncoder([clip, many], 1.0).encode(corpus.values())
        clips, numbers = (features_in(tmp_path / f"{name}_features") for name in ("clip", "many"))
        for vid, video in zip(corpus, encoded, strict=True):
            assert clips[vid].dtype == numbers[vid].dtype == np.float16
            assert clips[vid].shape == (len(video.features["clip"]), 24)
            np.testing.assert_allclose(clips[vid], video.features["clip"], rtol=2e-3, atol=1e-5)
            assert np.array_equal(numbers[vid], video.features["many"])
        settings = json.loads((tmp_path / "clip_features" / "extraction.json").read_text())
        assert len(settings.pop("weights")) == 32
        assert settings == {
            "backbone": "clip",
            "checkpoint": "some/where",
            "compute_dtype": "float32",
            "clip_length": 1.0,
            "dtype": "float16",
            "frame_size": 48,
            "frames_per_clip": 1,
            "sampling": "even",
            "width": 24,
        }

    def test_single_precision_on_request(self, corpus, tmp_path):
        extract(corpus, tmp_path, make_tiny_clip(), dtype="float32")
        assert {array.dtype.name for array in features_in(tmp_path / "clip_features").values()} == {"float32"}
        with pytest.raises(ValueError, match="float16 or float32, not as 'int8'"):
            extract(corpus, tmp_path, make_tiny_clip(), dtype="int8")

    def test_the_bits_do_not_depend_on_the_order_in_which_videos_are_given(self, corpus, tmp_path):
        for name, videos in (("a", corpus), ("b", dict(reversed(corpus.items())))):
            extract(videos, tmp_path / name, make_tiny_clip(), dtype="float32")
        first, second = (features_in(tmp_path / name / "clip_features") for name in "ab")
        assert all(np.array_equal(first[vid], second[vid]) for vid in corpus)

    def test_parts_of_longer_videos(self, tmp_path):
        (tmp_path / "videos").mkdir()
        write_numbered(tmp_path / "videos" / "a_-b.mp4", 200, options={"g": "10"})
        vids = ["a_-b_10.0_20.0", "a_-b_20_30", "a_-b_90_99", "a_-b"]
        found = find_videos(tmp_path / "videos", vids)
        summary = extract(found, tmp_path, NumberBackbone())
        numbers = {vid: rows[:, 0].tolist() for vid, rows in features_in(tmp_path / "numbers_features").items()}
        assert numbers["a_-b_10.0_20.0"] == [54, 64, 74, 84, 94]
        assert numbers["a_-b_20_30"] == [104, 114, 124, 134, 144]
        assert len(numbers["a_-b"]) == 20
        (failure,) = summary.failed
        assert failure.vid == "a_-b_90_99"
        assert "lasts 40.0 s" in failure.error

    @pytest.mark.parametrize("vid", ["../x", "a/b", ""])
    def test_a_vid_that_is_no_file_name_is_refused_before_anything_is_written(self, corpus, tmp_path, vid):
        videos = {**corpus, vid: next(iter(corpus.values()))}
        with pytest.raises(ValueError, match="cannot be a file name"):
            extract(videos, tmp_path / "out", NumberBackbone())
        assert not (tmp_path / "out").exists()

    def test_no_videos_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="no videos"):
            extract({}, tmp_path, NumberBackbone())


class TestFailures:
    def test_bad_videos_are_reported_and_the_rest_goes_on(self, mixed, tmp_path):
        summary = extract(mixed, tmp_path, NumberBackbone(), missing=["z"])
        assert (summary.done, [failure.vid for failure in summary.failed]) == (3, ["a", "c", "e", "z"])
        assert str(summary) == "3 done, 0 already there, 4 failed (failed.jsonl names them)"
        rows = failures_in(tmp_path)
        assert [list(row) for row in rows] == [["vid", "path", "error"]] * 4
        assert [row["vid"] for row in rows] == ["a", "c", "e", "z"]
        assert rows[0]["path"].endswith("a.mp4")
        assert "no video stream, only audio" in rows[2]["error"]
        assert rows[3]["path"] is None
        assert list(features_in(tmp_path / "numbers_features")) == ["b", "d", "f"]

    def test_a_name_that_is_too_long_for_a_feature_file_fails_alone(self, tmp_path):
        (tmp_path / "videos").mkdir()
        write_numbered(tmp_path / "videos" / "a.mp4", 20)
        os.rename(write_numbered(tmp_path / "videos" / "b.ts", 20), tmp_path / "videos" / f"{'b' * 252}.ts")
        write_numbered(tmp_path / "videos" / "c.mp4", 20)
        summary = extract(find_videos(tmp_path / "videos"), tmp_path, NumberBackbone())
        assert (summary.done, [failure.vid for failure in summary.failed]) == (2, ["b" * 252])
        assert "too long" in summary.failed[0].error

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
    def test_a_pipe_in_a_folder_of_videos_does_not_hang_and_is_counted(self, tmp_path):
        (tmp_path / "videos").mkdir()
        write_numbered(tmp_path / "videos" / "a.mp4", 20)
        os.mkfifo(tmp_path / "videos" / "p.mp4")
        summary = extract(find_videos(tmp_path / "videos"), tmp_path, NumberBackbone())
        assert (summary.done, [failure.vid for failure in summary.failed]) == (1, ["p"])
        assert "pipe" in summary.failed[0].error

    def test_every_kind_of_video_is_taken_and_a_single_picture_is_none(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        write_numbered(folder / "a.mp4", 20)
        write_numbered(folder / "b.asf", 20, codec="mpeg4")
        write_numbered(folder / "c.h264", 20, format="h264")
        pictures = [Image.fromarray(frame) for frame in numbered_frames(range(20))]
        pictures[0].save(folder / "d.gif", save_all=True, append_images=pictures[1:], duration=200)
        pictures[0].save(folder / "e.gif")
        write_numbered(folder / "f.mp4", 1)
        pictures[0].save(folder / "g.png")
        (folder / "h.xyz").write_text("nothing")
        summary = extract(find_videos(folder, "abcdefgh"), tmp_path, NumberBackbone())
        assert (summary.done, [failure.vid for failure in summary.failed]) == (4, ["e", "f", "g", "h"])
        assert all(str(folder) in failure.path for failure in summary.failed)
        numbers = features_in(tmp_path / "numbers_features")
        assert {vid: rows[:, 0].tolist() for vid, rows in numbers.items()} == {vid: [4.0, 14.0] for vid in "abcd"}

    def test_failed_videos_are_tried_again_and_the_others_left(self, mixed, tmp_path):
        extract(mixed, tmp_path, NumberBackbone())
        written = {path: path.stat().st_mtime_ns for path in (tmp_path / "numbers_features").iterdir()}
        write_numbered(mixed["c"].video, 30)
        summary = extract(mixed, tmp_path, NumberBackbone())
        assert (summary.done, summary.skipped) == (1, 3)
        assert [row["vid"] for row in failures_in(tmp_path)] == ["a", "e"]
        assert {path: path.stat().st_mtime_ns for path in written} == written
        for vid in "ae":
            write_numbered(mixed[vid].video, 30)
        assert extract(mixed, tmp_path, NumberBackbone()).failed == ()
        assert not (tmp_path / "failed.jsonl").exists()

    def test_videos_that_fail_again_do_not_make_the_others_be_encoded_again(self, mixed, tmp_path):
        extract(mixed, tmp_path, NumberBackbone())
        again = NumberBackbone()
        summary = extract(mixed, tmp_path, again)
        assert (summary.skipped, len(summary.failed), again.batches) == (3, 3, [])
        assert [row["vid"] for row in failures_in(tmp_path)] == ["a", "c", "e"]

    def test_failures_are_on_disk_as_soon_as_they_are_known(self, mixed, tmp_path):
        class Breaking(NumberBackbone):
            def encode_frames(self, frames):
                if self.batches:
                    raise RuntimeError("a bug")
                return super().encode_frames(frames)

        with pytest.raises(RuntimeError, match="a bug"):
            extract(mixed, tmp_path, Breaking(batch_size=5))
        assert [row["vid"] for row in failures_in(tmp_path)] == ["a", "c", "e"]

    def test_features_that_the_files_cannot_hold_are_a_failure_of_their_video(self, corpus, tmp_path):
        class Large(NumberBackbone):
            def encode_frames(self, frames):
                features = super().encode_frames(frames)
                features[0] = 1e6
                return features

        summary = extract(corpus, tmp_path, Large(batch_size=1000))
        (failure,) = summary.failed
        assert failure.vid == "video_00"
        assert "store them as float32" in failure.error
        assert "video_00" not in features_in(tmp_path / "numbers_features")

    def test_a_full_disk_ends_the_run_and_the_same_call_goes_on(self, corpus, tmp_path, monkeypatch):
        whole = NumberBackbone(batch_size=4)
        extract(corpus, tmp_path / "whole", whole)
        save, calls = np.savez, []

        def fill_up(file, **arrays):
            calls.append(1)
            if len(calls) == 3:
                file.write(b"half")
                raise OSError(errno.ENOSPC, "No space left on device")
            save(file, **arrays)

        with monkeypatch.context() as patch:
            patch.setattr(np, "savez", fill_up)
            with pytest.raises(OSError, match=r"disk is full.*repeat the command"):
                extract(corpus, tmp_path / "full", NumberBackbone(batch_size=4))
        folder = tmp_path / "full" / "numbers_features"
        assert sorted(os.listdir(folder)) == ["extraction.json", "video_00.npz", "video_01.npz"]
        assert extract(corpus, tmp_path / "full", NumberBackbone(batch_size=4)).done == 5
        for path in (tmp_path / "whole" / "numbers_features").iterdir():
            assert path.read_bytes() == (folder / path.name).read_bytes()

    def test_out_of_memory_halves_the_batch_and_goes_on(self, corpus, tmp_path):
        with pytest.warns(UserWarning, match="continues with batches of 4"):
            summary = extract(corpus, tmp_path, NumberBackbone(batch_size=8, limit=5))
        assert summary.done == 7

    def test_memory_that_does_not_suffice_for_one_clip_is_an_error(self, corpus, tmp_path):
        with pytest.raises(torch.OutOfMemoryError):
            extract(corpus, tmp_path, NumberBackbone(batch_size=1, limit=0))


class TestOneRunAtATime:
    def test_another_run_on_the_folder_is_refused(self, corpus, tmp_path):
        with locked_folder(tmp_path), pytest.raises(FolderInUseError, match="is in use by process"):
            extract(corpus, tmp_path, NumberBackbone())
        assert extract(corpus, tmp_path, NumberBackbone()).done == 7
        assert not (tmp_path / ".lock").exists()

    def test_files_that_disappear_are_not_counted_as_done(self, corpus, tmp_path):
        class Losing(NumberBackbone):
            def encode_frames(self, frames):
                for path in (tmp_path / "numbers_features").glob("video_00.npz"):
                    path.unlink()
                return super().encode_frames(frames)

        with pytest.raises(OSError, match=r"1 files disappeared from .*numbers_features .*'video_00'"):
            extract(corpus, tmp_path, Losing(batch_size=1))


class TestSettings:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"clip_length": 1.0}, "clip_length is 2.0 there and 1.0 now"),
            ({"dtype": "float32"}, "dtype is 'float16' there and 'float32' now"),
        ],
    )
    def test_features_of_other_settings_are_not_mixed(self, corpus, tmp_path, change, message):
        extract(corpus, tmp_path, NumberBackbone())
        with pytest.raises(SettingsMismatchError, match=message):
            extract(corpus, tmp_path, NumberBackbone(), **change)

    def test_other_sampling_is_not_mixed_and_no_mark_counts_as_even(self, corpus, tmp_path):
        class AtReleaseRate(NumberBackbone):
            @property
            def requirement(self):
                return dataclasses.replace(super().requirement, sampling="30fps")

        extract(corpus, tmp_path, NumberBackbone(frames_per_clip=4))
        path = tmp_path / "numbers_features" / "extraction.json"
        settings = json.loads(path.read_text())
        assert settings.pop("sampling") == "even"
        path.write_text(json.dumps(settings))
        assert extract(corpus, tmp_path, NumberBackbone(frames_per_clip=4)).skipped == 7
        with pytest.raises(SettingsMismatchError, match="sampling is 'even' there and '30fps' now"):
            extract(corpus, tmp_path, AtReleaseRate(frames_per_clip=4))

    def test_other_weights_are_not_mixed(self, corpus, tmp_path):
        extract(corpus, tmp_path, make_tiny_clip(seed=0), checkpoints={"clip": "a"})
        with pytest.raises(SettingsMismatchError, match=r"weights is .* checkpoint is 'a' there and 'b' now"):
            extract(corpus, tmp_path, make_tiny_clip(seed=1), checkpoints={"clip": "b"})
        assert extract(corpus, tmp_path, make_tiny_clip(seed=0), checkpoints={"clip": "b"}).skipped == 7

    def test_another_computing_precision_is_not_mixed(self, corpus, tmp_path):
        extract(corpus, tmp_path, make_tiny_clip())
        with pytest.raises(SettingsMismatchError, match="compute_dtype is 'float32' there and 'bfloat16' now"):
            extract(corpus, tmp_path, make_tiny_clip().to(dtype=torch.bfloat16))

    def test_backbones_can_be_added_later(self, corpus, tmp_path):
        first, second = NumberBackbone("first"), NumberBackbone("second", 2)
        extract(corpus, tmp_path, first)
        (tmp_path / "first_features" / "video_03.npz").unlink()
        first.batches.clear()
        with_both = extract(corpus, tmp_path, first, second)
        assert (with_both.done, with_both.skipped) == (7, 0)
        assert len(features_in(tmp_path / "first_features")) == len(features_in(tmp_path / "second_features")) == 7


class TestGroups:
    def test_a_video_that_is_missing_is_encoded_with_its_whole_group(self, corpus, tmp_path, monkeypatch):
        monkeypatch.setattr(video_module, "VIDEOS_PER_GROUP", 3)
        clip = make_tiny_clip()
        clip.batch_size = 5
        extract(corpus, tmp_path, clip, dtype="float32")
        folder = tmp_path / "clip_features"
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        for vid in ("video_01", "video_06"):
            (folder / f"{vid}.npz").unlink()
        batches = []
        encode = clip.encode_frames
        monkeypatch.setattr(clip, "encode_frames", lambda frames: batches.append(len(frames)) or encode(frames))
        summary = extract(corpus, tmp_path, clip, dtype="float32")
        assert (summary.done, summary.skipped) == (2, 5)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        clips = {vid: len(rows) for vid, rows in features_in(folder).items()}
        groups = [sum(clips[f"video_0{index}"] for index in group) for group in ((0, 1, 2), (6,))]
        assert sum(batches) == sum(groups)


def test_progress_shows_videos_clips_a_second_and_time_left(corpus, tmp_path, capsys):
    extract_video_features(corpus, tmp_path, [NumberBackbone()])
    shown = capsys.readouterr().err
    assert "7/7" in shown
    assert re.fullmatch(r"Extracting video features: 7/7 videos, [\d.]+ clips/s\n", shown)


def test_in_a_log_progress_is_a_line_every_half_minute(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with ExtractionBar("Extracting", "video", "clip", 10, initial=2, show=True) as bar:
        for _ in range(4):
            now[0] += 20
            bar.add_encoded(30)
            bar.update(2)
    with ExtractionBar("Nothing", "video", "clip", 10, initial=10, show=True):
        pass
    assert capsys.readouterr().err.splitlines() == [
        "Extracting: 6/10 videos, 1.5 clips/s, 00:40 left",
        "Extracting: 10/10 videos, 1.5 clips/s",
    ]
