"""BLIP-2's Q-Former as a backbone: video features from its first query token, text features from every token."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoTokenizer, Blip2ForImageTextRetrieval, BlipImageProcessorPil
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from ..common.batches import iterate_batches
from .base import FeatureBackbone, load_complete_model

# What BLIP-2's own preprocessing does to a sentence.
_DROPPED_CHARACTERS = re.compile(r'[.!"()*#:;~]')
_MAX_WORDS = 50


class Blip2Backbone(FeatureBackbone):
    """BLIP-2 (stage 1): the Q-Former's first query token for a clip's frame; its last hidden state of every token.

    The Q-Former reads images and text with the same weights: one image-text model serves both, held once. Its
    features are those before the projections into the space where images and text are compared.

    Args:
        model: A BLIP-2 for image-text retrieval. It is put into evaluation mode.
        tokenizer: Its tokenizer.
        image_processor: Its image processor; by default BLIP's own normalisation at the model's image size.
        batch_size: Frames, or sentences, that pass through the model at once.

    Raises:
        ValueError: The model's Q-Former reads no text.
    """

    name = "blip2"
    frames_per_clip = 1

    def __init__(
        self,
        model: Blip2ForImageTextRetrieval,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: BlipImageProcessorPil | None = None,
        batch_size: int = 64,
    ):
        if not model.config.qformer_config.use_qformer_text_input:
            raise ValueError(
                "This BLIP-2 cannot encode text, it was made for captions: load one for image-text retrieval, such as "
                "Salesforce/blip2-itm-vit-g."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.frame_size = model.config.vision_config.image_size
        self.image_processor = image_processor or BlipImageProcessorPil(
            size={"height": self.frame_size, "width": self.frame_size}
        )
        self.batch_size = batch_size
        self.video_dim = self.text_dim = model.config.qformer_config.hidden_size

    @property
    def max_text_length(self) -> int:
        """Tokens that the Q-Former has positions for, [CLS] and [SEP] included."""
        return self.model.config.qformer_config.max_position_embeddings

    @torch.inference_mode()
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """First query token of each frame, (T, H, W, 3) uint8 to (T, video_dim) float32."""
        features = []
        for batch in iterate_batches(frames, self.batch_size):
            pixels = self.image_processor(list(batch), return_tensors="pt")["pixel_values"]
            pixels = pixels.to(self.model.device, self.model.vision_model.dtype)
            image = self.model.vision_model(pixel_values=pixels).last_hidden_state
            output = self.model.qformer(
                query_embeds=self.model.query_tokens.expand(len(image), -1, -1),
                encoder_hidden_states=image,
                encoder_attention_mask=torch.ones(image.shape[:-1], dtype=torch.long, device=image.device),
            )
            features.append(output.last_hidden_state[:, 0].float().cpu().numpy())
        return np.concatenate(features)

    @torch.inference_mode()
    def encode_text(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Last hidden state of every token, one (num_tokens, text_dim) float32 array a sentence.

        As BLIP-2 prepares text: in lower case, each of `. ! " ( ) * # : ; ~` taken for a space, and 50 words at most.
        What goes beyond these, or beyond the Q-Former's positions (512 tokens in the public model), is cut off with a
        warning.
        """
        features = []
        for batch in iterate_batches(list(sentences), self.batch_size):
            batch = [_prepare(sentence) for sentence in batch]
            self._warn_if_too_long(batch)
            tokens = self.tokenizer(
                batch,
                padding=True,
                padding_side="right",
                truncation=True,
                max_length=self.max_text_length,
                return_tensors="pt",
            ).to(self.model.device)
            output = self.model.qformer(
                query_embeds=self.model.embeddings(input_ids=tokens["input_ids"]),
                query_length=0,
                attention_mask=tokens["attention_mask"],
            )
            states = output.last_hidden_state.float().cpu().numpy()
            lengths = tokens["attention_mask"].sum(dim=1).tolist()
            features += [state[:length] for state, length in zip(states, lengths, strict=True)]
        return features

    def _warn_if_too_long(self, sentences: list[str]) -> None:
        for sentence, ids in zip(sentences, self.tokenizer(sentences, verbose=False)["input_ids"], strict=True):
            if len(ids) > self.max_text_length:
                warnings.warn(
                    f"The sentence {sentence[:60]!r}... has {len(ids)} tokens, the Q-Former takes "
                    f"{self.max_text_length}: the rest is cut off.",
                    stacklevel=3,
                )

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Blip2Backbone:
        """Move the model to a device, or convert its image encoder to a floating-point type; return the backbone.

        The Q-Former stays in single precision, as transformers keeps it when it loads a float16 model.
        """
        self.model.to(device=device, dtype=dtype)
        if dtype is not None:
            self.model.qformer.float()
            self.model.query_tokens.data = self.model.query_tokens.data.float()
        return self

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write the model, the tokenizer and the image processor into a folder, as transformers lays them out."""
        for part in (self.model, self.tokenizer, self.image_processor):
            part.save_pretrained(save_directory)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **hub_kwargs,
    ) -> Blip2Backbone:
        """Load a BLIP-2 for image-text retrieval, such as `Salesforce/blip2-itm-vit-g`.

        See [`FeatureBackbone.from_pretrained`].
        """
        name = os.fspath(pretrained_model_name_or_path)
        model = load_complete_model(Blip2ForImageTextRetrieval, name, dtype, **hub_kwargs)
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_kwargs)
        image_processor = BlipImageProcessorPil.from_pretrained(name, **hub_kwargs)
        return cls(model, tokenizer, image_processor).to(device, dtype or torch.float32)


def _prepare(sentence: str) -> str:
    words = _DROPPED_CHARACTERS.sub(" ", sentence.lower()).split()
    if len(words) > _MAX_WORDS:
        warnings.warn(
            f"The sentence {sentence[:60]!r}... has {len(words)} words, BLIP-2 takes {_MAX_WORDS}: the rest is cut off.",
            stacklevel=4,
        )
    return " ".join(words[:_MAX_WORDS])


__all__ = ["Blip2Backbone"]
