"""What the configurations of all detectors share."""

import os
from typing import Any, ClassVar, Literal, TypeVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from ..common.messages import did_you_mean, unknown_name
from ..hub.code import CUSTOM_PIPELINES

# Keys that transformers itself adds to or passes through a config without declaring them as fields.
_LIBRARY_KEYS = frozenset(
    {
        "attn_implementation",
        "auto_map",
        "custom_pipelines",
        "experts_implementation",
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "per_layer_config",
        "quantization_config",
        "torch_dtype",
        "transformers_version",
        "transformers_weights",
        "use_cache",
    }
)

_Config = TypeVar("_Config", bound="DetectorConfig")

# Saved configurations with larger numbers are refused before anything is built of them.
LARGEST_SIZE, LARGEST_DEPTH = 1_000_000, 1_000

# Inside the installed package the pipeline is registered; a copy that travels with a checkpoint is another module.
_IN_PACKAGE = __name__.startswith("videolights_hf.")


def reject_unknown_fields(config: PreTrainedConfig, kwargs: dict[str, Any]) -> None:
    """Check that what a configuration was given beside its fields are keys that transformers itself writes.

    Raises:
        ValueError: One is neither; the nearest field is named.
    """
    for key in kwargs:
        if key.startswith("_") or key in _LIBRARY_KEYS:
            continue
        known = [name for name in config.__dataclass_fields__ if not name.startswith("_")]
        raise ValueError(f"{type(config).__name__} has no field {key!r}.{did_you_mean(key, known)}")


