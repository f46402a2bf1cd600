"""Any CLIP-like model as a backbone whose frames and sentences compare: one embedding for each, in one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoImageProcessor,
    AutoModel,
    BaseImageProcessor,
    BatchEncoding,
    CLIPImageProcessorPil,
    PreTrainedModel,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from ..common.batches import iterate_batches
from .image_text import ImageTextBackbone


class SimilarityBackbone(ImageTextBackbone[PreTrainedModel]):
    """CLIP, SigLIP and their kin: the embedding of a clip's frame, and one embedding of the whole sentence.

    Unlike the token features of [`ClipBackbone`], the two are trained to compare by their cosine, without a detector.

    Args:
        model: A model with `get_image_features` and `get_text_features`, as `AutoModel` loads it.
        tokenizer: Its tokenizer.
        image_processor: Its image processor; by default CLIP's.
        batch_size: Frames or sentences per forward pass.

    Raises:
        ValueError: The model has no such embeddings, or takes no square pictures of a fixed size.
    """

    name = "similarity"
    default_checkpoint = "openai/clip-vit-base-patch32"
    model_class = AutoModel
    image_processor_class = AutoImageProcessor

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: BaseImageProcessor | None = None,
        batch_size: int = 64,
    ):
        if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
            raise ValueError(
                f"{type(model).__name__} does not compare pictures with sentences: name a CLIP-like model, such as "
                f"{self.default_checkpoint}."
            )
        super().__init__(model, tokenizer, image_processor, batch_size)
        self.max_text_length = model.config.text_config.max_position_embeddings
        self.video_dim = self.text_dim = self._embed_text([""]).shape[1]

    @property
    def scale(self) -> float:
        """What the model multiplies cosines by to get logits."""
        return float(self._network.logit_scale.detach().float().exp())

    @property
    def _network(self) -> Any:
        # Transformers has no class for models that compare pictures and text.
        return self.model

    @classmethod
    def default_image_processor(cls, size: int) -> BaseImageProcessor:
        """See [`ImageTextBackbone.default_image_processor`]."""
        return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """The embeddings of pictures."""
        return _pooled(self._network.get_image_features(pixels.to(self.model.dtype)))

    def token_features(self, tokens: BatchEncoding) -> torch.Tensor:
        """The embedding of each sentence, as its only token."""
        return _pooled(self._network.get_text_features(**tokens))[:, None]

    def tokenize(self, sentences: list[str]) -> BatchEncoding:
        """Tokens of sentences, padded as in training: SigLIP reads the padding as well."""
        is_siglip = self.model.config.model_type.startswith("siglip")
        return self.tokenizer(
            [sentence.lower() for sentence in sentences] if is_siglip else sentences,
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=self.max_text_length,
            return_tensors="pt",
            return_attention_mask=not is_siglip,
        )

    @torch.inference_mode()
    def encode_text(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Compute the embedding of each sentence, (1, text_dim) float32.

        What exceeds the tokens that the text encoder takes is cut off with a warning.
        """
        features: list[np.ndarray] = []
        for batch in iterate_batches(list(sentences), self.batch_size):
            features += [embedding[None] for embedding in self._embed_text(batch)]
        return features

    @torch.inference_mode()
    def _embed_text(self, sentences: list[str]) -> np.ndarray:
        tokens = self._usable_tokens(sentences).to(self.model.device)
        return self._known_token_features(tokens)[:, 0].float().cpu().numpy()


def _pooled(output: torch.Tensor) -> torch.Tensor:
    """The embeddings, which some models give inside an output."""
    return getattr(output, "pooler_output", output)


__all__ = ["SimilarityBackbone"]
