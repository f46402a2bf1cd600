"""VideoLights configuration and the presets of the published variants."""

from typing import Any, ClassVar, Literal, TypeVar

from huggingface_hub.dataclasses import strict

from ..configuration import DetectorConfig
from .formulation import check_changes, fill_members

_Config = TypeVar("_Config", bound="VideoLightsConfig")

# The paper gives its adaptive weight no number: these bring its sums of raw scores to the size of the released terms.
_PAPER_HARD_WEIGHTS = {"qvhighlights": 1e-4, "tvsum": 1e-4}
_PAPER_HARD_WEIGHT_OF_BINARY_LABELS = 2e-3


@strict
class VideoLightsConfig(DetectorConfig):
    r"""Configuration of [`VideoLightsModel`] and [`VideoLightsForMomentRetrieval`].

    The defaults are VideoLights-B on QVHighlights. Coefficients, costs and switches carry the defaults of the
    released model; `from_preset` gives the published variants: `"videolights-b"`, `"videolights"` (without BLIP-2) and
    `"videolights-i3d"` (TVSum's fifth variant), on `"qvhighlights"`, `"charades_sta"`, `"tacos"`, `"tvsum"` or
    `"youtube_highlights"`.

    Fields that are not listed here are those of [`DetectorConfig`].

    Args:
        num_fusion_layers: Cross-modal fusion layers (Bi-CMF layers; paper, Fig. 7).
        cross_modal_fusion: Bi-CMF (paper, section III-C), one-way text-to-video
            attention, or none; with none the encoder attends over video and words together.
        use_moment_to_highlight: The task-coupled branch of Uni-JFM, used in training only (paper, eq. 12).
        hard_pos_neg_loss_coef: Weight of the adaptive hard losses; it grows with the epoch (paper, eq. 9, 10).
        cosine_similarity_loss_coef: Weight of the saliency cosine loss (paper, eq. 11).
        moment_to_highlight_loss_coef: Weight of the task-coupled loss (paper, eq. 12).
        rank_loss_coef: Weight of the margin ranking term (paper, eq. 2).
        rank_contrastive_loss_coef: Weight of the rank contrastive term (paper, eq. 2).
        negative_pair_loss_coef: Weight of the negative pairs' term, which eq. 2 leaves out.
        formulation: What the members below are where they are not set one by one. The
            released code made the published numbers; the paper's form is as printed, and no number of it is published.
        projection_relu: ReLU between the projection layers, or after the last too (III-A).
        convolution_kernel_size: Kernel of projections and mixer; 1, or as printed a neighborhood whose size the
            paper does not give (III-B; 3 is our choice).
        word_correlation: See [`DetectorConfig`]; the map is the dot product with
            each word as a channel of its own (III-B).
        sentence_similarity: What FRA multiplies with its learned vector (III-B).
        refinement_relu: ReLU behind FRA's mixer (III-B has none).
        fusion_form: Bi-CMF with norm and residual at each stage (III-C, Fig. 4), or as
            released without the norm of the text and the last residual.
        fusion_positions: Which parts of Bi-CMF's attentions carry positions (III-C).
        video_positions: Positions of the clips (III-C); learned ones end at
            `max_video_length`, and `from_preset` leaves the sine.
        use_text_positions: Learned positions for the words (III-C).
        loss_padding: Whether padding enters eq. 4 to 6 and 8 to 12.
        saliency_scaling: Scores shifted and scaled by their batch and normalized, or raw
            (eq. 6, 8 to 12).
        loss_reduction: Means over the batch in eq. 6, 11 and 12 and sums over a video's
            clips in eq. 8 to 10 as printed, or sums over the batch and means over clips.
        hard_negative_loss: Penalty on hard negatives, as released or as in eq. 9.

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
    cosine_similarity_loss_coef: float | int = 1.0
    moment_to_highlight_loss_coef: float | int = 1.0
    rank_loss_coef: float | int = 1.0
    rank_contrastive_loss_coef: float | int = 1.0
    negative_pair_loss_coef: float | int = 1.0

    formulation: Literal["released", "paper"] = "released"
    # None stands until `__post_init__` fills in what the formulation says.
    projection_relu: Literal["inner", "all"] | None = None  # type: ignore[assignment]
    convolution_kernel_size: int | None = None  # type: ignore[assignment]
    word_correlation: Literal["constant", "attended", "map"] | None = None  # type: ignore[assignment]
    sentence_similarity: Literal["cosine", "dot"] | None = None  # type: ignore[assignment]
    refinement_relu: bool | None = None  # type: ignore[assignment]
    fusion_form: Literal["released", "paper"] | None = None
    fusion_positions: Literal["queries_keys", "all"] | None = None
    video_positions: Literal["sine", "learned"] | None = None  # type: ignore[assignment]
    use_text_positions: bool | None = None  # type: ignore[assignment]
    loss_padding: Literal["counted", "masked"] | None = None
    saliency_scaling: Literal["batch", "none"] | None = None
    loss_reduction: Literal["released", "paper"] | None = None
    hard_negative_loss: Literal["squared", "absolute"] | None = None

    def __post_init__(self, **kwargs):
        fill_members(self)
        super().__post_init__(**kwargs)

    def validate_kernel(self):
        """Check that the kernel is odd."""
        if self.convolution_kernel_size is not None and self.convolution_kernel_size % 2 != 1:
            raise ValueError(f"`convolution_kernel_size` must be odd, got {self.convolution_kernel_size}.")

    @classmethod
    def from_dict(cls: type[_Config], config_dict: dict[str, Any], **kwargs: Any) -> _Config:
        """Make a configuration of saved settings, on which weights depend.

        Raises:
            ValueError: A change does not fit the saved settings, or a size is beyond its limit.
        """
        check_changes(config_dict, kwargs)
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def from_preset(
        cls: type[_Config], variant: str | None = None, dataset: str = "qvhighlights", **overrides: Any
    ) -> _Config:
        """Configuration of a published variant with the settings of a dataset's recipe.

        With `formulation="paper"` clips keep their sine positions, which fit videos of any length, and the weight of
        the hard losses is 1e-4, or 2e-3 where labels are 0 and 1: our choice, since the paper gives none.

        Args:
            variant: Name in `variants`; the first of them by default.
            dataset: Name in `datasets`.
            **overrides: Fields to set differently.

        Raises:
            ValueError: Unknown variant or dataset.
        """
        if overrides.get("formulation") == "paper":
            weight = _PAPER_HARD_WEIGHTS.get(dataset, _PAPER_HARD_WEIGHT_OF_BINARY_LABELS)
            overrides = {"video_positions": "sine", "hard_pos_neg_loss_coef": weight, **overrides}
        return super().from_preset(variant, dataset, **overrides)

    @property
    def has_alignment_heads(self) -> bool:
        """Whether the model has contrastive heads: released checkpoints hold them whatever the loss's weight."""
        return self.use_contrastive_alignment


__all__ = ["VideoLightsConfig"]
