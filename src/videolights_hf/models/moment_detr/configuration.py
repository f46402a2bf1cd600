"""Moment-DETR configuration."""

from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict

from ..configuration import DetectorConfig


@strict
class MomentDetrConfig(DetectorConfig):
    r"""Configuration of [`MomentDetrForMomentRetrieval`]; its fields are those of [`DetectorConfig`].

    The defaults are the released model on QVHighlights. With `use_feature_refinement=True` FRA comes before it, as in
    the paper's Table VII. `use_contrastive_alignment=True` alone is Moment-DETR's own option: matched queries against
    the encoded words; with FRA the loss is that of VideoLights.

    Example:

    ```python
    >>> from videolights_hf import MomentDetrConfig, MomentDetrForMomentRetrieval

    >>> MomentDetrForMomentRetrieval(MomentDetrConfig.from_preset("moment-detr")).num_parameters()
    4823305
    ```
    """

    model_type = "moment_detr"
    variants: ClassVar[dict[str, dict[str, Any]]] = {"moment-detr": {}}
    datasets: ClassVar[dict[str, dict[str, Any]]] = {"qvhighlights": {}, "charades_sta": {"clip_length": 1.0}}

    activation_function: Literal["prelu", "relu"] = "relu"


__all__ = ["MomentDetrConfig"]
