"""CLIP as a backbone: a projected embedding for each frame, and the last hidden state of every token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import BatchEncoding, CLIPImageProcessorPil, CLIPModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from .image_text import ImageTextBackbone


class ClipBackbone(ImageTextBackbone[CLIPModel]):
    """CLIP: the projected embedding of a clip's frame, and the last hidden state of every token.

    Token features are taken after the text encoder's final LayerNorm and before pooling, BOS and EOS included.

    Args:
        model: The CLIP model. It is put into evaluation mode.
        tokenizer: Its tokenizer.
        image_processor: Its image processor; by default CLIP's own normalization at the model's image size.
        batch_size: Frames or sentences per forward pass.
    """

    name = "clip"
    default_checkpoint = "openai/clip-vit-base-patch32"
    model_class = CLIPModel
    image_processor_class = CLIPImageProcessorPil

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: CLIPImageProcessorPil | None = None,
        batch_size: int = 64,
    ):
        super().__init__(model, tokenizer, image_processor, batch_size)
        text_config = model.text_model.config
        self.video_dim = model.visual_projection.out_features
        self.text_dim = text_config.hidden_size
        self.max_text_length = text_config.max_position_embeddings

    @classmethod
    def default_image_processor(cls, size: int) -> CLIPImageProcessorPil:
        """See [`ImageTextBackbone.default_image_processor`]."""
        return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """The projected embeddings."""
        return self.model.get_image_features(pixels.to(self.model.dtype)).pooler_output

    def token_features(self, tokens: BatchEncoding) -> torch.Tensor:
        """The text encoder's last hidden states."""
        return self.model.text_model(**tokens).last_hidden_state

    @torch.inference_mode()
    def pool_text(self, tokens: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The projected state of each sentence's last token, EOS: (projection_dim,) float32."""
        ends = torch.from_numpy(np.stack([states[-1] for states in tokens]))
        projected = self.model.text_projection(ends.to(self.model.device, self.model.dtype))
        return list(projected.float().cpu().numpy())


__all__ = ["ClipBackbone"]
