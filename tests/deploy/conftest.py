import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.tiny_backbones import make_tiny_blip2, make_tiny_clip, make_tiny_slowfast, save_tiny_siglip
from tests.support.videos import gray_frames, write_video
from videolights_hf import (
    MomentDetrConfig,
    MomentDetrForMomentRetrieval,
    VideoLightsConfig,
    VideoLightsForMomentRetrieval,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.backbones import registry
from videolights_hf.backbones.modules import import_backbone_module
from videolights_hf.deploy import export_model

SIGLIP = Path(__file__).parents[2] / "examples" / "siglip2_backbone.py"


@pytest.fixture(scope="module")
def siglip():
    """A backbone that is not the package's own, known while these tests run."""
    import_backbone_module(str(SIGLIP))
    yield registry.get_backbone_class("siglip2")
    # As it was before.
    del registry.BACKBONES["siglip2"], registry._origins["siglip2"]
    sys.modules.pop("siglip2_backbone", None)


SIZES = {
    "max_video_length": 10,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    # Tracing takes seconds per layer.
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "num_fusion_layers": 1,
}


def save_pipeline(folder, model, backbones):
    processor = VideoLightsProcessor.from_config(model.config, backbone_checkpoints={})
    for backbone in backbones:
        processor.set_backbone(backbone)
    VideoMomentRetrievalPipeline(model, processor, device="cpu").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, siglip):
    """A tiny model of SlowFast, CLIP, BLIP-2 and SigLIP 2, saved with its backbones."""
    config = VideoLightsConfig(
        video_backbones=[["slowfast", 80], ["clip", 24], ["blip2", 32], ["siglip2", 16]],
        text_backbones=[["clip", 32], ["blip2", 32], ["siglip2", 16]],
        **SIZES,
    )
    torch.manual_seed(0)
    saved_siglip = siglip.from_pretrained(save_tiny_siglip(tmp_path_factory.mktemp("siglip") / "model"))
    backbones = [make_tiny_slowfast(), make_tiny_clip(), make_tiny_blip2(), saved_siglip]
    return save_pipeline(tmp_path_factory.mktemp("model"), VideoLightsForMomentRetrieval(config), backbones)


@pytest.fixture(scope="module")
def moment_detr_folder(tmp_path_factory):
    """A tiny Moment-DETR of CLIP alone."""
    sizes = {name: value for name, value in SIZES.items() if name != "num_fusion_layers"}
    config = MomentDetrConfig(video_backbones=[["clip", 24]], text_backbones=[["clip", 32]], **sizes)
    torch.manual_seed(0)
    model = MomentDetrForMomentRetrieval(config).eval()
    return save_pipeline(tmp_path_factory.mktemp("moment-detr"), model, [make_tiny_clip()])


@pytest.fixture(scope="module")
def exported(model_folder, tmp_path_factory):
    """The tiny model as ONNX graphs."""
    return export_model(model_folder, tmp_path_factory.mktemp("exported") / "onnx")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """32 seconds, two windows of the tiny model."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return str(write_video(path, gray_frames(np.arange(160) * 7 % 240), 5))
