"""SlowFast (Feichtenhofer et al., 2019, arXiv 1812.03982) as a feature extractor.

A slow path looks at few frames with many channels, a fast path at `alpha` times as many frames with
`1 / beta_inverse` of the channels; after the stem and after every stage but the last, the fast path's channels join
the slow path's. The features of a clip are the two paths' global means side by side. The classifier of the public
weights is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .slowfast_configuration import EXPANSION, VideoLightsSlowFastConfig

# Temporal sizes of the fast path's convolutions (Table 1 of the SlowFast paper); the slow stem looks at single frames.
_FAST_STEM_KERNEL = 5
_FAST_STAGE_KERNEL = 3


@dataclass
class SlowFastOutput(ModelOutput):
    """Output of [`VideoLightsSlowFastModel`]. B clips, T frames, H and W a 32nd of the frames' height and width.

    Args:
        pooler_output: (B, feature_size), global means of the slow and the fast path.
        slow_hidden_state: (B, C, T / alpha, H, W), the slow path's last state.
        fast_hidden_state: (B, C / beta_inverse, T, H, W), the fast path's last state.
    """

    pooler_output: torch.Tensor | None = None
    slow_hidden_state: torch.Tensor | None = None
    fast_hidden_state: torch.Tensor | None = None


class FrozenBatchNorm(nn.Module):
    """Batch normalization by the statistics that the weights came with, in training too.

    Args:
        num_channels: Channels.
        eps: Added to the variances.
    """

    def __init__(self, num_channels: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight: torch.Tensor
        self.bias: torch.Tensor
        self.running_mean: torch.Tensor
        self.running_var: torch.Tensor
        self.register_buffer("weight", torch.ones(num_channels))
        self.register_buffer("bias", torch.zeros(num_channels))
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_var", torch.ones(num_channels))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalize the channels of (B, C, T, H, W)."""
        return F.batch_norm(hidden, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class ConvNorm(nn.Module):
    """A convolution with normalization that keeps the size, up to the stride.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Frames, rows and columns that it looks at, all odd.
        stride: Steps in frames, rows and columns.
        eps: Added to the variances of the normalization.
        activation: Whether a ReLU follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
        *,
        eps: float,
        activation: bool = True,
    ):
        super().__init__()
        frames, rows, columns = kernel_size
        padding = (frames // 2, rows // 2, columns // 2)
        self.convolution = nn.Conv3d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.normalization = FrozenBatchNorm(out_channels, eps)
        self.activation = nn.ReLU(inplace=True) if activation else nn.Identity()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, T, H, W) to (B, out_channels, T', H', W')."""
        return self.activation(self.normalization(self.convolution(hidden)))


class Bottleneck(nn.Module):
    """A bottleneck over time, then over space, beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, temporal_kernel: int, spatial_stride: int, eps: float):
        super().__init__()
        inner = out_channels // EXPANSION
        stride = (1, spatial_stride, spatial_stride)
        self.reduce = ConvNorm(in_channels, inner, (temporal_kernel, 1, 1), eps=eps)
        self.spatial = ConvNorm(inner, inner, (1, 3, 3), stride, eps=eps)
        self.expand = ConvNorm(inner, out_channels, (1, 1, 1), eps=eps, activation=False)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels or spatial_stride > 1:
            self.shortcut = ConvNorm(in_channels, out_channels, (1, 1, 1), stride, eps=eps, activation=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, T, H, W) to (B, out_channels, T, H', W')."""
        return F.relu(self.shortcut(hidden) + self.expand(self.spatial(self.reduce(hidden))))


class Stem(nn.Module):
    """The first convolution and pooling of one path; each halves height and width."""

    def __init__(self, channels: int, temporal_kernel: int, eps: float):
        super().__init__()
        self.embedder = ConvNorm(3, channels, (temporal_kernel, 7, 7), (1, 2, 2), eps=eps)
        self.pooler = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) to (B, channels, T, H / 4, W / 4)."""
        return self.pooler(self.embedder(pixels))


class VideoLightsSlowFastModel(PreTrainedModel):
    """SlowFast without its classifier: a clip's frames to the global means of both paths.

    Args:
        config: The configuration.
    """

    config_class = VideoLightsSlowFastConfig
    config: VideoLightsSlowFastConfig
    base_model_prefix = "slowfast"
    main_input_name = "pixel_values"
    _no_split_modules = ["Bottleneck"]

    def __init__(self, config: VideoLightsSlowFastConfig):
        super().__init__(config)
        eps, ratio = config.norm_eps, config.beta_inverse
        self.slow_stem = Stem(config.embedding_size, 1, eps)
        self.fast_stem = Stem(config.embedding_size // ratio, _FAST_STEM_KERNEL, eps)
        self.fusions = nn.ModuleList()
        self.slow_stages = nn.ModuleList()
        self.fast_stages = nn.ModuleList()
        in_channels = config.embedding_size
        stages = zip(config.hidden_sizes, config.depths, config.slow_temporal_kernel_sizes, strict=True)
        for index, (out_channels, depth, slow_kernel) in enumerate(stages):
            stride = 1 if index == 0 else 2
            fast_channels = in_channels // ratio
            fused_channels = fast_channels * config.fusion_channel_ratio
            self.fusions.append(
                ConvNorm(
                    fast_channels, fused_channels, (config.fusion_kernel_size, 1, 1), (config.alpha, 1, 1), eps=eps
                )
            )
            self.slow_stages.append(
                _make_stage(in_channels + fused_channels, out_channels, depth, slow_kernel, stride, eps)
            )
            self.fast_stages.append(
                _make_stage(fast_channels, out_channels // ratio, depth, _FAST_STAGE_KERNEL, stride, eps)
            )
            in_channels = out_channels
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, nn.Conv3d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, FrozenBatchNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)

    def forward(
        self, pixel_values: torch.Tensor, return_dict: bool | None = None
    ) -> SlowFastOutput | tuple[torch.Tensor, ...]:
        """Features of clips.

        The slow path sees `T / alpha` frames, spread evenly from the first to the last.

        Args:
            pixel_values: Frames (B, T, 3, H, W), scaled to [0, 1] and normalized by the configuration's mean and
                standard deviation. T is `config.num_frames` in training; any multiple of `config.alpha` works.
            return_dict: Return a [`SlowFastOutput`], as by default, or a tuple.

        Raises:
            ValueError: The frames have another shape.
        """
        if pixel_values.ndim != 5 or pixel_values.shape[2] != 3 or pixel_values.shape[1] % self.config.alpha:
            raise ValueError(
                f"`pixel_values` has the shape {tuple(pixel_values.shape)}, expected (batch, frames, 3, height, "
                f"width) with a multiple of {self.config.alpha} frames."
            )
        pixels = pixel_values.transpose(1, 2)
        num_frames = pixels.shape[2]
        slow_indices = torch.linspace(0, num_frames - 1, num_frames // self.config.alpha).long()
        slow = self.slow_stem(pixels[:, :, slow_indices.to(pixels.device)])
        fast = self.fast_stem(pixels)
        for fusion, slow_stage, fast_stage in zip(self.fusions, self.slow_stages, self.fast_stages, strict=True):
            slow = slow_stage(torch.cat([slow, fusion(fast)], dim=1))
            fast = fast_stage(fast)
        pooled = torch.cat([slow.mean(dim=(2, 3, 4)), fast.mean(dim=(2, 3, 4))], dim=1)
        output = SlowFastOutput(pooler_output=pooled, slow_hidden_state=slow, fast_hidden_state=fast)
        return output if return_dict in (None, True) else output.to_tuple()


def _make_stage(
    in_channels: int, out_channels: int, depth: int, temporal_kernel: int, spatial_stride: int, eps: float
) -> nn.Sequential:
    first = Bottleneck(in_channels, out_channels, temporal_kernel, spatial_stride, eps)
    others = (Bottleneck(out_channels, out_channels, temporal_kernel, 1, eps) for _ in range(depth - 1))
    return nn.Sequential(first, *others)


__all__ = ["SlowFastOutput", "VideoLightsSlowFastModel"]
