"""SlowFast (Feichtenhofer et al., 2019, arXiv 1812.03982) as a feature extractor.

A slow path looks at few frames with many channels, a fast path at `alpha` times as many frames with
`1 / beta_inverse` of the channels; after the stem and after every stage but the last, the fast path's channels join
the slow path's. The features of a clip are the two paths' global means side by side. The classifier that the public
weights come with is not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ..models.videolights.configuration import reject_unknown_fields

# Temporal sizes of the fast path's convolutions (Table 1 of the SlowFast paper); the slow stem looks at single frames.
_FAST_STEM_KERNEL = 5
_FAST_STAGE_KERNEL = 3

# A bottleneck is this much narrower than what it puts out.
_EXPANSION = 4


@strict
class VideoLightsSlowFastConfig(PreTrainedConfig):
    r"""Configuration of [`VideoLightsSlowFastModel`]. The defaults are SlowFast 8x8 R50.

    Args:
        num_frames (`int`): frames of a clip, all of which the fast path sees.
        image_size (`int`): height and width of the frames.
        alpha (`int`): frames of the fast path for each one of the slow path.
        beta_inverse (`int`): channels of the slow path for each one of the fast path.
        embedding_size (`int`): channels of the slow stem.
        hidden_sizes (`list[int]`): channels that each stage of the slow path puts out.
        depths (`list[int]`): blocks in each stage.
        slow_temporal_kernel_sizes (`list[int]`): frames that the blocks of each slow stage look at.
        fusion_kernel_size (`int`): frames that the convolutions from the fast to the slow path look at.
        fusion_channel_ratio (`int`): channels that they put out for each one of the fast path.
        norm_eps (`float`): added to the variances.
        image_mean (`float`): mean of the pixels, scaled to [0, 1], that the model was trained with.
        image_std (`float`): their standard deviation.

    Example:

    ```python
    >>> from videolights_hf import VideoLightsSlowFastConfig, VideoLightsSlowFastModel

    >>> model = VideoLightsSlowFastModel(VideoLightsSlowFastConfig())
    >>> model.config.feature_size
    2304
    ```
    """

    model_type = "videolights_slowfast"

    num_frames: int = 32
    image_size: int = 224
    alpha: int = 4
    beta_inverse: int = 8
    embedding_size: int = 64
    hidden_sizes: list | tuple = (256, 512, 1024, 2048)
    depths: list | tuple = (3, 4, 6, 3)
    slow_temporal_kernel_sizes: list | tuple = (1, 1, 3, 3)
    fusion_kernel_size: int = 7
    fusion_channel_ratio: int = 2
    norm_eps: float = 1e-5
    image_mean: float | int = 0.45
    image_std: float | int = 0.225

    def __post_init__(self, **kwargs):
        reject_unknown_fields(self, kwargs)
        super().__post_init__(**kwargs)

    def validate_sizes(self):
        """Sizes are positive, there is one of each kind a stage, and they divide as the two paths need it."""
        for field in ("num_frames", "image_size", "alpha", "beta_inverse", "fusion_channel_ratio", "image_std"):
            if not getattr(self, field) > 0:
                raise ValueError(f"`{field}` must be positive, got {getattr(self, field)}.")
        stages = {field: getattr(self, field) for field in ("hidden_sizes", "depths", "slow_temporal_kernel_sizes")}
        if not self.depths or len({len(sizes) for sizes in stages.values()}) > 1:
            raise ValueError(f"One size a stage is needed, for the same number of stages, got {stages}.")
        for field, sizes in stages.items():
            if not all(isinstance(size, int) and size > 0 for size in sizes):
                raise ValueError(f"`{field}` must hold positive integers, got {sizes}.")
        kernels = (self.fusion_kernel_size, *self.slow_temporal_kernel_sizes)
        if not all(size > 0 and size % 2 for size in kernels):
            raise ValueError(f"Temporal kernel sizes must be odd, got {kernels}.")
        if self.embedding_size <= 0 or self.embedding_size % self.beta_inverse:
            raise ValueError(
                f"`embedding_size` must be a multiple of `beta_inverse` ({self.beta_inverse}), "
                f"got {self.embedding_size}."
            )
        if any(size % (_EXPANSION * self.beta_inverse) for size in self.hidden_sizes):
            raise ValueError(
                f"`hidden_sizes` must be multiples of {_EXPANSION} times `beta_inverse` ({self.beta_inverse}), "
                f"got {self.hidden_sizes}."
            )
        if self.num_frames % self.alpha:
            raise ValueError(f"`num_frames` must be a multiple of `alpha` ({self.alpha}), got {self.num_frames}.")

    @property
    def feature_size(self) -> int:
        """Width of a clip's features: the last channels of both paths."""
        return self.hidden_sizes[-1] + self.hidden_sizes[-1] // self.beta_inverse


@dataclass
class VideoLightsSlowFastOutput(ModelOutput):
    """Output of [`VideoLightsSlowFastModel`]. B clips, T frames, H and W a 32nd of the frames' height and width.

    Args:
        pooler_output (`torch.FloatTensor` of shape `(B, feature_size)`): global means of the slow and the fast path.
        slow_hidden_state (`torch.FloatTensor` of shape `(B, C, T / alpha, H, W)`): the slow path's last state.
        fast_hidden_state (`torch.FloatTensor` of shape `(B, C / beta_inverse, T, H, W)`): the fast path's last state.
    """

    pooler_output: torch.FloatTensor | None = None
    slow_hidden_state: torch.FloatTensor | None = None
    fast_hidden_state: torch.FloatTensor | None = None