@strict
class DetectorConfig(PreTrainedConfig):
    r"""Base of the detectors' configurations: what they read, their sizes, and the loss terms that all have.

    Args:
        video_backbones: `[name, width]` of each frozen video backbone, in channel order.
        text_backbones: `[name, width]` of each frozen text encoder, in channel order.
        audio_dim: Width of optional audio features, placed after all channels of the video; 0 means none.
        clip_length: Seconds of video that one clip stands for.
        max_video_length: Clips that the model sees at once; longer videos run in overlapping windows.
        max_text_length: Text tokens that the model sees; longer sentences are cut.
        hidden_size: Model width D; a multiple of 4 and of `num_attention_heads`.
        num_attention_heads: Heads of every attention layer.
        intermediate_size: Inner width of the feed-forward layers.
        activation_function: Activation of the feed-forward layers.
        num_projection_layers: Layers that project each modality to the model width.
        num_encoder_layers: Self-attention layers of the encoder.
        num_decoder_layers: Decoder layers over the moment queries.
        num_queries: Moment queries M, the most moments that one window can yield.
        use_feature_refinement: FRA (paper, section III-B).
        word_correlation: Word branch of FRA. The released model computes a learned
            constant; `"attended"` gives each clip the softmax-weighted sum of the projected words, as the paper means.
        use_text_positions: Learned positions for the words.
        use_contrastive_alignment: The contrastive heads and the alignment loss (paper, eq. 4 to 7).
        contrastive_hidden_size: Width of the contrastive heads.
        contrastive_temperature: Temperature of the query-text term.
        auxiliary_loss: Losses on every decoder layer instead of the last alone.
        highlight_only: Train saliency alone, for data without moments (TVSum, YouTube Highlights).
        dropout: Dropout of the transformer layers.
        input_dropout: Dropout of the projection layers.
        refinement_dropout: Dropout of the refinement stage.
        span_cost: Matcher weight of the L1 distance between spans.
        giou_cost: Matcher weight of the generalized temporal IoU.
        class_cost: Matcher weight of the foreground probability.
        span_loss_coef: Weight of the L1 span loss.
        giou_loss_coef: Weight of the gIoU loss.
        label_loss_coef: Weight of the foreground / background loss.
        background_coef: Weight of background queries inside that loss.
        saliency_loss_coef: Weight of the saliency loss.
        saliency_margin: Margin of the saliency ranking term.
        contrastive_align_loss_coef: Weight of the alignment loss.
    """

    attribute_map = {"num_hidden_layers": "num_encoder_layers"}
    # `Trainer` gathers what is left over all batches: the predictions.
    keys_to_ignore_at_inference = [
        "loss_dict",
        "auxiliary_outputs",
        "negative_saliency_scores",
        "moment_saliency_scores",
        "contrastive_queries",
        "contrastive_text",
        "contrastive_video",
    ]
    # The fields that `from_preset` sets, by the name of a variant and of a dataset; the first of each is the default.
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    datasets: ClassVar[dict[str, dict[str, Any]]] = {}

    # What VideoLights offers a choice of.
    projection_relu = "inner"
    convolution_kernel_size = 1
    sentence_similarity = "cosine"
    refinement_relu = True
    video_positions = "sine"

    video_backbones: list | tuple = (("slowfast", 2304), ("clip", 512))
    text_backbones: list | tuple = (("clip", 512),)
    audio_dim: int = 0
    clip_length: float | int = 2.0
    max_video_length: int = 75
    max_text_length: int = 32

    hidden_size: int = 256
    num_attention_heads: int = 8
    intermediate_size: int = 1024
    activation_function: Literal["prelu", "relu"] = "prelu"
    num_projection_layers: int = 2
    num_encoder_layers: int = 2
    num_decoder_layers: int = 2
    num_queries: int = 10

    use_feature_refinement: bool = False
    word_correlation: Literal["constant", "attended"] = "constant"
    use_text_positions: bool = False
    use_contrastive_alignment: bool = False
    contrastive_hidden_size: int = 64
    contrastive_temperature: float | int = 0.07
    auxiliary_loss: bool = True
    highlight_only: bool = False

    dropout: float | int = 0.1
    input_dropout: float | int = 0.5
    refinement_dropout: float | int = 0.1

    span_cost: float | int = 10.0
    giou_cost: float | int = 1.0
    class_cost: float | int = 4.0
    span_loss_coef: float | int = 10.0
    giou_loss_coef: float | int = 1.0
    label_loss_coef: float | int = 4.0
    background_coef: float | int = 0.1
    saliency_loss_coef: float | int = 1.0
    saliency_margin: float | int = 0.2
    contrastive_align_loss_coef: float | int = 0.2

    def __post_init__(self, **kwargs):
        reject_unknown_fields(self, kwargs)
        # JSON has no tuples and sorts keys: lists keep the channel order through a save and a load.
        self.video_backbones = [list(pair) for pair in self.video_backbones]
        self.text_backbones = [list(pair) for pair in self.text_backbones]
        if _IN_PACKAGE:
            # The registered pipeline serves here; leaving the entry would ask the caller to trust remote code.
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)

    def validate_backbones(self):
        """Check that each backbone is a name and a positive width, and that no name repeats in a modality."""
        for field, backbones in (("video_backbones", self.video_backbones), ("text_backbones", self.text_backbones)):
            if not backbones:
                raise ValueError(f"`{field}` is empty: name at least one backbone, such as [['clip', 512]].")
            for pair in backbones:
                if not (len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int) and pair[1] > 0):
                    raise ValueError(
                        f"`{field}` holds {pair!r}: each entry is a name and a positive width, such as ['clip', 512]."
                    )
            names = [name for name, _ in backbones]
            if len(set(names)) != len(names):
                raise ValueError(f"`{field}` names a backbone twice: {names}.")

    def validate_sizes(self):
        """Check that counts are positive, and that the width divides into heads and two pairs of sine and cosine."""
        positive = [
            "max_video_length",
            "max_text_length",
            "hidden_size",
            "intermediate_size",
            "contrastive_hidden_size",
        ]
        positive += [field for field in self.__dataclass_fields__ if field.startswith("num_")]
        for field in [*positive, "clip_length", "contrastive_temperature"]:
            if not getattr(self, field) > 0:
                raise ValueError(f"`{field}` must be positive, got {getattr(self, field)}.")
        if self.audio_dim < 0:
            raise ValueError(f"`audio_dim` must be 0 (no audio) or the audio width, got {self.audio_dim}.")
        if self.hidden_size % 4 or self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`hidden_size` must be a multiple of 4 and of `num_attention_heads` ({self.num_attention_heads}), "
                f"got {self.hidden_size}."
            )

    def validate_rates_and_weights(self):
        """Check that dropout rates are in [0, 1), and that loss weights and matcher costs are not negative."""
        for field in ("dropout", "input_dropout", "refinement_dropout"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"`{field}` must be in [0, 1), got {getattr(self, field)}.")
        for field in self.__dataclass_fields__:
            if field.endswith(("_coef", "_cost", "_margin")) and getattr(self, field) < 0:
                raise ValueError(f"`{field}` must not be negative, got {getattr(self, field)}.")
        if not self.highlight_only and self.span_cost == self.giou_cost == self.class_cost == 0:
            raise ValueError("All matcher costs are 0: give at least one of `span_cost`, `giou_cost`, `class_cost`.")

    @property
    def video_dim(self) -> int:
        """Channels of `video_features` that the processor makes: the backbones and the two temporal channels."""
        return sum(width for _, width in self.video_backbones) + 2

    @property
    def text_dim(self) -> int:
        """Channels of `text_features`: the text encoders side by side."""
        return sum(width for _, width in self.text_backbones)

    @property
    def has_alignment_heads(self) -> bool:
        """Whether the model has contrastive heads: an alignment loss of weight 0 needs none."""
        return self.use_contrastive_alignment and self.contrastive_align_loss_coef > 0

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read a saved configuration; transformers would take a folder without one for the defaults.

        Raises:
            OSError: No configuration is there.
            ValueError: It belongs to another kind of model.
        """
        settings, rest = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if not settings:
            raise OSError(f"{pretrained_model_name_or_path} holds no model: there is no config.json.")
        found = settings.get("model_type")
        if found != cls.model_type:
            raise ValueError(
                f"{pretrained_model_name_or_path} holds a model of the type {found!r}, not {cls.model_type!r}."
            )
        return settings, rest

    @classmethod
    def from_dict(cls: type[_Config], config_dict: dict[str, Any], **kwargs: Any) -> _Config:
        """Make a configuration of saved settings.

        Raises:
            ValueError: A size is so large that it is a mistake, or an attack on the memory.
        """
        for name, value in config_dict.items():
            largest = LARGEST_DEPTH if name.endswith("_layers") else LARGEST_SIZE
            if isinstance(value, int) and value > largest:
                raise ValueError(f"{name} is {value} in the configuration, more than {largest}: correct config.json.")
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def from_preset(
        cls: type[_Config], variant: str | None = None, dataset: str = "qvhighlights", **overrides: Any
    ) -> _Config:
        """Configuration of a published variant with the settings of a dataset's recipe.

        Args:
            variant: Name in `variants`; the first of them by default.
            dataset: Name in `datasets`.
            **overrides: Fields to set differently.

        Raises:
            ValueError: Unknown variant or dataset.
        """
        variant = next(iter(cls.variants)) if variant is None else variant
        for kind, name, known in (("variant", variant, cls.variants), ("dataset", dataset, cls.datasets)):
            if name not in known:
                raise ValueError(unknown_name(kind, name, known))
        return cls(**{**cls.datasets[dataset], **cls.variants[variant], **overrides})

    def to_dict(self) -> dict[str, Any]:
        """Serialize to a dictionary, naming the pipeline beside the code that travels with a checkpoint."""
        output = super().to_dict()
        if output.get("auto_map"):
            output["custom_pipelines"] = CUSTOM_PIPELINES
        return output


__all__ = ["DetectorConfig", "reject_unknown_fields"]
