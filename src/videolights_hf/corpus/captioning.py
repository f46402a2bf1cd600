"""Captions of frames, by any image-to-text model of transformers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from ..common.messages import did_you_mean
from .models import DEFAULT_BATCH_SIZE, PictureModel, as_pictures

DEFAULT_GENERATION: dict[str, Any] = {"max_new_tokens": 30, "num_beams": 3, "do_sample": False}
# The question for a model with a chat template, unless there is a prompt.
CHAT_PROMPT = "Describe the picture in one short sentence."


class Captioner(PictureModel):
    """Writes a caption for a frame: BLIP, BLIP-2, GIT, LLaVA and whatever else `AutoModelForImageTextToText` loads.

    Args:
        prompt: Text that the caption continues, and that is removed from it (BLIP, BLIP-2). A model with a chat
            template is asked this instead of `CHAT_PROMPT`.
        generation: Arguments of `generate`, on top of `DEFAULT_GENERATION`.
        batch_size: Frames that pass through the model at once.

    Raises:
        ValueError: `generate` has no such argument; the nearest one is named.
    """

    kind = "captioner"

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        prompt: str | None = None,
        generation: Mapping[str, Any] | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ):
        super().__init__(model, processor, batch_size)
        known = GenerationConfig().to_dict()
        for name in generation or {}:
            if name not in known:
                raise ValueError(f"Unknown argument of generate {name!r}.{did_you_mean(name, known)}")
        self.prompt = prompt
        self.generation = {**DEFAULT_GENERATION, **(generation or {})}

    @classmethod
    def _model_class(cls, config: PreTrainedConfig, name: str) -> Any:
        if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            raise ValueError(
                f"{name} is a model of the type {config.model_type!r}, which cannot write captions. Name "
                "one that transformers loads for image-text-to-text, such as a BLIP or BLIP-2."
            )
        return AutoModelForImageTextToText

    @property
    def continues_prompts(self) -> bool:
        """Whether captions may continue a prompt: BLIP and BLIP-2 were trained this way, other models were not."""
        has_chat = bool(getattr(self.processor, "chat_template", None))
        return self.model.config.model_type in ("blip", "blip-2") and not has_chat

    @property
    def identity(self) -> dict[str, Any]:
        """Checkpoint, prompt and settings of the generation."""
        return {**super().identity, "prompt": self.prompt, "generation": self.generation}

    @torch.inference_mode()
    def caption(self, frames: Sequence[np.ndarray]) -> list[str]:
        """Captions, one line each; empty where the model found no words.

        Args:
            frames: (H, W, 3) uint8 RGB each; sizes may differ.
        """
        return self.run_in_batches(self._caption_batch, frames)

    def _caption_batch(self, frames: Sequence[np.ndarray]) -> list[str]:
        inputs = self.to_device(self._inputs(as_pictures(frames)))
        if "token_type_ids" not in inspect.signature(self.model.forward).parameters:
            # BERT's tokenizers make them for models that do not take them.
            inputs.pop("token_type_ids", None)
        written = self._generate(inputs)
        if not isinstance(written, torch.Tensor) or len(written) != len(frames):
            raise ValueError(f"One caption per frame is needed; {self.generation} gives something else.")
        prompts = inputs.get("input_ids")
        return [self._decode(ids, None if prompts is None else prompts[row]) for row, ids in enumerate(written)]

    def _generate(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        try:
            return self.model.generate(**inputs, **self.generation)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # What values transformers cannot use make it raise nearly anything.
            raise ValueError(f"The captioner cannot generate with {self.generation}: {error}") from error

    def _inputs(self, pictures: list) -> Any:
        if getattr(self.processor, "chat_template", None):
            ask = {"type": "text", "text": self.prompt or CHAT_PROMPT}
            chats: Any = [
                [{"role": "user", "content": [{"type": "image", "image": picture}, ask]}] for picture in pictures
            ]
            return self.processor.apply_chat_template(
                chats,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                padding=True,
                padding_side="left",
            )
        if self.prompt is None:
            return self.processor(images=pictures, return_tensors="pt")
        return self.processor(images=pictures, text=[self.prompt] * len(pictures), return_tensors="pt")

    def _decode(self, ids: torch.Tensor, prompt: torch.Tensor | None) -> str:
        if prompt is not None:
            # Some models repeat the prompt (BLIP without its last token), others return only the new text.
            shared = min(len(ids), len(prompt))
            differs = (ids[:shared] != prompt[:shared]).nonzero()
            ids = ids[int(differs[0]) if len(differs) else shared :]
        text = self.processor.tokenizer.decode(
            [token for token in ids.tolist() if token not in self._special_ids], skip_special_tokens=True
        )
        return " ".join(text.split())

    @property
    def _special_ids(self) -> set[int | None]:
        """Tokens that stand for no text, also where the tokenizer does not know it (BLIP's `[DEC]`)."""
        config = self.model.config
        text_config = config.get_text_config(decoder=True)
        marks = ("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id")
        special = {getattr(text_config, mark, None) for mark in marks}
        return special | {getattr(config, "image_token_index", None), *self.processor.tokenizer.all_special_ids}
