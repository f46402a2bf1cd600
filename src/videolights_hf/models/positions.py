"""Positions of clips and words."""

import math

import torch
from torch import nn

from .configuration import DetectorConfig
from .dropout import Dropout
from .numerics import full_precision


def sine_embedding(position: torch.Tensor, num_channels: int) -> torch.Tensor:
    """Sine embedding with the frequencies of "Attention Is All You Need", sines and cosines interleaved.

    Args:
        position: (...) angles in radians.
        num_channels: Even number of channels C.

    Returns:
        (..., C) embedding in at least float32: sin, cos, sin, cos, ... of falling frequency.
    """
    position = full_precision(position)
    channel = torch.arange(0, num_channels, 2, device=position.device, dtype=position.dtype)
    angle = position.unsqueeze(-1) / 10000 ** (channel / num_channels)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)


def video_position_embedding(mask: torch.Tensor, hidden_size: int) -> torch.Tensor:
    """Position of each clip in its video: the running count of valid clips, scaled to a full turn.

    Args:
        mask: (B, L), 1 for valid clips.
        hidden_size: D.

    Returns:
        (B, L, D) embedding in at least float32.
    """
    count = full_precision(mask).cumsum(1)
    return sine_embedding(count / (count[:, -1:] + 1e-6) * (2 * math.pi), hidden_size)


class TextPositionEmbedding(nn.Module):
    """Learned positions of the words; the whole normalized sum of word and position is the position term."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.position = nn.Embedding(config.max_text_length, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = Dropout(config.input_dropout)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """(B, N, D) words to (B, N, D) position terms."""
        return self.dropout(self.norm(text + self.position.weight[: text.shape[1]]))


__all__ = ["TextPositionEmbedding", "sine_embedding", "video_position_embedding"]
