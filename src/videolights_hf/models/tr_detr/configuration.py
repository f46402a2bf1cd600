"""TR-DETR configuration."""

from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict

from ..configuration import DetectorConfig


@strict
class TRDetrConfig(DetectorConfig):
    r"""Configuration of [`TRDetrForMomentRetrieval`]; fields that are not listed are those of [`DetectorConfig`].

    The defaults are the released model on QVHighlights. With `use_feature_refinement=True` FRA comes before it, as in
    the paper's Table VII, or in place of its own refinement.

    Args:
        num_fusion_layers: One-way layers in which clips attend to words.
        refinement_order: Whether FRA comes before TR-DETR's own refinement or replaces it.
        clip_text_loss_coef: Weight of the loss that aligns each clip with the sentence.
        video_text_loss_coef: Weight of the loss that aligns whole videos with sentences in the batch.

    Example:

    ```python
    >>> from videolights_hf import TRDetrConfig, TRDetrForMomentRetrieval

    >>> TRDetrForMomentRetrieval(TRDetrConfig.from_preset("tr-detr", "qvhighlights")).num_parameters()
    8308773
    ```
    """

    model_type = "tr_detr"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "tr-detr": {},
        # PANN features, and the two temporal channels once more.
        "tr-detr-audio": {"audio_dim": 2050, "clip_text_loss_coef": 0.3},
        "tr-detr-i3d": {"video_backbones": [["i3d", 2048]]},
    }
    datasets: ClassVar[dict[str, dict[str, Any]]] = {
        "qvhighlights": {},
        "charades_sta": {"clip_length": 1.0},
        "tvsum": {
            "max_video_length": 1000,
            "highlight_only": True,
            "clip_text_loss_coef": 2.0,
            "video_text_loss_coef": 0.5,
        },
    }

    num_fusion_layers: int = 2
    refinement_order: Literal["before", "instead"] = "before"
    clip_text_loss_coef: float | int = 0.5
    video_text_loss_coef: float | int = 0.3

    def validate_refinement(self):
        """Without FRA the release's alignment heads are idle, and nothing can replace its refinement."""
        for field, value in (("use_contrastive_alignment", True), ("refinement_order", "instead")):
            if getattr(self, field) == value and not self.use_feature_refinement:
                raise ValueError(f"`{field}={value!r}` needs `use_feature_refinement=True` in this detector.")


__all__ = ["TRDetrConfig"]
