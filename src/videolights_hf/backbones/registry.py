"""Which backbones can be run, by name."""

from __future__ import annotations

from collections.abc import Iterable

from ..common.messages import did_you_mean
from .base import FeatureBackbone
from .blip2 import Blip2Backbone
from .clip import ClipBackbone
from .slowfast import SlowFastBackbone

BACKBONES: dict[str, type[FeatureBackbone]] = {
    backbone.name: backbone for backbone in (ClipBackbone, Blip2Backbone, SlowFastBackbone)
}

# Backbones that published configurations name, but whose features are only read.
_PRECOMPUTED_ONLY = {"i3d": "I3D features are only read (RGB and optical flow side by side, 2 x 1024 wide)"}


def get_backbone_class(name: str) -> type[FeatureBackbone]:
    """Look a backbone up by its name.

    Raises:
        ValueError: No backbone of this name can run; the nearest known name, and all of them, are listed.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    reason = f"{_PRECOMPUTED_ONLY[name]}." if name in _PRECOMPUTED_ONLY else f"Known: {', '.join(BACKBONES)}."
    raise ValueError(
        f"Unknown backbone {name!r}.{did_you_mean(name, BACKBONES)} {reason} Pass precomputed features, or attach a "
        "backbone of this name with `processor.set_backbone`."
    )


def default_checkpoints(names: Iterable[str]) -> dict[str, str]:
    """The default checkpoint of each of these backbones that has one; names that are unknown have none."""
    defaults = {name: BACKBONES[name].default_checkpoint for name in names if name in BACKBONES}
    return {name: checkpoint for name, checkpoint in defaults.items() if checkpoint is not None}


__all__ = ["default_checkpoints", "get_backbone_class"]
