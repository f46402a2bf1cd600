"""What backbones share that encode one frame per clip with an image encoder, and every token with a text encoder."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from transformers import AutoTokenizer, BaseImageProcessor, BatchEncoding
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from ..common.batches import iterate_batches
from ..common.loading import load_complete_model
from .base import Model, ModelBackbone

AnyImageTextBackbone = TypeVar("AnyImageTextBackbone", bound="ImageTextBackbone")


class ImageTextBackbone(ModelBackbone[Model]):
    """A model of images and text: a feature for each frame, and one for each token.

    The image encoder is the model's `vision_model`. A subclass sets `video_dim`, `text_dim` and `max_text_length`, and
    says which of the model's tensors are the features.

    Args:
        model: The model. It is put into evaluation mode.
        tokenizer: Its tokenizer.
        image_processor: Its image processor; by default the one of `default_image_processor`.
        batch_size: Frames or sentences per forward pass.

    Attributes:
        max_text_length: Tokens that the text encoder takes, special tokens included.

    Raises:
        ValueError: The model takes no square pictures, or the image processor makes pictures of another size.
    """

    model_class: ClassVar[Any]
    image_processor_class: ClassVar[Any]
    # What warnings call the part that reads text.
    text_encoder_name: ClassVar[str] = "text encoder"
    max_text_length: int

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: BaseImageProcessor | None = None,
        batch_size: int = 64,
    ):
        super().__init__(model, batch_size)
        image_encoder: Any = model.get_submodule("vision_model")
        if tokenizer is not None and not isinstance(tokenizer.model_max_length, (int, float)):
            raise ValueError(
                f"The tokenizer's `model_max_length` is {tokenizer.model_max_length!r}, not a number: correct "
                "tokenizer_config.json."
            )
        self.tokenizer = tokenizer
        self.frame_size = _square_side(image_encoder.config.image_size)
        self.image_processor = image_processor or self.default_image_processor(self.frame_size)
        _check_picture_size(self.image_processor, self.frame_size)
        if not isinstance(self.image_processor, _MissingImageProcessor):
            _try_picture(self.image_processor, self.frame_size)

    @classmethod
    @abstractmethod
    def default_image_processor(cls, size: int) -> BaseImageProcessor:
        """The image processor of a model that came without one."""

    @abstractmethod
    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features (B, video_dim) of normalized pixels (B, 3, frame_size, frame_size)."""

    @abstractmethod
    def token_features(self, tokens: BatchEncoding) -> torch.Tensor:
        """Features (B, N, text_dim) of tokenized sentences, padded on the right."""

    def prepare_sentence(self, sentence: str) -> str:
        """What is done to a sentence before it is tokenized."""
        return sentence

    @torch.inference_mode()
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """See [`FeatureBackbone.encode_frames`]."""
        features = []
        for batch in iterate_batches(frames, self.batch_size):
            pixels = self.image_processor(list(batch), return_tensors="pt")["pixel_values"]
            features.append(self.image_features(pixels.to(self.model.device)).float().cpu().numpy())
        return np.concatenate(features)

    @torch.inference_mode()
    def encode_text(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Compute features of every token, special tokens included, (num_tokens, text_dim) float32 per sentence.

        What exceeds the tokens that the text encoder takes is cut off with a warning.
        """
        features = []
        for batch in iterate_batches([self.prepare_sentence(sentence) for sentence in sentences], self.batch_size):
            tokens = self._usable_tokens(batch).to(self.model.device)
            states = self._known_token_features(tokens).float().cpu().numpy()
            lengths = tokens["attention_mask"].sum(dim=1).tolist()
            features += [state[:length] for state, length in zip(states, lengths, strict=True)]
        return features

    def tokenize(self, sentences: list[str]) -> BatchEncoding:
        """Tokens of sentences, padded on the right and cut to what the text encoder takes, with an attention mask."""
        return self.tokenizer(
            sentences,
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self.max_text_length,
            return_tensors="pt",
        )

    def _usable_tokens(self, sentences: list[str]) -> BatchEncoding:
        try:
            self._warn_if_too_long(sentences)
            return self.tokenize(sentences)
        # What a damaged file leads to depends on the libraries below.
        except (TypeError, AttributeError, LookupError, ArithmeticError) as error:
            raise ValueError(
                f"The tokenizer of {self.name} cannot be used ({type(error).__name__}: {error}): its files are damaged."
            ) from error

    def _known_token_features(self, tokens: BatchEncoding) -> torch.Tensor:
        try:
            return self.token_features(tokens)
        except IndexError as error:
            raise ValueError(
                f"The tokenizer of {self.name} gives tokens that the model does not have ({error}): its files are "
                "damaged, or of another model."
            ) from error

    def _warn_if_too_long(self, sentences: list[str]) -> None:
        for sentence, ids in zip(sentences, self.tokenizer(sentences, verbose=False)["input_ids"], strict=True):
            if len(ids) > self.max_text_length:
                warnings.warn(
                    f"The sentence {sentence[:60]!r}... has {len(ids)} tokens, the {self.text_encoder_name} takes "
                    f"{self.max_text_length}: the rest is cut off.",
                    stacklevel=5,
                )

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write model, tokenizer and image processor into a folder, as transformers lays them out."""
        super().save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)
        self.image_processor.save_pretrained(save_directory)

    @classmethod
    def _load(
        cls: type[AnyImageTextBackbone], name: str, dtype: torch.dtype, **hub_kwargs: Any
    ) -> AnyImageTextBackbone:
        model = load_complete_model(cls.model_class, name, dtype, **hub_kwargs)
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_kwargs)
        return cls(model, tokenizer, cls.load_image_processor(name, **hub_kwargs))

    @classmethod
    def load_image_processor(cls, name: str, **hub_kwargs: Any) -> BaseImageProcessor:
        """The image processor of a checkpoint; without Pillow, one that fails when it is used, as sentences need none."""
        try:
            return cls.image_processor_class.from_pretrained(name, **hub_kwargs)
        except ImportError as error:
            return cast(BaseImageProcessor, _MissingImageProcessor(cls.name, error))


