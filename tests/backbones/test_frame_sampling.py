"""SlowFast looks at the frames that the published features were made of, or at evenly spread ones; the two do not mix."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.support.corpora import NumberBackbone
from tests.support.tiny_backbones import make_tiny_clip, make_tiny_slowfast, tiny_slowfast_config
from tests.support.videos import numbered_frames, write_video
from videolights_hf import SlowFastBackbone, VideoEncoder, VideoFeatures, VideoLightsProcessor, VideoSource
from videolights_hf.backbones.slowfast_weights import PUBLIC_WEIGHTS
from videolights_hf.common.settings import SettingsMismatchError
from videolights_hf.extraction import ExtractionSettings, extract_video_features, load_video_features

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "golden" / "frame_sampling.json").read_text())
SHORT = [case for case in GOLDEN["slowfast"] if case["num_frames"] < 256]
QUIET = ExtractionSettings(progress=False)


def make_processor(**checkpoints):
    return VideoLightsProcessor(
        [["slowfast", 80], ["clip", 24]], [["clip", 32]], backbone_checkpoints={"clip": "owner/clip", **checkpoints}
    )


def features_of(sampling):
    arrays = {"slowfast": np.zeros((5, 80), np.float32), "clip": np.zeros((5, 24), np.float32)}
    return VideoFeatures(arrays, 10.0, 2.0, {"clip": "even", **({"slowfast": sampling} if sampling else {})})


@pytest.fixture
def folders(tmp_path):
    """A backbone of each kind, and one saved before the kind was noted."""
    for name in ("30fps", "even", "unmarked"):
        make_tiny_slowfast(frame_sampling="even" if name == "even" else "30fps").save_pretrained(tmp_path / name)
    config = tmp_path / "unmarked" / "config.json"
    settings = json.loads(config.read_text())
    assert settings.pop("frame_sampling") == "30fps"
    config.write_text(json.dumps(settings))
    return tmp_path


@pytest.mark.parametrize(
    "case", SHORT, ids=lambda case: f"{case['num_frames']} at {case['fps']}, {case['clip_length']} s"
)
def test_frames_at_30_fps_are_those_of_the_release(case):
    backbone = NumberBackbone("slowfast", 32)
    backbone.sampling = "30fps"
    source = VideoSource(numbered_frames(range(case["num_frames"])), float(Fraction(case["fps"])))
    (video,) = VideoEncoder([backbone], case["clip_length"]).encode([source])
    assert video.features["slowfast"].astype(int).tolist() == case["frames"]
    assert video.frame_sampling == {"slowfast": "30fps"}


def test_a_folder_says_which_frames_and_one_that_does_not_has_even_ones(folders):
    for name, sampling in (("30fps", "30fps"), ("even", "even"), ("unmarked", "even")):
        backbone = SlowFastBackbone.from_pretrained(folders / name)
        assert backbone.requirement.sampling == sampling
        assert SlowFastBackbone.sampling_of(str(folders / name)) == sampling
    assert SlowFastBackbone.sampling_of(PUBLIC_WEIGHTS.url) == "30fps"
    assert SlowFastBackbone.sampling_of("nobody/nothing") is None
    with pytest.raises(Exception, match="frame_sampling"):
        tiny_slowfast_config(frame_sampling="odd")


@pytest.mark.parametrize(
    ("folder", "sampling", "fits"),
    [
        ("30fps", "30fps", True), ("30fps", "even", False), ("30fps", None, True),
        ("even", "even", True), ("even", "30fps", False), ("unmarked", "30fps", False), ("unmarked", "even", True),
    ],
)  # fmt: skip
def test_a_processor_takes_features_of_its_own_kind_or_of_an_unknown_one(folders, folder, sampling, fits):
    processor = make_processor(slowfast=str(folders / folder))
    if fits:
        assert processor(videos=features_of(sampling))["video_features"].shape == (1, 5, 106)
    else:
        with pytest.raises(ValueError, match=r"frame sampling .* extract them again"):
            processor(videos=features_of(sampling))


def test_an_attached_backbone_decides_too():
    processor = make_processor()
    processor.set_backbone(make_tiny_slowfast(frame_sampling="even"))
    with pytest.raises(ValueError, match="are of the frame sampling '30fps', those of this model of 'even'"):
        processor(videos=features_of("30fps"))


def test_extracted_features_are_marked_and_not_mixed(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(range(50)), 5)
    videos = {"v": VideoSource(path)}
    extract_video_features(videos, tmp_path / "new", [make_tiny_slowfast()], QUIET)
    noted = json.loads((tmp_path / "new" / "slowfast_features" / "extraction.json").read_text())
    assert noted["sampling"] == "30fps"
    assert load_video_features(tmp_path / "new", "v").frame_sampling == {"slowfast": "30fps"}
    with pytest.raises(SettingsMismatchError, match="sampling is '30fps' there and 'even' now"):
        extract_video_features(videos, tmp_path / "new", [make_tiny_slowfast(frame_sampling="even")], QUIET)


def test_a_folder_of_features_without_the_mark_counts_as_even(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered_frames(range(50)), 5)
    videos = {"v": VideoSource(path)}
    even = make_tiny_slowfast(frame_sampling="even")
    extract_video_features(videos, tmp_path, [even], QUIET)
    settings = tmp_path / "slowfast_features" / "extraction.json"
    noted = json.loads(settings.read_text())
    del noted["sampling"]
    settings.write_text(json.dumps(noted))
    assert extract_video_features(videos, tmp_path, [even], QUIET).skipped == 1
    assert load_video_features(tmp_path, "v").frame_sampling == {"slowfast": "even"}
    with pytest.raises(SettingsMismatchError, match="sampling is 'even' there and '30fps' now"):
        extract_video_features(videos, tmp_path, [make_tiny_slowfast()], QUIET)


@pytest.mark.parametrize("num_frames", [2, 4, 5, 7, 8, 9, 10])
def test_a_video_shorter_than_a_clip_has_clips_that_share_its_length(num_frames):
    processor = make_processor()
    for backbone in (make_tiny_slowfast(), make_tiny_clip()):
        processor.set_backbone(backbone)
    video = processor.encode_video(numbered_frames(range(num_frames)), fps=5)
    assert video.num_clips * video.clip_length == pytest.approx(num_frames / 5)
    assert {len(array) for array in video.features.values()} == {1}
