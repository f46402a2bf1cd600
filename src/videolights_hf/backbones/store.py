"""The backbones of one processor: loaded when first needed, and saved beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .base import FeatureBackbone
from .registry import get_backbone_class

# Where a saved processor keeps the backbones that no Hub repository of their own holds.
BACKBONES_FOLDER = "backbones"

# Arguments of `from_pretrained` that say where files come from: the backbones beside a processor need them too.
_DOWNLOAD_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token", "subfolder")


class BackboneStore:
    """Backbones by name, from checkpoints or attached.

    A checkpoint is a Hub id, a path, or, if it starts with `backbones/` or is a folder there, a path relative to the
    folder or Hub repository that the processor came from.

    Args:
        video_backbones: Pairs of name and width that the processor makes video features with.
        text_backbones: Pairs of name and width that it makes text features with.
        checkpoints: Where each backbone is loaded from.
    """

    def __init__(
        self,
        video_backbones: Sequence[Sequence],
        text_backbones: Sequence[Sequence],
        checkpoints: Mapping[str, str],
    ):
        self._video_dims: dict[str, int] = {str(name): int(width) for name, width in video_backbones}
        self._text_dims: dict[str, int] = {str(name): int(width) for name, width in text_backbones}
        self.checkpoints = dict(checkpoints)
        self._loaded: dict[str, FeatureBackbone] = {}
        # Backbones that no checkpoint elsewhere holds, so that saving must write them.
        self._attached: set[str] = set()
        self._origin: str | None = None
        self._origin_arguments: dict[str, Any] = {}
        self._device: str | torch.device | None = None
        self._dtype: torch.dtype | None = None

    def set_origin(self, name_or_path: str | os.PathLike, arguments: Mapping[str, Any]) -> None:
        """Remember where the processor came from, for checkpoints relative to it."""
        self._origin = os.fspath(name_or_path)
        self._origin_arguments = {
            name: arguments[name] for name in _DOWNLOAD_ARGUMENTS if arguments.get(name) is not None
        }

    def attach(self, backbone: FeatureBackbone) -> None:
        """Use this backbone under its name, in place of a checkpoint.

        Raises:
            ValueError: No feature of this name is used, or its width differs.
        """
        self._check_dims(backbone)
        self._loaded[backbone.name] = backbone.to(self._device, self._dtype)
        self._attached.add(backbone.name)

    def get(self, name: str) -> FeatureBackbone:
        """The backbone of this name, loaded if it is not there yet.

        Raises:
            ValueError: The backbone is unknown, has no checkpoint, or its widths are not those that are used.
            OSError: Its checkpoint does not exist or is incomplete.
        """
        if name not in self._loaded:
            backbone_class = get_backbone_class(name)
            if name not in self.checkpoints:
                raise ValueError(
                    f"No checkpoint is known for the backbone {name!r}: name one in `backbone_checkpoints`, attach one "
                    "with `set_backbone`, or pass precomputed features. "
                    f"{backbone_class.checkpoint_hint}".rstrip()
                )
            path, arguments = self._locate(self.checkpoints[name])
            backbone = backbone_class.from_pretrained(path, device=self._device, dtype=self._dtype, **arguments)
            self._check_dims(backbone)
            self._loaded[name] = backbone
        return self._loaded[name]

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        """Run all backbones, also those loaded later, on this device and in this floating-point type."""
        self._device = device if device is not None else self._device
        self._dtype = dtype if dtype is not None else self._dtype
        for backbone in self._loaded.values():
            backbone.to(device, dtype)

    @property
    def saved_checkpoints(self) -> dict[str, str]:
        """Where the backbones are once saved: in `backbones/<name>` if they were attached or came from a folder."""
        return {**self.checkpoints, **{name: f"{BACKBONES_FOLDER}/{name}" for name in self._to_save()}}

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write the backbones to where `saved_checkpoints` says, inside a folder."""
        for name in self._to_save():
            self.get(name).save_pretrained(os.path.join(save_directory, BACKBONES_FOLDER, name))

    def _to_save(self) -> list[str]:
        return [
            name
            for name in self._video_dims | self._text_dims
            if name in self._attached or (name in self.checkpoints and self._is_local(self.checkpoints[name]))
        ]

    def _check_dims(self, backbone: FeatureBackbone) -> None:
        name = backbone.name
        if name not in self._video_dims and name not in self._text_dims:
            used = ", ".join(self._video_dims | self._text_dims)
            raise ValueError(f"The processor uses no backbone {name!r}, only {used}.")
        for modality, expected, got in (
            ("video", self._video_dims.get(name), backbone.video_dim),
            ("text", self._text_dims.get(name), backbone.text_dim),
        ):
            if expected is not None and got != expected:
                raise ValueError(
                    f"The {modality} features of the backbone {name!r} are {got} wide, the processor expects {expected}."
                )

    def _is_local(self, checkpoint: str) -> bool:
        return os.path.isdir(checkpoint) or self._is_relative(checkpoint)

    def _is_relative(self, checkpoint: str) -> bool:
        if os.path.isabs(checkpoint):
            return False
        if checkpoint.replace(os.sep, "/").startswith(f"{BACKBONES_FOLDER}/"):
            return True
        return self._origin is not None and os.path.isdir(self._beside(self._origin, checkpoint))

    def _beside(self, origin: str, checkpoint: str) -> str:
        return os.path.join(origin, self._origin_arguments.get("subfolder", ""), checkpoint)

    def _locate(self, checkpoint: str) -> tuple[str, dict[str, Any]]:
        """Path or Hub id to load a checkpoint from, and the arguments that go with it."""
        if not self._is_relative(checkpoint):
            return checkpoint, {}
        if self._origin is None:
            raise ValueError(
                f"The backbone checkpoint {checkpoint!r} is relative to the folder of a saved processor, but this "
                "processor was not loaded from one. Give an absolute path."
            )
        if os.path.isdir(self._origin):
            folder = self._beside(self._origin, checkpoint)
            if not os.path.isdir(folder):
                raise FileNotFoundError(f"The processor's backbone is missing: there is no folder {folder}.")
            return folder, {}
        subfolder = "/".join(filter(None, [self._origin_arguments.get("subfolder", ""), checkpoint]))
        return self._origin, {**self._origin_arguments, "subfolder": subfolder}
