"""What captioners and scorers share: loading, and batches that shrink when memory runs out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import AutoConfig, AutoProcessor, PreTrainedConfig, PreTrainedModel, ProcessorMixin

from ..backbones.checkpoints import weights_digest
from ..common.batches import run_in_batches
from ..common.loading import load_complete_model

DEFAULT_BATCH_SIZE = 32

_PictureModel = TypeVar("_PictureModel", bound="PictureModel")


class PictureModel(ABC):
    """A model that looks at pictures, with its processor.

    Args:
        model: It is put into evaluation mode.
        processor: Makes the model's inputs.
        batch_size: Pictures that pass through the model at once. It is halved, with a warning, when memory runs out.

    Attributes:
        name: Where the model was loaded from.
    """

    kind = "model"

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, batch_size: int = DEFAULT_BATCH_SIZE):
        if batch_size < 1:
            raise ValueError(f"The batch size must be at least 1, got {batch_size}.")
        self.model = model.eval()
        self.processor = processor
        self.batch_size = batch_size
        self.name = model.config._name_or_path

    @classmethod
    def from_pretrained(
        cls: type[_PictureModel],
        name: str | os.PathLike,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> _PictureModel:
        """Load a model and its processor.

        Args:
            name: Folder or Hub id.
            device: CPU by default.
            dtype: float32 by default.
            **options: Further arguments of the class.

        Raises:
            OSError: It cannot be loaded.
            ValueError: It is a model of another kind.
        """
        model_class = cls._model_class(load_config(name, cls.kind), os.fspath(name))
        return cls(*load_model(model_class, name, cls.kind, device, dtype), **options)

    @classmethod
    @abstractmethod
    def _model_class(cls, config: PreTrainedConfig, name: str) -> Any:
        """The class that loads a checkpoint with this configuration."""

    @property
    def identity(self) -> dict[str, Any]:
        """What distinguishes it from other models, to be stored beside what it made."""
        return {
            "checkpoint": self.name,
            "weights": weights_digest(list(self.model.state_dict().values())),
            "dtype": str(self.model.dtype).removeprefix("torch."),
        }

    def run_in_batches(self, function: Callable[..., list], *sequences: Sequence) -> list:
        """Call a function on batches of sequences of one length and join its results.

        Raises:
            ValueError: The model or its processor cannot do what its kind does, as their files are damaged.
        """
        try:
            return run_in_batches(self, f"the {self.kind}", function, *sequences)
        except (OSError, ValueError, ImportError, MemoryError, torch.OutOfMemoryError):
            raise
        # What damaged files lead to depends on the libraries below.
        except Exception as error:
            raise ValueError(
                f"The {self.kind} {self.name} cannot be used ({type(error).__name__}: {error}). Download it again."
            ) from error

    def to_device(self, inputs: Any) -> dict[str, torch.Tensor]:
        """The processor's tensors on the model's device, pixels in its floating-point type."""
        return {
            name: value.to(self.model.device, self.model.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }


def load_config(name: str | os.PathLike, kind: str) -> PreTrainedConfig:
    """The configuration of a checkpoint.

    Raises:
        OSError: It cannot be loaded; the message names `kind` and the checkpoint.
    """
    path = os.fspath(name)
    if not Path(path).is_dir() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise FileNotFoundError(f"There is no folder {path} to load the {kind} from.")
    return _named(lambda: AutoConfig.from_pretrained(path), path, kind)


def load_model(
    model_class: Any, name: str | os.PathLike, kind: str, device: str | torch.device | None, dtype: torch.dtype | None
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model with all its weights, and its processor, which needs no torchvision.

    Raises:
        OSError: It cannot be loaded, or lacks weights, because it is for another task. The message names `kind` and
            the checkpoint.
    """
    path = os.fspath(name)
    model = _named(lambda: load_complete_model(model_class, path, dtype), path, kind)
    processor = _named(lambda: AutoProcessor.from_pretrained(path, backend="pil"), path, kind)
    return model.to(device), processor


def as_pictures(frames: Sequence[np.ndarray]) -> list:
    """Arrays (H, W, 3) uint8 as PIL images, whose layout no processor has to guess."""
    from PIL import Image

    return [Image.fromarray(frame) for frame in frames]


def _named(load: Callable[[], Any], path: str, kind: str) -> Any:
    try:
        return load()
    except ImportError:
        raise
    # What a broken connection or a damaged file raises depends on the libraries below.
    except Exception as error:
        raise OSError(
            f"The {kind} {path} cannot be loaded: {error} If a download was interrupted, repeat the command to "
            "continue it."
        ) from error
