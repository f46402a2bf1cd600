"""The detectors that the package has, by the names under which they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..common.messages import unknown_name
from .configuration import DetectorConfig
from .moment_detr.configuration import MomentDetrConfig
from .qd_detr.configuration import QDDetrConfig
from .tr_detr.configuration import TRDetrConfig
from .videolights.configuration import VideoLightsConfig

if TYPE_CHECKING:
    from .detector import DetectorForMomentRetrieval

CONFIGS: dict[str, type[DetectorConfig]] = {
    config.model_type: config for config in (VideoLightsConfig, MomentDetrConfig, QDDetrConfig, TRDetrConfig)
}


def config_class_of_variant(variant: str) -> type[DetectorConfig]:
    """The configuration class that has a published variant, such as `qd-detr`.

    Raises:
        ValueError: No detector has it.
    """
    for config in CONFIGS.values():
        if variant in config.variants:
            return config
    raise ValueError(
        unknown_name("variant", variant, [name for config in CONFIGS.values() for name in config.variants])
    )


def config_from_preset(variant: str, dataset: str = "qvhighlights", **overrides: Any) -> DetectorConfig:
    """Configuration of any detector's published variant; see [`DetectorConfig.from_preset`].

    Raises:
        ValueError: No detector has the variant, or it has no settings for the dataset.
    """
    return config_class_of_variant(variant).from_preset(variant, dataset, **overrides)


def model_class(config: DetectorConfig) -> type[DetectorForMomentRetrieval]:
    """The detector, with its heads, that a configuration is of."""
    from .moment_detr.modeling import MomentDetrForMomentRetrieval
    from .qd_detr.modeling import QDDetrForMomentRetrieval
    from .tr_detr.modeling import TRDetrForMomentRetrieval
    from .videolights.modeling import VideoLightsForMomentRetrieval

    models: tuple[type[DetectorForMomentRetrieval], ...] = (
        VideoLightsForMomentRetrieval,
        MomentDetrForMomentRetrieval,
        QDDetrForMomentRetrieval,
        TRDetrForMomentRetrieval,
    )
    return next(model for model in models if model.config_class is type(config))


__all__ = ["CONFIGS", "config_class_of_variant", "config_from_preset", "model_class"]
