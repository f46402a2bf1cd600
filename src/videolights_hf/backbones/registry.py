"""Which backbones can be run, by name: the package's own, those of installed packages, and those that a user registers.

An installed package provides a backbone by an entry point, which is found without being named:

    [project.entry-points."videolights_hf.backbones"]
    siglip = "my_package.backbones:SiglipBackbone"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from ..common.ids import is_plain_name
from ..common.messages import did_you_mean
from .base import FeatureBackbone
from .blip2 import Blip2Backbone
from .clip import ClipBackbone
from .similarity import SimilarityBackbone
from .slowfast import SlowFastBackbone

ENTRY_POINT_GROUP = "videolights_hf.backbones"

AnyBackboneClass = TypeVar("AnyBackboneClass", bound=type[FeatureBackbone])

BACKBONES: dict[str, type[FeatureBackbone]] = {
    backbone.name: backbone for backbone in (ClipBackbone, Blip2Backbone, SlowFastBackbone, SimilarityBackbone)
}
_BUILT_IN = frozenset(BACKBONES)
# For each backbone that is not the package's own, the package or module that provides it.
_origins: dict[str, str] = {}

# Backbones that published configurations name, but whose features are only read.
_PRECOMPUTED_ONLY = {"i3d": "I3D features are only read (RGB and optical flow side by side, 2 x 1024 wide)"}


def register_backbone(backbone_class: AnyBackboneClass) -> AnyBackboneClass:
    """Make a backbone known under its name, to processors, pipelines, extraction and training. Also a decorator.

    Saved processors keep the name, the widths, and the package or module that the class came from, but no code: a
    process that loads one must know the backbone, too.

    Args:
        backbone_class: A subclass of [`FeatureBackbone`] with a `name` of its own.

    Raises:
        TypeError: It is not a subclass of `FeatureBackbone`.
        ValueError: Its name cannot be a folder's, or belongs to another backbone.

    Example:

    ```python
    >>> @register_backbone
    ... class SiglipBackbone(FeatureBackbone):
    ...     name = "siglip"
    ```
    """
    _register(backbone_class, backbone_class.__module__.partition(".")[0])
    return backbone_class


def get_backbone_class(name: str, origin: str | None = None) -> type[FeatureBackbone]:
    """Look a backbone up by its name.

    Args:
        name: The name.
        origin: The package or module that provides it, as a saved processor tells; errors name it.

    Raises:
        ValueError: No backbone of this name can run, or the package that provides it is broken.
    """
    if name not in BACKBONES and name in (provided := _provided()):
        _load_entry_point(provided[name])
    if name in BACKBONES:
        return BACKBONES[name]
    if origin is not None and re.fullmatch(r"[\w.-]{1,80}", origin):
        raise ValueError(
            f"The backbone {name!r} is not installed. {origin} provides it: install it (pip install {origin}), or name "
            "the module that registers it (--backbone-module)."
        )
    known = known_backbones()
    reason = f"{_PRECOMPUTED_ONLY[name]}." if name in _PRECOMPUTED_ONLY else f"Known: {', '.join(known)}."
    raise ValueError(
        f"Unknown backbone {name!r}.{did_you_mean(name, known)} {reason} Pass precomputed features, attach a backbone "
        "of this name with `processor.set_backbone`, or install the package that provides it."
    )


def known_backbones() -> list[str]:
    """Names of all backbones that can run."""
    return list(dict.fromkeys([*BACKBONES, *_provided()]))


def backbone_origins(names: Iterable[str]) -> dict[str, str]:
    """For each of these backbones that is not the package's own, the package or module that provides it."""
    return {name: _origins[name] for name in names if name in _origins}


def default_checkpoints(names: Iterable[str]) -> dict[str, str]:
    """The default checkpoint of each of these backbones that has one; names that are unknown have none."""
    classes = {name: get_backbone_class(name) for name in names if name in BACKBONES or name in _provided()}
    defaults = {name: backbone_class.default_checkpoint for name, backbone_class in classes.items()}
    return {name: checkpoint for name, checkpoint in defaults.items() if checkpoint is not None}


def _register(backbone_class: type[FeatureBackbone], origin: str) -> None:
    if not (isinstance(backbone_class, type) and issubclass(backbone_class, FeatureBackbone)):
        raise TypeError(f"{backbone_class!r} is not a subclass of FeatureBackbone.")
    name = getattr(backbone_class, "name", None)
    if not isinstance(name, str) or not is_plain_name(name):
        raise ValueError(f"{backbone_class.__name__} has the name {name!r}: set `name` to one that a folder can have.")
    present = BACKBONES.get(name, backbone_class)
    # A module that is imported anew, as in a notebook, may replace its own class.
    if (present.__module__, present.__qualname__) != (backbone_class.__module__, backbone_class.__qualname__):
        raise ValueError(f"The name {name!r} belongs to {present.__module__}.{present.__qualname__}: choose another.")
    if name not in _BUILT_IN:
        BACKBONES[name] = backbone_class
        _origins[name] = origin


def _provided() -> Mapping[str, EntryPoint]:
    """Entry points of installed packages, by the backbone's name."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name not in _BUILT_IN}


def _load_entry_point(entry: EntryPoint) -> None:
    origin = entry.dist.name if entry.dist is not None else entry.module
    try:
        backbone_class = entry.load()
        _register(backbone_class, origin)
    # What another package raises cannot be foreseen.
    except Exception as error:
        raise ValueError(
            f"The backbone {entry.name!r} of the package {origin} cannot be used ({type(error).__name__}: {error}). "
            "Update or remove that package."
        ) from error
    if backbone_class.name != entry.name:
        raise ValueError(
            f"The package {origin} registers the backbone {backbone_class.name!r} under the name {entry.name!r}: both "
            "must be the same."
        )


__all__ = ["backbone_origins", "default_checkpoints", "get_backbone_class", "known_backbones", "register_backbone"]
