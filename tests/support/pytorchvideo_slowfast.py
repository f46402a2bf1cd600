"""Pytorchvideo's SlowFast, an independent implementation, and what it computed once.

Only development needs the package: `python -m tests.support.pytorchvideo_slowfast` records the fixture that tests compare
with where it is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.support.tiny_backbones import tiny_slowfast_config
from videolights_hf.backbones.slowfast_configuration import VideoLightsSlowFastConfig

FIXTURE = Path(__file__).parents[1] / "fixtures" / "slowfast_pytorchvideo.json"


def import_create_slowfast() -> Callable[..., nn.Module]:
    """Pytorchvideo's builder of SlowFast.

    It imports torchvision for layers of detectors, which SlowFast does not use: a stub stands in for the import.

    Raises:
        ImportError: Pytorchvideo is not installed.
    """
    stubs = {}
    if importlib.util.find_spec("torchvision") is None:
        stubs = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.ops")}
        stubs["torchvision"].ops = stubs["torchvision.ops"]
        stubs["torchvision.ops"].RoIAlign = nn.Identity
    sys.modules.update(stubs)
    try:
        from pytorchvideo.models.slowfast import create_slowfast
    finally:
        # Transformers would take what is left for the library.
        for name in stubs:
            del sys.modules[name]
    return create_slowfast


def build_reference(config: VideoLightsSlowFastConfig, depth: int, with_head: bool = False) -> nn.Module:
    """Pytorchvideo's SlowFast of a configuration whose depths are those of a ResNet of this depth."""
    stem = (config.embedding_size, config.embedding_size // config.beta_inverse)
    side = config.image_size // 32
    head = {} if with_head else {"head": None}
    return import_create_slowfast()(
        model_depth=depth,
        slowfast_channel_reduction_ratio=(config.beta_inverse,),
        slowfast_conv_channel_fusion_ratio=config.fusion_channel_ratio,
        slowfast_fusion_conv_kernel_size=(config.fusion_kernel_size, 1, 1),
        slowfast_fusion_conv_stride=(config.alpha, 1, 1),
        stem_dim_outs=stem,
        head_pool_kernel_sizes=((config.num_frames // config.alpha, side, side), (config.num_frames, side, side)),
        **head,
    ).eval()


def fixture_config() -> VideoLightsSlowFastConfig:
    # Pytorchvideo doubles the width from stage to stage, and knows depths by the name of a ResNet.
    return tiny_slowfast_config(embedding_size=8, hidden_sizes=[32, 64, 128, 256], depths=[1, 1, 1, 1], image_size=64)


def weights_by_name(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Weights that depend on nothing but the tensors' names and shapes."""
    weights = {}
    for name, shape in shapes.items():
        uniform = np.random.default_rng(zlib.crc32(name.encode())).random(shape, dtype=np.float32)
        if len(shape) > 1:
            weights[name] = (uniform - 0.5) * np.float32(np.sqrt(24 / np.prod(shape[1:])))
        else:
            weights[name] = uniform + 0.5 if name.endswith((".weight", "_var")) else uniform - 0.5
    return weights


def fixture_pixels(config: VideoLightsSlowFastConfig) -> torch.Tensor:
    """Two clips of normalized pixels (2, T, 3, H, W)."""
    shape = (2, config.num_frames, 3, config.image_size, config.image_size)
    return torch.from_numpy(np.random.default_rng(0).random(shape, dtype=np.float32) * 4 - 2)


def run_reference(model: nn.Module, pixels: torch.Tensor, alpha: int) -> torch.Tensor:
    """Pooled features (B, feature_size) of clips (B, T, 3, H, W)."""
    fast = pixels.transpose(1, 2)
    num_frames = fast.shape[2]
    slow = fast[:, :, torch.linspace(0, num_frames - 1, num_frames // alpha).long()]
    with torch.inference_mode():
        return model([slow, fast]).flatten(1)


def record_fixture() -> None:
    config = fixture_config()
    model = build_reference(config, depth=18)
    shapes = {
        name: list(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    weights = {name: torch.from_numpy(value) for name, value in weights_by_name(shapes).items()}
    model.load_state_dict(weights, strict=False)
    features = run_reference(model, fixture_pixels(config), config.alpha)
    FIXTURE.write_text(json.dumps({"shapes": shapes, "features": features.tolist()}))


if __name__ == "__main__":
    record_fixture()
