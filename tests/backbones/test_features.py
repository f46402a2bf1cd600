import io
import zipfile

import numpy as np
import pytest

from videolights_hf import VideoFeatures


@pytest.fixture
def video():
    rng = np.random.default_rng(0)
    features = {"slowfast": rng.standard_normal((6, 12)).astype(np.float32), "clip": rng.standard_normal((5, 8))}
    return VideoFeatures(features, duration=10.5, clip_length=2.0, frame_sampling={"slowfast": "30fps"})


def test_saved_and_loaded_gives_the_same(video, tmp_path):
    video.save(tmp_path / "video.npz")
    loaded = VideoFeatures.load(tmp_path / "video.npz")
    assert (loaded.duration, loaded.clip_length, loaded.num_clips) == (10.5, 2.0, 5)
    assert loaded.frame_sampling == {"slowfast": "30fps"}
    assert list(loaded.features) == ["slowfast", "clip"]
    for name, array in video.features.items():
        assert loaded.features[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded.features[name], array)


@pytest.mark.parametrize("values", [(0.0, 2.0), (10.0, -1.0), (float("nan"), 2.0), (10.0, float("inf"))])
def test_times_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match="must be a positive number of seconds"):
        VideoFeatures({"clip": np.zeros((5, 8))}, *values)
    with pytest.raises(ValueError, match="`features` is empty"):
        VideoFeatures({}, 10.0, 2.0)


def pickled():
    file = io.BytesIO()
    np.savez(file, **{"features/clip": np.array([[{}]], object), "duration": 1.0, "clip_length": 1.0})
    return file.getvalue()


def compressed():
    file = io.BytesIO()
    np.savez_compressed(file, **{"features/clip": np.zeros((5, 8), np.float32), "duration": 1.0, "clip_length": 1.0})
    return file.getvalue()


def integers():
    file = io.BytesIO()
    np.savez(file, **{"features/clip": np.zeros((5, 8), int), "duration": 1.0, "clip_length": 1.0})
    return file.getvalue()


def sampled_by_number():
    file = io.BytesIO()
    rest = {"duration": 10.0, "clip_length": 2.0, "frame_sampling": "1.5"}
    np.savez(file, **{"features/clip": np.zeros((5, 8), np.float32), **rest})
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"no archive", pickled(), compressed(), integers(), sampled_by_number()])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz cannot be read as the features of a video") as error:
        VideoFeatures.load(tmp_path / "x.npz")
    assert "\n" not in str(error.value)


def test_a_flipped_bit_and_a_missing_file_are_found(video, tmp_path):
    video.save(tmp_path / "x.npz")
    data = bytearray((tmp_path / "x.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        data[archive.infolist()[0].header_offset + 300] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        VideoFeatures.load(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError):
        VideoFeatures.load(tmp_path / "gone.npz")
