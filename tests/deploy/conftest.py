import numpy as np
import pytest
import torch

from tests.support.tiny_backbones import make_tiny_clip, make_tiny_slowfast
from tests.support.videos import gray_frames, write_video
from videolights_hf import (
    VideoLightsConfig,
    VideoLightsForMomentRetrieval,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.deploy import export_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny model of CLIP and SlowFast, saved with its backbones."""
    config = VideoLightsConfig(
        video_backbones=[["slowfast", 80], ["clip", 24]],
        text_backbones=[["clip", 32]],
        max_video_length=10,
        hidden_size=16,
        num_attention_heads=4,
        intermediate_size=24,
    )
    torch.manual_seed(0)
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={})
    processor.set_backbone(make_tiny_clip())
    processor.set_backbone(make_tiny_slowfast())
    folder = tmp_path_factory.mktemp("model")
    VideoMomentRetrievalPipeline(VideoLightsForMomentRetrieval(config), processor, device="cpu").save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="session")
def exported(model_folder, tmp_path_factory):
    """The tiny model as ONNX graphs."""
    return export_model(model_folder, tmp_path_factory.mktemp("exported") / "onnx")


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """32 seconds, two windows of the tiny model."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return str(write_video(path, gray_frames(np.arange(160) * 7 % 240), 5))
