"""Which backbones can be run, by name."""

from __future__ import annotations

from .base import ClipBackbone, FeatureBackbone
from .blip2 import Blip2Backbone
from .slowfast import SlowFastBackbone

BACKBONES: dict[str, type[FeatureBackbone]] = {
    backbone.name: backbone for backbone in (ClipBackbone, Blip2Backbone, SlowFastBackbone)
}

# Backbones that published configurations name, but whose features are only read.
_PRECOMPUTED_ONLY = {"i3d": "I3D features are only read (RGB and optical flow side by side, 2 x 1024 wide)"}


def get_backbone_class(name: str) -> type[FeatureBackbone]:
    """Look a backbone up by its name.

    Raises:
        ValueError: No backbone of this name can run; the known ones are listed.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    reason = _PRECOMPUTED_ONLY.get(name, f"known: {', '.join(BACKBONES)}")
    raise ValueError(
        f"There is no backbone {name!r} to compute features with; {reason}. Pass precomputed features, or attach a "
        "backbone of this name with `processor.set_backbone`."
    )
