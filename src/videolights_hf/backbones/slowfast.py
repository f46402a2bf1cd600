"""SlowFast as a backbone: the motion in a clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..common.batches import iterate_batches
from ..common.loading import load_complete_model
from .base import ModelBackbone
from .slowfast_network import VideoLightsSlowFastModel


class SlowFastBackbone(ModelBackbone[VideoLightsSlowFastModel]):
    """SlowFast: the globally pooled slow and fast paths of a clip, side by side. It has no text encoder.

    Args:
        model: The SlowFast model. It is put into evaluation mode.
        batch_size: Clips per forward pass.
    """

    name = "slowfast"
    text_dim = None
    checkpoint_hint = "`videolights convert-slowfast` makes one of the public weights, SLOWFAST_8x8_R50.pkl or .pyth."

    def __init__(self, model: VideoLightsSlowFastModel, batch_size: int = 8):
        super().__init__(model, batch_size)
        self.frame_size = model.config.image_size
        self.frames_per_clip = model.config.num_frames
        self.video_dim = model.config.feature_size

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
    def _load(cls, name: str, dtype: torch.dtype, **hub_kwargs: Any) -> SlowFastBackbone:
        return cls(load_complete_model(VideoLightsSlowFastModel, name, dtype, **hub_kwargs))


__all__ = ["SlowFastBackbone"]