class VideoLightsSlowFastBatchNorm(nn.Module):
    """Batch normalisation by the statistics that the weights came with, in training too.

    Args:
        num_channels: Channels.
        eps: Added to the variances.
    """

    def __init__(self, num_channels: int, eps: float):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_channels))
        self.register_buffer("bias", torch.zeros(num_channels))
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_var", torch.ones(num_channels))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalise the channels of (B, C, T, H, W)."""
        return F.batch_norm(hidden, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class VideoLightsSlowFastConvNorm(nn.Module):
    """A convolution with normalisation that keeps the size, up to the stride.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Frames, rows and columns that it looks at, all odd.
        stride: Steps in frames, rows and columns.
        eps: Added to the variances of the normalisation.
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
        padding = tuple(size // 2 for size in kernel_size)
        self.convolution = nn.Conv3d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.normalization = VideoLightsSlowFastBatchNorm(out_channels, eps)
        self.activation = nn.ReLU(inplace=True) if activation else nn.Identity()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, T, H, W) to (B, out_channels, T', H', W')."""
        return self.activation(self.normalization(self.convolution(hidden)))


class VideoLightsSlowFastBlock(nn.Module):
    """A bottleneck over time, then over space, beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, temporal_kernel: int, spatial_stride: int, eps: float):
        super().__init__()
        inner = out_channels // _EXPANSION
        stride = (1, spatial_stride, spatial_stride)
        self.reduce = VideoLightsSlowFastConvNorm(in_channels, inner, (temporal_kernel, 1, 1), eps=eps)
        self.spatial = VideoLightsSlowFastConvNorm(inner, inner, (1, 3, 3), stride, eps=eps)
        self.expand = VideoLightsSlowFastConvNorm(inner, out_channels, (1, 1, 1), eps=eps, activation=False)
        if in_channels == out_channels and spatial_stride == 1:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = VideoLightsSlowFastConvNorm(
                in_channels, out_channels, (1, 1, 1), stride, eps=eps, activation=False
            )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, T, H, W) to (B, out_channels, T, H', W')."""
        return F.relu(self.shortcut(hidden) + self.expand(self.spatial(self.reduce(hidden))))


class VideoLightsSlowFastStem(nn.Module):
    """The first convolution and pooling of one path; each halves height and width."""

    def __init__(self, channels: int, temporal_kernel: int, eps: float):
        super().__init__()
        self.embedder = VideoLightsSlowFastConvNorm(3, channels, (temporal_kernel, 7, 7), (1, 2, 2), eps=eps)
        self.pooler = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) to (B, channels, T, H / 4, W / 4)."""
        return self.pooler(self.embedder(pixels))


class VideoLightsSlowFastModel(PreTrainedModel):
    """SlowFast without its classifier: a clip's frames to the global means of both paths.

    Args:
        config (`VideoLightsSlowFastConfig`): the configuration; by default that of SlowFast 8x8 R50.
    """

    config_class = VideoLightsSlowFastConfig
    config: VideoLightsSlowFastConfig
    base_model_prefix = "slowfast"
    main_input_name = "pixel_values"
    _no_split_modules = ["VideoLightsSlowFastBlock"]

    def __init__(self, config: VideoLightsSlowFastConfig):
        super().__init__(config)
        eps, ratio = config.norm_eps, config.beta_inverse
        self.slow_stem = VideoLightsSlowFastStem(config.embedding_size, 1, eps)
        self.fast_stem = VideoLightsSlowFastStem(config.embedding_size // ratio, _FAST_STEM_KERNEL, eps)
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
                VideoLightsSlowFastConvNorm(
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
        elif isinstance(module, VideoLightsSlowFastBatchNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)

    def forward(
        self, pixel_values: torch.Tensor, return_dict: bool | None = None
    ) -> VideoLightsSlowFastOutput | tuple[torch.Tensor, ...]:
        """Features of clips.

        The slow path sees `T / alpha` frames, spread evenly from the first to the last.

        Args:
            pixel_values (`torch.FloatTensor` of shape `(B, T, 3, H, W)`): frames, scaled to [0, 1] and normalised by
                the configuration's mean and standard deviation. T is `config.num_frames` in training; any multiple of
                `config.alpha` works.
            return_dict (`bool`, *optional*): whether to return a [`VideoLightsSlowFastOutput`] and not a tuple.

        Raises:
            ValueError: for another shape.
        """
        if pixel_values.ndim != 5 or pixel_values.shape[2] != 3 or pixel_values.shape[1] % self.config.alpha:
            raise ValueError(
                f"`pixel_values` has the shape {tuple(pixel_values.shape)}: clips are (batch, frames, 3, height, "
                f"width), with a multiple of {self.config.alpha} frames."
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
        output = VideoLightsSlowFastOutput(pooler_output=pooled, slow_hidden_state=slow, fast_hidden_state=fast)
        return output if return_dict in (None, True) else output.to_tuple()


def _make_stage(
    in_channels: int, out_channels: int, depth: int, temporal_kernel: int, spatial_stride: int, eps: float
) -> nn.Sequential:
    first = VideoLightsSlowFastBlock(in_channels, out_channels, temporal_kernel, spatial_stride, eps)
    others = (VideoLightsSlowFastBlock(out_channels, out_channels, temporal_kernel, 1, eps) for _ in range(depth - 1))
    return nn.Sequential(first, *others)


__all__ = ["VideoLightsSlowFastConfig", "VideoLightsSlowFastModel", "VideoLightsSlowFastOutput"]
