"""The interface of the frozen backbones: frames or sentences in, features out.

What a backbone needs (the size of its frames, how many per clip) and gives (a name, widths) is stated by its
attributes, so that one decoding pass serves all of them and callers know none by name.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from ..common.loading import find_model, no_bars_in_logs
from ..video.sampling import FrameRequirement, Sampling

Model = TypeVar("Model", bound=PreTrainedModel)
AnyBackbone = TypeVar("AnyBackbone", bound="FeatureBackbone")
AnyModelBackbone = TypeVar("AnyModelBackbone", bound="ModelBackbone")


class FeatureBackbone(ABC):
    """A frozen model that turns frames, and maybe sentences, into features.

    Attributes:
        name: The name under which configurations and feature dictionaries know it.
        video_dim: Width of its clip features.
        text_dim: Width of its token features, or `None` if it has no text encoder.
        frame_size: Side in pixels of the square frames that it takes.
        frames_per_clip: Frames that it looks at in each clip.
        sampling: Which frames of a clip: `"even"`, or `"30fps"`, as the published SlowFast features were made.
        batch_size: Clips or sentences per forward pass. It may be set at any time.
        default_checkpoint: Hub id or address of the checkpoint that is used where none is named, if there is one.
    """

    name: ClassVar[str]
    video_dim: int
    text_dim: int | None
    frame_size: int
    frames_per_clip: int = 1
    sampling: Sampling = "even"
    batch_size: int = 64
    default_checkpoint: ClassVar[str | None] = None

    @property
    def requirement(self) -> FrameRequirement:
        """What it asks of the video reader."""
        return FrameRequirement(self.frame_size, self.frames_per_clip, self.sampling)

    @abstractmethod
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """Compute features of clips.

        Args:
            frames: (num_clips * frames_per_clip, frame_size, frame_size, 3) uint8 RGB.

        Returns:
            (num_clips, video_dim) float32, not normalized.
        """

    def encode_text(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Compute features of the tokens of sentences.

        Returns:
            For each sentence (num_tokens, text_dim) float32, not normalized.

        Raises:
            ValueError: The backbone has no text encoder.
        """
        raise ValueError(f"The backbone {self.name!r} has no text encoder.")

    def pool_text(self, tokens: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Make one vector of each sentence's token features, if the encoder has such a vector.

        Args:
            tokens: The sentences' token features, as `encode_text` gives them.

        Returns:
            For each sentence (D,) float32, not normalized; `None` if the encoder has no vector for a whole sentence.
        """
        return None

    @abstractmethod
    def to(
        self: AnyBackbone, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> AnyBackbone:
        """Move it to a device, or convert it to a floating-point type, and return it."""

    @abstractmethod
    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write all that `from_pretrained` needs into a folder."""

    @classmethod
    def find(cls, name_or_path: str, **hub_kwargs: Any) -> None:
        """Check that a checkpoint exists, before anything is loaded or downloaded.

        Raises:
            OSError: The checkpoint does not exist or has no weights.
        """
        if os.path.isabs(name_or_path) and not os.path.exists(name_or_path):
            raise FileNotFoundError(f"There is no folder {name_or_path}.")

    @classmethod
    def sampling_of(cls, name_or_path: str, **hub_kwargs: Any) -> Sampling | None:
        """The `sampling` of a checkpoint, without loading its weights; `None` if that cannot be told offline."""
        return cls.sampling

    @classmethod
    @abstractmethod
    def from_pretrained(
        cls: type[AnyBackbone],
        pretrained_model_name_or_path: str | os.PathLike,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **hub_kwargs: Any,
    ) -> AnyBackbone:
        """Load it from a folder or a Hub repository.

        Args:
            pretrained_model_name_or_path: Folder or Hub id.
            device: Where it runs; the CPU by default.
            dtype: Floating-point type it computes in; float32 by default, whatever the weights are stored in.
            **hub_kwargs: Passed to the libraries' `from_pretrained` (`subfolder`, `revision`, `token`, ...).

        Raises:
            OSError: The checkpoint does not exist, is incomplete or damaged.
        """


class ModelBackbone(FeatureBackbone, Generic[Model]):
    """A backbone around one transformers model.

    Args:
        model: The model. It is put into evaluation mode.
        batch_size: Clips or sentences per forward pass.
    """

    model: Model

    def __init__(self, model: Model, batch_size: int):
        self.model = model.eval()
        self.batch_size = batch_size

    def to(
        self: AnyModelBackbone, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> AnyModelBackbone:
        """See [`FeatureBackbone.to`]."""
        self.model.to(device=device, dtype=dtype)
        return self

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """See [`FeatureBackbone.save_pretrained`]."""
        with no_bars_in_logs():
            self.model.save_pretrained(save_directory)

    @classmethod
    def from_pretrained(
        cls: type[AnyModelBackbone],
        pretrained_model_name_or_path: str | os.PathLike,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **hub_kwargs: Any,
    ) -> AnyModelBackbone:
        """See [`FeatureBackbone.from_pretrained`]."""
        dtype = dtype or torch.float32
        return cls._load(os.fspath(pretrained_model_name_or_path), dtype, **hub_kwargs).to(device, dtype)

    @classmethod
    def find(cls, name_or_path: str, **hub_kwargs: Any) -> None:
        """See [`FeatureBackbone.find`]."""
        find_model(name_or_path, **hub_kwargs)

    @classmethod
    @abstractmethod
    def _load(cls: type[AnyModelBackbone], name: str, dtype: torch.dtype, **hub_kwargs: Any) -> AnyModelBackbone:
        """Load the model, and what goes with it, on the CPU."""


__all__ = ["FeatureBackbone", "ModelBackbone"]