class _MissingImageProcessor:
    """Stands for an image processor that cannot be imported."""

    def __init__(self, backbone: str, cause: ImportError):
        self._backbone = backbone
        self._cause = cause

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise ImportError(
            f'The backbone {self._backbone!r} needs Pillow for frames: pip install "videolights-hf[video]".'
        ) from self._cause

    save_pretrained = __call__


def _square_side(image_size: Any) -> int:
    sides = {image_size} if isinstance(image_size, int) else set(image_size or ())
    if len(sides) != 1:
        raise ValueError(f"The model takes pictures of the size {image_size}; backbones need square ones.")
    return sides.pop()


def _check_picture_size(image_processor: BaseImageProcessor, side: int) -> None:
    # A damaged configuration can ask for pictures too large for any memory.
    for field in ("size", "crop_size"):
        sizes = dict(getattr(image_processor, field, None) or {})
        others = {name: value for name, value in sizes.items() if value not in (None, side)}
        if others:
            raise ValueError(
                f"The image processor's `{field}` is {others}, but the model takes pictures of {side} pixels: correct "
                "preprocessor_config.json."
            )


def _try_picture(image_processor: BaseImageProcessor, side: int) -> None:
    """Refuse a processor whose settings make no numbers of a picture, before hours of work begin."""
    try:
        with torch.device("cpu"):
            pixels = image_processor([np.zeros((side, side, 3), np.uint8)], return_tensors="pt")["pixel_values"]
        fits = pixels.shape == (1, 3, side, side) and bool(torch.isfinite(pixels).all())
    except ImportError:
        raise
    # What a damaged file leads to depends on the libraries below.
    except Exception as error:
        raise ValueError(
            f"The image processor cannot be used ({type(error).__name__}: {error}): correct preprocessor_config.json."
        ) from error
    if not fits:
        raise ValueError(
            f"The image processor makes no {side} x {side} pixels of finite numbers: correct preprocessor_config.json."
        )


__all__ = ["ImageTextBackbone"]
