"""Configuration of the zero-shot detector: what it reads, and the rule that makes moments of a curve."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from ...hub.code import CUSTOM_PIPELINES
from ..configuration import reject_unknown_fields

# Inside the installed package the pipeline is registered; a copy that travels with a checkpoint is another module.
_IN_PACKAGE = __name__.startswith("videolights_hf.")


@strict
class ZeroShotConfig(PreTrainedConfig):
    r"""Configuration of [`ZeroShotForMomentRetrieval`].

    Args:
        video_backbones: Name and width of the backbone whose clip features compare with sentences.
        text_backbones: The same for sentences.
        audio_dim: 0; the detector uses no audio.
        clip_length: Seconds per clip.
        max_video_length: Clips that are looked at at once. The rule compares all clips of a video, so this is
            more than a day.
        max_text_length: 1, the embedding of the whole sentence.
        highlight_only: Predict saliency alone.
        num_queries: Predict at most this many moments.
        similarity_scale: What the backbone multiplies cosines by to get logits.
        smoothing: Clips over which the curve is averaged before moments are cut out of it; odd.
        relative_threshold: A clip belongs to a moment if the smoothed curve lies above this fraction of the
            way from its median to its maximum.
        max_gap: Moments that lie at most this many clips apart are one.

    Raises:
        ValueError: A value is out of range.
    """

    model_type = "zero_shot"

    video_backbones: list | tuple = (("similarity", 512),)
    text_backbones: list | tuple = (("similarity", 512),)
    audio_dim: int = 0
    clip_length: float | int = 2.0
    max_video_length: int = 100_000
    max_text_length: int = 1
    highlight_only: bool = False

    num_queries: int = 50
    similarity_scale: float | int = 100.0
    smoothing: int = 3
    relative_threshold: float | int = 0.5
    max_gap: int = 1

    def __post_init__(self, **kwargs: Any) -> None:
        reject_unknown_fields(self, kwargs)
        self.video_backbones = [list(pair) for pair in self.video_backbones]
        self.text_backbones = [list(pair) for pair in self.text_backbones]
        if _IN_PACKAGE:
            # The registered pipeline serves here; leaving the entry would ask the caller to trust remote code.
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)

    def validate_rule(self) -> None:
        """Check that one backbone embeds clips and sentences, and that the rule's numbers are in range."""
        widths = [width for _, width in [*self.video_backbones, *self.text_backbones]]
        if len(widths) != 2 or widths[0] != widths[1]:
            raise ValueError(
                "The zero-shot detector compares clips and sentences of one backbone, got "
                f"{self.video_backbones} and {self.text_backbones}."
            )
        if self.smoothing < 1 or self.smoothing % 2 == 0:
            raise ValueError(f"`smoothing` must be an odd number of clips, got {self.smoothing}.")
        if not 0 < self.relative_threshold < 1:
            raise ValueError(f"`relative_threshold` must be in (0, 1), got {self.relative_threshold}.")
        if self.max_gap < 0 or self.num_queries < 1 or not self.similarity_scale > 0:
            raise ValueError("`max_gap` must not be negative, `num_queries` and `similarity_scale` must be positive.")

    @property
    def video_dim(self) -> int:
        """Channels of `video_features`: the embedding and the two temporal channels."""
        return sum(width for _, width in self.video_backbones) + 2

    @property
    def text_dim(self) -> int:
        """Channels of `text_features`."""
        return sum(width for _, width in self.text_backbones)

    def to_dict(self) -> dict[str, Any]:
        """Serialize to a dictionary, naming the pipeline beside the code that travels with a checkpoint."""
        output = super().to_dict()
        if output.get("auto_map"):
            output["custom_pipelines"] = CUSTOM_PIPELINES
        return output


__all__ = ["ZeroShotConfig"]
