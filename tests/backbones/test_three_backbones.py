"""SlowFast, CLIP and BLIP-2 together, as in VideoLights-B: one processor, one folder, one pipeline."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import pipeline

from tests.support.factories import tiny_model
from tests.support.tiny_backbones import make_tiny_blip2, make_tiny_clip, make_tiny_slowfast
from tests.support.videos import numbered_frames, write_video
from videolights_hf import (
    Blip2Backbone,
    SlowFastBackbone,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.video.reader import VideoReader

VIDEO_BACKBONES = [["slowfast", 80], ["clip", 24], ["blip2", 32]]
TEXT_BACKBONES = [["clip", 32], ["blip2", 32]]
SENTENCE = "A red square moves."


def make_backbones():
    return [make_tiny_slowfast(image_size=64), make_tiny_clip(), make_tiny_blip2()]


def make_processor(model=None, **settings):
    if model is None:
        processor = VideoLightsProcessor(VIDEO_BACKBONES, TEXT_BACKBONES, backbone_checkpoints={}, **settings)
    else:
        processor = VideoLightsProcessor.from_config(model.config, backbone_checkpoints={})
    for backbone in make_backbones():
        processor.set_backbone(backbone)
    return processor


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "numbers.mp4"
    return write_video(path, numbered_frames(np.arange(96)), 8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = tiny_model(video_backbones=VIDEO_BACKBONES, text_backbones=TEXT_BACKBONES)
    folder = tmp_path_factory.mktemp("checkpoint")
    VideoMomentRetrievalPipeline(model=model, processor=make_processor(model)).save_pretrained(folder)
    return folder, model


def test_a_video_is_encoded_by_all_three(video):
    encoded = make_processor().encode_video(video)
    assert {name: array.shape for name, array in encoded.features.items()} == {
        "slowfast": (6, 80),
        "clip": (6, 24),
        "blip2": (6, 32),
    }
    assert all(array.dtype == np.float32 for array in encoded.features.values())


def test_each_gives_what_it_gives_for_its_own_frames(video):
    encoded = make_processor().encode_video(video)
    for backbone in make_backbones():
        parts = VideoReader(video).clip_frames([backbone.requirement], 2.0)
        alone = backbone.encode_frames(np.concatenate([frames for _, frames in parts]))
        np.testing.assert_allclose(encoded.features[backbone.name], alone, rtol=1e-4, atol=1e-4)


def test_the_model_input_holds_all_three_in_the_order_of_the_configuration(video):
    processor = make_processor()
    encoded = processor.encode_video(video)
    inputs = processor(videos=encoded, text=SENTENCE)
    assert inputs["video_features"].shape == (1, 6, 80 + 24 + 32 + 2)
    start = 0
    for name, width in VIDEO_BACKBONES:
        rows = encoded.features[name]
        normalized = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(inputs["video_features"][0, :, start : start + width], normalized, atol=1e-5)
        start += width
    tokens = processor.encode_text(SENTENCE)[0]
    assert inputs["text_features"].shape == (1, min(map(len, tokens.values())), 64)


def test_one_folder_holds_model_processor_and_backbones(saved, video):
    folder, _ = saved
    assert sorted(os.listdir(folder / "backbones")) == ["blip2", "clip", "slowfast"]
    assert all((folder / "backbones" / name / "model.safetensors").is_file() for name in ("blip2", "clip", "slowfast"))
    loaded = VideoLightsProcessor.from_pretrained(folder)
    assert isinstance(loaded.get_backbone("slowfast"), SlowFastBackbone)
    assert isinstance(loaded.get_backbone("blip2"), Blip2Backbone)
    again, before = loaded.encode_video(video), make_processor().encode_video(video)
    for name, _ in VIDEO_BACKBONES:
        np.testing.assert_allclose(again.features[name], before.features[name], rtol=1e-5, atol=1e-5)
    for name, _ in TEXT_BACKBONES:
        np.testing.assert_allclose(
            loaded.encode_text(SENTENCE)[0][name],
            make_processor().encode_text(SENTENCE)[0][name],
            rtol=1e-5,
            atol=1e-5,
        )


def test_the_pipeline_runs_from_the_folder(saved, video):
    folder, model = saved
    found = pipeline("video-moment-retrieval", model=str(folder), device="cpu")(str(video), SENTENCE)
    expected = VideoMomentRetrievalPipeline(model, make_processor(model), device="cpu")(str(video), SENTENCE)
    np.testing.assert_allclose(found.pop("saliency"), expected.pop("saliency"), atol=1e-5)
    assert len(found["moments"]) == len(expected["moments"]) > 0
    for one, other in zip(found.pop("moments"), expected.pop("moments"), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    assert found == expected == {"query": SENTENCE, "clip_length": 2.0, "duration": 12.0}


def test_the_backbones_follow_the_processor_to_a_precision(saved, video):
    loaded = VideoLightsProcessor.from_pretrained(saved[0]).to(dtype=torch.bfloat16)
    half, full = loaded.encode_video(video), make_processor().encode_video(video)
    assert loaded.get_backbone("slowfast").model.dtype == torch.bfloat16
    for name, _ in VIDEO_BACKBONES:
        reference = full.features[name]
        assert half.features[name].dtype == np.float32
        assert np.abs(half.features[name] - reference).max() < 0.1 * np.abs(reference).max()


def test_the_folder_runs_where_the_package_is_not_installed(saved, video, tmp_path):
    from tests.support.remote import WITHOUT_PACKAGE

    folder, model = saved
    script = """
from transformers import pipeline
finder = pipeline("video-moment-retrieval", model=sys.argv[1], trust_remote_code=True, device="cpu")
print(json.dumps(finder(sys.argv[2], "A red square moves.")))
"""
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGE + script, str(folder), str(video)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    expected = VideoMomentRetrievalPipeline(model, make_processor(model), device="cpu")(str(video), SENTENCE)
    np.testing.assert_allclose(found["saliency"], expected["saliency"], atol=1e-4)


def test_i3d_features_are_taken_but_not_computed(video):
    processor = VideoLightsProcessor([["i3d", 2048]], [["clip", 32]], backbone_checkpoints={})
    features = np.random.default_rng(0).standard_normal((6, 2048))
    assert processor(videos={"i3d": features})["video_features"].shape == (1, 6, 2050)
    with pytest.raises(
        ValueError, match=r"Unknown backbone 'i3d'.*I3D features are only read.*Pass precomputed features"
    ):
        processor.encode_video(video)
