"""The backbones of one processor: loaded when first needed, and saved beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from .base import FeatureBackbone
from .checkpoints import find_backbone, load_backbone
from .registry import backbone_origins, get_backbone_class

# Where a saved processor keeps the backbones that have no Hub repository of their own.
BACKBONES_FOLDER = "backbones"

# Arguments of `from_pretrained` that say where files come from: the backbones beside a processor need them too.
_DOWNLOAD_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token", "subfolder")


class BackboneStore:
    """Backbones by name, from checkpoints or attached.

    A checkpoint is a Hub id, a path, or a path relative to the folder or Hub repository that the processor came from
    (it begins with `backbones/`, or is a folder there). What a saved processor names is trusted less than what the
    user gives: a relative path stays inside its folder, and a Hub repository names no folders of this machine.

    Args:
        video_backbones: Pairs of name and width that the processor makes video features with.
        text_backbones: Pairs of name and width that it makes text features with.
        checkpoints: Where each backbone is loaded from.
        origins: For backbones that are not this package's own, the package or module that provides each.
    """

    def __init__(
        self,
        video_backbones: Sequence[Sequence],
        text_backbones: Sequence[Sequence],
        checkpoints: Mapping[str, str],
        origins: Mapping[str, str] | None = None,
    ):
        self._video_dims: dict[str, int] = {str(name): int(width) for name, width in video_backbones}
        self._text_dims: dict[str, int] = {str(name): int(width) for name, width in text_backbones}
        self.checkpoints = dict(checkpoints)
        self._origins = dict(origins or {})
        self._loaded: dict[str, FeatureBackbone] = {}
        # Backbones that no checkpoint elsewhere holds, so that saving must write them.
        self._attached: set[str] = set()
        # Where a saved processor came from.
        self._home: str | None = None
        self._home_arguments: dict[str, Any] = {}
        self._is_given_by_user = True
        self._found: set[str] = set()
        self._device: str | torch.device | None = None
        self._dtype: torch.dtype | None = None

    def set_home(self, name_or_path: str | os.PathLike, arguments: Mapping[str, Any]) -> None:
        """Remember where the processor was loaded from, for checkpoints relative to it.

        Args:
            name_or_path: Folder or Hub id.
            arguments: The arguments of its `from_pretrained`.
        """
        self._home = os.fspath(name_or_path)
        self._home_arguments = {
            name: arguments[name] for name in _DOWNLOAD_ARGUMENTS if arguments.get(name) is not None
        }
        self._is_given_by_user = arguments.get("backbone_checkpoints") is not None

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
            self.find([name])
            path, arguments = self._locate(name)
            backbone = load_backbone(name, path, self._device, self._dtype, **arguments)
            self._check_dims(backbone)
            self._loaded[name] = backbone
        return self._loaded[name]

    def find(self, names: Iterable[str]) -> None:
        """Check that backbones are known and that their checkpoints exist, before the first is loaded or downloaded.

        Raises:
            ValueError: A backbone is unknown, or has no checkpoint.
            OSError: A checkpoint does not exist.
        """
        for name in names:
            if name in self._loaded or name in self._found:
                continue
            get_backbone_class(name, self._origins.get(name))
            if name not in self.checkpoints:
                raise ValueError(
                    f"No checkpoint is known for the backbone {name!r}: name one in `backbone_checkpoints`, attach one "
                    "with `set_backbone`, or pass precomputed features."
                )
            path, arguments = self._locate(name)
            find_backbone(name, path, **arguments)
            self._found.add(name)

    def check_sampling(self, frame_sampling: Mapping[str, str]) -> None:
        """Check that features were computed from the frames that the backbones look at.

        Args:
            frame_sampling: What is known about it, see [`VideoFeatures`].

        Raises:
            ValueError: A backbone looks at other frames.
        """
        for name, found in frame_sampling.items():
            expected = self._sampling(name)
            if expected is not None and found != expected:
                raise ValueError(
                    f"The features of the backbone {name!r} are of the frame sampling {found!r}, those of this model of "
                    f"{expected!r}: extract them again with the model's backbone."
                )

    def _sampling(self, name: str) -> str | None:
        if name in self._loaded:
            return self._loaded[name].sampling
        if name not in self.checkpoints:
            return None
        try:
            path, arguments = self._locate(name)
            return get_backbone_class(name, self._origins.get(name)).sampling_of(path, **arguments)
        except (ValueError, OSError):
            # Features can be used where their backbone cannot be run.
            return None

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        """Run all backbones, also those loaded later, on this device and in this floating-point type."""
        self._device = device if device is not None else self._device
        self._dtype = dtype if dtype is not None else self._dtype
        for backbone in self._loaded.values():
            backbone.to(device, dtype)

    @property
    def origins(self) -> dict[str, str]:
        """For each backbone that is not this package's own, the package or module that provides it."""
        used = self._video_dims | self._text_dims
        return {name: origin for name, origin in self._origins.items() if name in used} | backbone_origins(used)

    @property
    def saved_checkpoints(self) -> dict[str, str]:
        """Where the backbones are once saved: in `backbones/<name>` if they were attached or came from a folder."""
        return {**self.checkpoints, **{name: f"{BACKBONES_FOLDER}/{name}" for name in self._to_save()}}

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write the backbones to where `saved_checkpoints` says, inside a folder."""
        for name in self._to_save():
            self.get(name).save_pretrained(os.path.join(save_directory, BACKBONES_FOLDER, name))

    def _to_save(self) -> list[str]:
        return [name for name in self._video_dims | self._text_dims if name in self._attached or self._is_local(name)]

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

    @property
    def _is_from_hub(self) -> bool:
        """Whether the checkpoints were named by a Hub repository, and not by the user or a folder of this machine."""
        return not self._is_given_by_user and self._home is not None and not os.path.isdir(self._home)

    def _is_local(self, name: str) -> bool:
        checkpoint = self.checkpoints.get(name)
        if checkpoint is None:
            return False
        return self._is_relative(checkpoint) or (not self._is_from_hub and os.path.exists(checkpoint))

    def _is_relative(self, checkpoint: str) -> bool:
        if os.path.isabs(checkpoint) or _leads_out(checkpoint):
            return False
        if checkpoint.replace(os.sep, "/").startswith(f"{BACKBONES_FOLDER}/"):
            return True
        return self._home is not None and os.path.isdir(self._beside(self._home, checkpoint))

    def _beside(self, home: str, checkpoint: str) -> str:
        return os.path.join(home, self._home_arguments.get("subfolder", ""), checkpoint)

    def _locate(self, name: str) -> tuple[str, dict[str, Any]]:
        """Path or Hub id to load a checkpoint from, and the arguments that go with it."""
        checkpoint = self.checkpoints[name]
        if not self._is_relative(checkpoint):
            self._check_is_allowed(name, checkpoint)
            # A revision or subfolder is of the processor's own repository.
            elsewhere = self._home_arguments.keys() - {"revision", "subfolder"}
            return checkpoint, {argument: self._home_arguments[argument] for argument in sorted(elsewhere)}
        if self._home is None:
            raise ValueError(
                f"The backbone checkpoint {checkpoint!r} is relative to the folder of a saved processor, but this "
                "processor was not loaded from one. Give an absolute path."
            )
        if os.path.isdir(self._home):
            folder = self._beside(self._home, checkpoint)
            if not os.path.isdir(folder):
                raise FileNotFoundError(f"The processor's backbone is missing: there is no folder {folder}.")
            return folder, {}
        subfolder = "/".join(filter(None, [self._home_arguments.get("subfolder", ""), checkpoint]))
        return self._home, {**self._home_arguments, "subfolder": subfolder}

    def _check_is_allowed(self, name: str, checkpoint: str) -> None:
        if self._is_given_by_user:
            return
        if _leads_out(checkpoint) or (self._is_from_hub and os.path.isabs(checkpoint)):
            raise ValueError(
                f"{self._home} names {checkpoint!r} as the checkpoint of the backbone {name!r}, which is outside of it: "
                f"name a checkpoint that you trust in `backbone_checkpoints` (--backbone {name}=PATH_OR_ID)."
            )


def _leads_out(checkpoint: str) -> bool:
    """Whether a path has a step up. Read as text: links, as in the Hub's cache, may lead anywhere."""
    return ".." in checkpoint.replace("\\", "/").split("/")
