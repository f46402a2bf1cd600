"""Projection of each modality to the model's width."""

import torch
from torch import nn

from .blockwise import norm_drop_project, runs_blockwise
from .configuration import DetectorConfig
from .dropout import Dropout
from .linear import LocalConvolution


class ProjectionLayer(nn.Module):
    """Normalize, drop, project. With FRA the release calls this map a convolution, of kernel size 1."""

    def __init__(self, input_size: int, config: DetectorConfig):
        super().__init__()
        self.norm = nn.LayerNorm(input_size)
        self.dropout = Dropout(config.input_dropout)
        kernel_size = config.convolution_kernel_size
        self.projection: nn.Linear | LocalConvolution = nn.Linear(input_size, config.hidden_size)
        if kernel_size > 1:
            self.projection = LocalConvolution(input_size, config.hidden_size, kernel_size)

    def forward(self, features: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """(B, S, input_size) to (B, S, D); `valid` (B, S) marks tokens that are not padding."""
        if isinstance(self.projection, LocalConvolution):
            return self.projection(self.dropout(self.norm(features)), valid)
        if runs_blockwise(features, self.dropout, self.norm, self.projection):
            return norm_drop_project(features, self.norm, self.dropout, self.projection)
        return self.projection(self.dropout(self.norm(features)))


class Projection(nn.Module):
    """First stage of FRA (paper, section III-B): local features of one modality in the model's width."""

    def __init__(self, input_size: int, config: DetectorConfig):
        super().__init__()
        self.ends_in_relu = config.projection_relu == "all"
        sizes = [input_size] + [config.hidden_size] * (config.num_projection_layers - 1)
        self.layers = nn.ModuleList(ProjectionLayer(size, config) for size in sizes)

    def forward(self, features: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """(B, S, input_size) to (B, S, D); as released, ReLU follows every layer but the last."""
        for layer in self.layers[:-1]:
            features = nn.functional.relu(layer(features, valid))
        features = self.layers[-1](features, valid)
        return nn.functional.relu(features) if self.ends_in_relu else features


__all__ = ["Projection"]
