"""The features of one video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video as the backbones gave them, not normalized.

    Attributes:
        features: For each backbone an array (L, D), one row per clip.
        duration: Length of the video in seconds.
        clip_length: Seconds per clip. The processor's clip length, or half the duration of a video so short that it
            was cut into two clips.
    """

    features: dict[str, np.ndarray]
    duration: float
    clip_length: float

    @property
    def num_clips(self) -> int:
        """Clips that all backbones have features for."""
        return min(len(array) for array in self.features.values())


__all__ = ["VideoFeatures"]
