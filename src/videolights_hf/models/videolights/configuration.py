"""VideoLights configuration and the presets of the published variants."""

from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict

from ..configuration import DetectorConfig


@strict
class VideoLightsConfig(DetectorConfig):
    r"""Configuration of [`VideoLightsModel`] and [`VideoLightsForMomentRetrieval`].

    The defaults are VideoLights-B on QVHighlights. Coefficients, costs and switches carry the defaults of the
    released model; `from_preset` gives the published variants: `"videolights-b"`, `"videolights"` (without BLIP-2) and
    `"videolights-i3d"` (TVSum's fifth variant), on `"qvhighlights"`, `"charades_sta"`, `"tacos"`, `"tvsum"` or
    `"youtube_highlights"`.

    Fields that are not listed here are those of [`DetectorConfig`].

    Args:
        num_fusion_layers (`int`): cross-modal fusion layers (Bi-CMF layers; paper, Fig. 7).
        cross_modal_fusion (`"bi"`, `"uni"` or `"none"`): Bi-CMF (paper, section III-C), one-way text-to-video
            attention, or none; with none the encoder attends over video and words together.
        use_moment_to_highlight (`bool`): the task-coupled branch of Uni-JFM, used in training only (paper, eq. 12).
        hard_pos_neg_loss_coef (`float`): weight of the adaptive hard losses; it grows with the epoch (paper, eq. 9, 10).
        hard_negative_loss (`"squared"` or `"absolute"`): penalty on hard negatives, as released or as in paper eq. 9.
        cosine_similarity_loss_coef (`float`): weight of the saliency cosine loss (paper, eq. 11).
        moment_to_highlight_loss_coef (`float`): weight of the task-coupled loss (paper, eq. 12).

    Example:

    ```python
    >>> from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval

    >>> config = VideoLightsConfig.from_preset("videolights-b", "qvhighlights")
    >>> model = VideoLightsForMomentRetrieval(config)
    >>> model.num_parameters()
    10796263
    ```
    """

    model_type = "videolights"
    # Frozen features of each variant, in channel order (paper, section IV-A).
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "videolights-b": {
            "video_backbones": [["slowfast", 2304], ["clip", 512], ["blip2", 768]],
            "text_backbones": [["clip", 512], ["blip2", 768]],
        },
        "videolights": {
            "video_backbones": [["slowfast", 2304], ["clip", 512]],
            "text_backbones": [["clip", 512]],
        },
        "videolights-i3d": {
            "video_backbones": [["i3d", 2048]],
            "text_backbones": [["clip", 512]],
            "contrastive_align_loss_coef": 0.2,
        },
    }
    datasets: ClassVar[dict[str, dict[str, Any]]] = {
        "qvhighlights": {},
        "charades_sta": {"clip_length": 1.0, "contrastive_align_loss_coef": 0.3},
        "tacos": {"max_video_length": 1000},
        "tvsum": {
            "max_video_length": 1000,
            "highlight_only": True,
            "contrastive_align_loss_coef": 0.8,
            "hard_pos_neg_loss_coef": 1.0,
        },
        "youtube_highlights": {
            "clip_length": 1.0,
            "max_video_length": 1000,
            "highlight_only": True,
            "contrastive_align_loss_coef": 0.8,
            "hard_pos_neg_loss_coef": 1.0,
        },
    }

    video_backbones: list | tuple = (("slowfast", 2304), ("clip", 512), ("blip2", 768))
    text_backbones: list | tuple = (("clip", 512), ("blip2", 768))

    num_fusion_layers: int = 1
    num_encoder_layers: int = 3
    num_decoder_layers: int = 3

    use_feature_refinement: bool = True
    cross_modal_fusion: Literal["bi", "uni", "none"] = "bi"
    use_contrastive_alignment: bool = True
    use_moment_to_highlight: bool = True

    hard_pos_neg_loss_coef: float | int = 10.0
    hard_negative_loss: Literal["squared", "absolute"] = "squared"
    cosine_similarity_loss_coef: float | int = 1.0
    moment_to_highlight_loss_coef: float | int = 1.0

    @property
    def has_alignment_heads(self) -> bool:
        """Whether the model has contrastive heads: released checkpoints hold them whatever the loss's weight."""
        return self.use_contrastive_alignment


__all__ = ["VideoLightsConfig"]
