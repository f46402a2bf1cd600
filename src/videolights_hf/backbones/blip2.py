"""BLIP-2's Q-Former as a backbone: its first query token for each frame, and its last hidden state of every token."""

from __future__ import annotations

import re
import warnings

import torch
from transformers import BatchEncoding, Blip2ForImageTextRetrieval, BlipImageProcessorPil
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from .base import AnyModelBackbone
from .image_text import ImageTextBackbone

# What BLIP-2's own preprocessing does to a sentence.
_DROPPED_CHARACTERS = re.compile(r'[.!"()*#:;~]')
_MAX_WORDS = 50


class Blip2Backbone(ImageTextBackbone[Blip2ForImageTextRetrieval]):
    """BLIP-2 (stage 1): the Q-Former's first query token for a clip's frame, and its last hidden state of every token.

    The Q-Former reads images and text with the same weights: one image-text model serves both, held once. Its
    features are those before the projections into the space where images and text are compared.

    Args:
        model: A BLIP-2 for image-text retrieval, such as `Salesforce/blip2-itm-vit-g`. It is put into evaluation mode.
        tokenizer: Its tokenizer.
        image_processor: Its image processor; by default BLIP's own normalization at the model's image size.
        batch_size: Frames or sentences per forward pass.

    Raises:
        ValueError: The model's Q-Former reads no text.
    """

    name = "blip2"
    default_checkpoint = "Salesforce/blip2-itm-vit-g"
    model_class = Blip2ForImageTextRetrieval
    image_processor_class = BlipImageProcessorPil
    text_encoder_name = "Q-Former"

    def __init__(
        self,
        model: Blip2ForImageTextRetrieval,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: BlipImageProcessorPil | None = None,
        batch_size: int = 64,
    ):
        qformer_config = model.qformer.config
        if not qformer_config.use_qformer_text_input:
            raise ValueError(
                "This BLIP-2 was made for captions and cannot encode text: load one for image-text retrieval, such as "
                f"{self.default_checkpoint}."
            )
        super().__init__(model, tokenizer, image_processor, batch_size)
        self.video_dim = self.text_dim = qformer_config.hidden_size
        self.max_text_length = qformer_config.max_position_embeddings

    @classmethod
    def default_image_processor(cls, size: int) -> BlipImageProcessorPil:
        """See [`ImageTextBackbone.default_image_processor`]."""
        return BlipImageProcessorPil(size={"height": size, "width": size})

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """The Q-Former's output for its first query."""
        image = self.model.vision_model(pixel_values=pixels.to(self.model.vision_model.dtype)).last_hidden_state
        output = self.model.qformer(
            # Not `len(image)`, which a graph of this would fix.
            query_embeds=self.model.query_tokens.expand(image.shape[0], -1, -1),
            encoder_hidden_states=image,
            encoder_attention_mask=torch.ones(image.shape[:-1], dtype=torch.long, device=image.device),
        )
        return output.last_hidden_state[:, 0]

    def token_features(self, tokens: BatchEncoding) -> torch.Tensor:
        """The Q-Former's last hidden states."""
        output = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=tokens["input_ids"]),
            query_length=0,
            attention_mask=tokens["attention_mask"],
        )
        return output.last_hidden_state

    def prepare_sentence(self, sentence: str) -> str:
        """Lower the case, take each of `. ! " ( ) * # : ; ~` for a space, and keep at most 50 words, as BLIP-2 does."""
        words = clean_words(sentence)
        if len(words) > _MAX_WORDS:
            warnings.warn(
                f"The sentence {sentence[:60]!r}... has {len(words)} words, BLIP-2 takes {_MAX_WORDS}: the rest is cut "
                "off.",
                stacklevel=4,
            )
        return " ".join(words[:_MAX_WORDS])

    def to(
        self: AnyModelBackbone, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> AnyModelBackbone:
        """Move the model, or convert its image encoder; the Q-Former stays in single precision.

        So transformers keeps it when it loads a float16 model.
        """
        self.model.to(device=device, dtype=dtype)
        if dtype is not None:
            self.model.qformer.float()
            self.model.query_tokens.data = self.model.query_tokens.data.float()
        return self


def clean_words(sentence: str) -> list[str]:
    """The words of a sentence as BLIP and BLIP-2 were trained: lower case, without `.!"()*#:;~`."""
    return _DROPPED_CHARACTERS.sub(" ", sentence.lower()).split()


__all__ = ["Blip2Backbone"]
