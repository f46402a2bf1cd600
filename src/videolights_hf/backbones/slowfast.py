"""SlowFast as a backbone: the motion in a clip."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from ..common.batches import iterate_batches
from ..common.loading import load_complete_model
from ..video.sampling import Sampling
from .base import ModelBackbone
from .slowfast_configuration import VideoLightsSlowFastConfig
from .slowfast_network import VideoLightsSlowFastModel
from .slowfast_weights import PUBLIC_WEIGHTS, fetch_public_weights, find_public_weights, load_slowfast_weights


class SlowFastBackbone(ModelBackbone[VideoLightsSlowFastModel]):
    """SlowFast: the globally pooled slow and fast paths of a clip, side by side. It has no text encoder.

    A checkpoint is a folder, a Hub id, or a public weight file (`SLOWFAST_8x8_R50.pkl` or `.pyth`). By default it is
    the weight file of SlowFast's own model zoo (277 MB), downloaded to the cache and converted at first use.

    Args:
        model: The SlowFast model. It is put into evaluation mode.
        batch_size: Clips per forward pass.
    """

    name = "slowfast"
    text_dim = None
    default_checkpoint = PUBLIC_WEIGHTS.url

    def __init__(self, model: VideoLightsSlowFastModel, batch_size: int = 8):
        super().__init__(model, batch_size)
        self.frame_size = model.config.image_size
        self.frames_per_clip = model.config.num_frames
        self.video_dim = model.config.feature_size
        self.sampling = model.config.frame_sampling

    @torch.inference_mode()
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """See [`FeatureBackbone.encode_frames`].

        Raises:
            ValueError: The frames do not make whole clips.
        """
        if len(frames) == 0 or len(frames) % self.frames_per_clip:
            raise ValueError(f"{len(frames)} frames do not make whole clips of {self.frames_per_clip} frames.")
        config = self.model.config
        features = []
        for batch in iterate_batches(frames.reshape(-1, self.frames_per_clip, *frames.shape[1:]), self.batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(self.model.device).permute(0, 1, 4, 2, 3)
            # In single precision whatever the model computes in: pixels have no more than eight bits to lose.
            pixels = (pixels.float() / 255 - config.image_mean) / config.image_std
            features.append(self.model(pixels.to(self.model.dtype)).pooler_output.float().cpu().numpy())
        return np.concatenate(features)

    @classmethod
    def find(cls, name_or_path: str, **hub_kwargs: Any) -> None:
        """See [`FeatureBackbone.find`]."""
        if name_or_path == cls.default_checkpoint:
            find_public_weights(**hub_kwargs)
        elif "://" in name_or_path:
            raise ValueError(
                f"SlowFast weights are downloaded from {cls.default_checkpoint} alone, not from {name_or_path}: "
                "download the file yourself, and name it."
            )
        elif not os.path.isfile(name_or_path):
            super().find(name_or_path, **hub_kwargs)

    @classmethod
    def sampling_of(cls, name_or_path: str, **hub_kwargs: Any) -> Sampling | None:
        """See [`FeatureBackbone.sampling_of`]."""
        if name_or_path == cls.default_checkpoint or os.path.isfile(name_or_path):
            return VideoLightsSlowFastConfig().frame_sampling
        try:
            config = VideoLightsSlowFastConfig.from_pretrained(
                name_or_path, **{**hub_kwargs, "local_files_only": True}
            )
        # What is wrong with it is told where it is loaded.
        except Exception:
            return None
        return config.frame_sampling

    @classmethod
    def _load(cls, name: str, dtype: torch.dtype, **hub_kwargs: Any) -> SlowFastBackbone:
        cls.find(name, **hub_kwargs)
        if name == cls.default_checkpoint:
            name, hub_kwargs = os.fspath(fetch_public_weights(**hub_kwargs)), {}
        if os.path.isfile(name):
            return cls(load_slowfast_weights(name)[0])
        return cls(load_complete_model(VideoLightsSlowFastModel, name, dtype, **hub_kwargs))


__all__ = ["SlowFastBackbone"]
