"""Projection of each modality to the model's width."""

import torch
from torch import nn

from .configuration import DetectorConfig


class ProjectionLayer(nn.Module):
    """Normalize, drop, project. With FRA the release calls this map a convolution, of kernel size 1."""

    def __init__(self, input_size: int, config: DetectorConfig):
        super().__init__()
        self.norm = nn.LayerNorm(input_size)
        self.dropout = nn.Dropout(config.input_dropout)
        self.projection = nn.Linear(input_size, config.hidden_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, S, input_size) to (B, S, D)."""
        return self.projection(self.dropout(self.norm(features)))


class Projection(nn.Module):
    """First stage of FRA (paper, section III-B): local features of one modality in the model's width."""

    def __init__(self, input_size: int, config: DetectorConfig):
        super().__init__()
        sizes = [input_size] + [config.hidden_size] * (config.num_projection_layers - 1)
        self.layers = nn.ModuleList(ProjectionLayer(size, config) for size in sizes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, S, input_size) to (B, S, D); ReLU follows every layer but the last."""
        for layer in self.layers[:-1]:
            features = nn.functional.relu(layer(features))
        return self.layers[-1](features)


__all__ = ["Projection"]
