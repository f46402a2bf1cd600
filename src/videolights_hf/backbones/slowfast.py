"""SlowFast as a backbone: the motion of a clip."""

from __future__ import annotations

import os

import numpy as np
import torch

from ..common.batches import iterate_batches
from .base import FeatureBackbone, load_complete_model
from .slowfast_network import VideoLightsSlowFastModel


class SlowFastBackbone(FeatureBackbone):
    """SlowFast: the globally pooled slow and fast paths of a clip, side by side. It has no text encoder.

    Args:
        model: The SlowFast model. It is put into evaluation mode.
        batch_size: Clips that pass through the model at once.
    """

    name = "slowfast"
    text_dim = None
    checkpoint_hint = "`videolights convert-slowfast` makes one of the public weights, SLOWFAST_8x8_R50.pkl or .pyth."

    def __init__(self, model: VideoLightsSlowFastModel, batch_size: int = 8):
        self.model = model.eval()
        self.batch_size = batch_size
        self.frame_size = model.config.image_size
        self.frames_per_clip = model.config.num_frames
        self.video_dim = model.config.feature_size

    @torch.inference_mode()
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """Features of clips, (num_clips * frames_per_clip, H, W, 3) uint8 to (num_clips, video_dim) float32.

        Raises:
            ValueError: The frames do not make whole clips.
        """
        if len(frames) == 0 or len(frames) % self.frames_per_clip:
            raise ValueError(f"{len(frames)} frames are no whole clips of {self.frames_per_clip} frames.")
        config = self.model.config
        features = []
        for batch in iterate_batches(frames.reshape(-1, self.frames_per_clip, *frames.shape[1:]), self.batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(self.model.device).permute(0, 1, 4, 2, 3)
            # In single precision whatever the model computes in: pixels have no more than eight bits to lose.
            pixels = (pixels.float() / 255 - config.image_mean) / config.image_std
            features.append(self.model(pixels.to(self.model.dtype)).pooler_output.float().cpu().numpy())
        return np.concatenate(features)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> SlowFastBackbone:
        """Move the model to a device, or convert it to a floating-point type, and return the backbone."""
        self.model.to(device=device, dtype=dtype)
        return self

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write the model into a folder."""
        self.model.save_pretrained(save_directory)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **hub_kwargs,
    ) -> SlowFastBackbone:
        """Load a SlowFast that was saved or converted: see [`FeatureBackbone.from_pretrained`]."""
        model = load_complete_model(VideoLightsSlowFastModel, pretrained_model_name_or_path, dtype, **hub_kwargs)
        return cls(model).to(device)


__all__ = ["SlowFastBackbone"]
