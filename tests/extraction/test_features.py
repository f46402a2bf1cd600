import numpy as np
import pytest

from tests.support.corpora import NumberBackbone, write_corpus
from videolights_hf.backbones.runner import VideoEncoder
from videolights_hf.data.features import FeatureFileError
from videolights_hf.extraction import ExtractionSettings, extract_video_features, find_videos, load_video_features


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    write_corpus(tmp_path / "videos", 2)
    return find_videos(tmp_path / "videos")


def extract(videos, output, *backbones):
    extract_video_features(videos, output, backbones, ExtractionSettings(dtype="float32", progress=False))


def test_features_of_a_video_come_back_as_they_were_computed(videos, tmp_path):
    one, many = NumberBackbone("one"), NumberBackbone("many", 4)
    extract(videos, tmp_path / "out", one, many)
    for vid, encoded in zip(videos, VideoEncoder([one, many]).encode(videos.values()), strict=True):
        loaded = load_video_features(tmp_path / "out", vid)
        assert (loaded.duration, loaded.clip_length) == (encoded.duration, encoded.clip_length)
        assert set(loaded.features) == {"one", "many"}
        assert all(np.array_equal(loaded.features[name], encoded.features[name]) for name in loaded.features)
        assert list(load_video_features(tmp_path / "out", vid, ["many"]).features) == ["many"]


def test_files_that_do_not_fit_are_named(videos, tmp_path):
    extract(videos, tmp_path / "out", NumberBackbone("one"), NumberBackbone("many", 4))
    with pytest.raises(FeatureFileError, match="no nowhere"):
        load_video_features(tmp_path / "out", "nowhere")
    with pytest.raises(FeatureFileError, match="not a plain file name"):
        load_video_features(tmp_path / "out", "../out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no video features"):
        load_video_features(tmp_path / "empty", "video_00")
    path = tmp_path / "out" / "one_features" / "video_00.npz"
    with np.load(path) as file:
        arrays = dict(file)
    for duration, message in (
        (np.full((1, 1), 99.0), "not of the same video"),
        (np.full((1, 1), -1.0), "no positive"),
    ):
        np.savez(path, **{**arrays, "duration": duration})
        with pytest.raises(ValueError, match=message):
            load_video_features(tmp_path / "out", "video_00")
    np.savez(path, features=arrays["features"])
    with pytest.raises(FeatureFileError, match="but not 'duration'"):
        load_video_features(tmp_path / "out", "video_00")
