"""QD-DETR configuration."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict

from ..configuration import DetectorConfig


@strict
class QDDetrConfig(DetectorConfig):
    r"""Configuration of [`QDDetrForMomentRetrieval`]; fields that are not listed are those of [`DetectorConfig`].

    The defaults are the released model on QVHighlights. With `use_feature_refinement=True` FRA comes before it, as in
    the paper's Table VII.

    Args:
        num_fusion_layers: One-way layers in which clips attend to words.

    Example:

    ```python
    >>> from videolights_hf import QDDetrConfig, QDDetrForMomentRetrieval

    >>> QDDetrForMomentRetrieval(QDDetrConfig.from_preset("qd-detr", "qvhighlights")).num_parameters()
    7585573
    ```
    """

    model_type = "qd_detr"
    # What VideoLights offers a choice of, or adds, in the network that both share.
    cross_modal_fusion = "uni"
    use_moment_to_highlight = False
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "qd-detr": {},
        # PANN features, and the two temporal channels once more.
        "qd-detr-audio": {"audio_dim": 2050},
        "qd-detr-i3d": {"video_backbones": [["i3d", 2048]]},
    }
    datasets: ClassVar[dict[str, dict[str, Any]]] = {
        "qvhighlights": {},
        "charades_sta": {"clip_length": 1.0},
        "tvsum": {"max_video_length": 1000, "highlight_only": True},
    }

    num_fusion_layers: int = 2

    def validate_alignment(self):
        """Without FRA the release's alignment loss is a constant: there is nothing to switch on."""
        if self.use_contrastive_alignment and not self.use_feature_refinement:
            raise ValueError("`use_contrastive_alignment` needs `use_feature_refinement=True` in this detector.")


__all__ = ["QDDetrConfig"]
