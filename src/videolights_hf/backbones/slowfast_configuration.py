"""Configuration of SlowFast (Feichtenhofer et al., 2019, arXiv 1812.03982)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from ..models.configuration import reject_unknown_fields
from ..video.sampling import UNMARKED_SAMPLING

# A bottleneck has this many times fewer channels than its output.
EXPANSION = 4
# A damaged file may ask for sizes too large for any memory.
_MAX_SIZE = 65_536
_MAX_BLOCKS = 1_000


@strict
class VideoLightsSlowFastConfig(PreTrainedConfig):
    r"""Configuration of [`VideoLightsSlowFastModel`]. The defaults are SlowFast 8x8 R50.

    Args:
        num_frames: Frames per clip; the fast path sees all of them.
        image_size: Height and width of the frames.
        alpha: Frames of the fast path per frame of the slow path.
        beta_inverse: Channels of the slow path per channel of the fast path.
        embedding_size: Channels of the slow stem.
        hidden_sizes: Output channels of each stage of the slow path.
        depths: Blocks in each stage.
        slow_temporal_kernel_sizes: Temporal kernel size of the blocks in each stage of the slow path.
        fusion_kernel_size: Temporal kernel size of the convolutions from the fast to the slow path.
        fusion_channel_ratio: Output channels of these convolutions per channel of the fast path.
        norm_eps: Added to the variances.
        image_mean: Mean of the training pixels, scaled to [0, 1].
        image_std: Their standard deviation.
        frame_sampling: Which frames of a clip are looked at: `"30fps"`, as the published features were made, or
            `"even"`, spread evenly over the clip (`video/sampling.py`). Folders that were saved before this field
            existed are loaded as `"even"`.

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
    frame_sampling: Literal["even", "30fps"] = "30fps"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read a saved configuration; one without `frame_sampling` dates from when frames were always spread evenly."""
        return super().from_dict({"frame_sampling": UNMARKED_SAMPLING, **config_dict}, **kwargs)

    def __post_init__(self, **kwargs):
        reject_unknown_fields(self, kwargs)
        super().__post_init__(**kwargs)

    def validate_sizes(self):
        """Check that sizes are positive, and divide as the two paths need."""
        for field in ("num_frames", "image_size", "alpha", "beta_inverse", "fusion_channel_ratio", "image_std"):
            if not 0 < getattr(self, field) <= _MAX_SIZE:
                raise ValueError(f"`{field}` must be positive and at most {_MAX_SIZE}, got {getattr(self, field)}.")
        if not 0 < self.embedding_size <= _MAX_SIZE or self.embedding_size % self.beta_inverse:
            raise ValueError(
                f"`embedding_size` must be a multiple of `beta_inverse` ({self.beta_inverse}) up to {_MAX_SIZE}, "
                f"got {self.embedding_size}."
            )
        if any(size % (EXPANSION * self.beta_inverse) for size in self.hidden_sizes):
            raise ValueError(
                f"`hidden_sizes` must be multiples of {EXPANSION} times `beta_inverse` ({self.beta_inverse}), "
                f"got {self.hidden_sizes}."
            )
        if self.num_frames % self.alpha:
            raise ValueError(f"`num_frames` must be a multiple of `alpha` ({self.alpha}), got {self.num_frames}.")

    def validate_stages(self):
        """Check that each stage has one size of each kind, and that temporal kernels are odd."""
        stages = {field: getattr(self, field) for field in ("hidden_sizes", "depths", "slow_temporal_kernel_sizes")}
        if not self.depths or len({len(sizes) for sizes in stages.values()}) > 1:
            raise ValueError(f"One size per stage is needed, for the same number of stages, got {stages}.")
        for field, sizes in stages.items():
            if not all(isinstance(size, int) and 0 < size <= _MAX_SIZE for size in sizes):
                raise ValueError(f"`{field}` must hold positive integers up to {_MAX_SIZE}, got {sizes}.")
        if sum(self.depths) > _MAX_BLOCKS:
            raise ValueError(f"`depths` must add up to at most {_MAX_BLOCKS} blocks, got {sum(self.depths)}.")
        kernels = (self.fusion_kernel_size, *self.slow_temporal_kernel_sizes)
        if not all(0 < size <= _MAX_SIZE and size % 2 for size in kernels):
            raise ValueError(f"Temporal kernel sizes must be odd and at most {_MAX_SIZE}, got {kernels}.")

    @property
    def feature_size(self) -> int:
        """Width of a clip's features: the last channels of both paths."""
        return self.hidden_sizes[-1] + self.hidden_sizes[-1] // self.beta_inverse


__all__ = ["VideoLightsSlowFastConfig"]
