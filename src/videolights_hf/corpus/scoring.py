"""How well a caption fits a frame: by image-text matching (the release), or by the cosine of embeddings (the paper)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F
from transformers import (
    AutoModel,
    Blip2ForImageTextRetrieval,
    BlipForImageTextRetrieval,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from ..backbones.blip2 import clean_words
from ..common.messages import unknown_name
from .models import DEFAULT_BATCH_SIZE, PictureModel, as_pictures

_MAX_WORDS = 50
_MAX_MATCHED_TOKENS = 35
_RETRIEVAL_MODELS = {"blip": BlipForImageTextRetrieval, "blip-2": Blip2ForImageTextRetrieval}


class Scorer(PictureModel):
    """Scores pairs of a frame and a caption.

    Attributes:
        scoring: Kind of score, a key of `SCORERS`.
    """

    kind = "scorer"
    scoring: ClassVar[str]

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, batch_size: int = DEFAULT_BATCH_SIZE):
        super().__init__(model, processor, batch_size)
        self._check()

    @classmethod
    def _model_class(cls, config: PreTrainedConfig, name: str) -> Any:
        return _RETRIEVAL_MODELS.get(config.model_type, AutoModel)

    @property
    def identity(self) -> dict[str, Any]:
        """Checkpoint and kind of score."""
        return {**super().identity, "scoring": self.scoring}

    @torch.inference_mode()
    def score(self, frames: Sequence[np.ndarray], captions: Sequence[str]) -> list[float]:
        """Score each frame with the caption of the same index.

        Args:
            frames: (H, W, 3) uint8 RGB each.
            captions: One per frame.

        Returns:
            One score per pair.
        """
        if len(frames) != len(captions):
            raise ValueError(f"{len(frames)} frames and {len(captions)} captions do not pair up.")
        return self.run_in_batches(self._score_batch, frames, captions)

    def _score_batch(self, frames: Sequence[np.ndarray], captions: Sequence[str]) -> list[float]:
        pixels = self.processor.image_processor(as_pictures(frames), return_tensors="pt")
        text = self.processor.tokenizer(
            [self._prepare(caption) for caption in captions],
            padding=True,
            truncation=True,
            max_length=self._max_text_length,
            return_token_type_ids=False,
            return_tensors="pt",
        )
        inputs = self.to_device({**pixels, **text})
        return self._scores(**inputs).float().cpu().tolist()

    def _prepare(self, caption: str) -> str:
        return caption

    @property
    def _max_text_length(self) -> int:
        config = self.model.config
        text_config = config.qformer_config if hasattr(config, "qformer_config") else config.text_config
        return text_config.max_position_embeddings

    def _blip2(
        self, pixel_values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor, matching: bool
    ) -> torch.Tensor:
        config = self.model.config
        if config.image_token_index is not None:
            # Checkpoints of this kind expect places for the picture before the text, and cut them off again.
            places = input_ids.new_full((len(input_ids), config.num_query_tokens), config.image_token_index)
            input_ids = torch.cat([places, input_ids], dim=1)
            attention_mask = torch.cat([torch.ones_like(places), attention_mask], dim=1)
        return self.model(
            pixel_values=pixel_values,
            input_ids=input_ids,
            attention_mask=attention_mask,
            use_image_text_matching_head=matching,
        ).logits_per_image

    @abstractmethod
    def _check(self) -> None:
        """Refuse a model that cannot give this kind of score."""

    @abstractmethod
    def _scores(
        self, pixel_values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        """Scores (B,) of pairs."""


class MatchingScorer(Scorer):
    """Probability, by a matching head, that frame and caption belong together: `BlipForImageTextRetrieval`, BLIP-2's.

    As in the release, captions are cleaned (`clean_words`) and cut to 50 words and 35 tokens.
    """

    scoring = "matching"

    def _prepare(self, caption: str) -> str:
        return " ".join(clean_words(caption)[:_MAX_WORDS])

    @property
    def _max_text_length(self) -> int:
        return min(_MAX_MATCHED_TOKENS, super()._max_text_length)

    def _check(self) -> None:
        if not isinstance(self.model, tuple(_RETRIEVAL_MODELS.values())):
            raise ValueError(
                f"{self.name} is a {type(self.model).__name__}, which has no matching head: score by similarity, or "
                "name a BLIP or BLIP-2 that was trained for image-text retrieval."
            )

    def _scores(
        self, pixel_values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        if isinstance(self.model, Blip2ForImageTextRetrieval):
            logits = self._blip2(pixel_values, input_ids, attention_mask, matching=True)
        else:
            # Not by the model's own forward, which makes the picture's mask on the CPU.
            picture = self.model.vision_model(pixel_values).last_hidden_state
            states = self.model.text_encoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                encoder_hidden_states=picture,
                encoder_attention_mask=torch.ones(picture.shape[:2], dtype=torch.long, device=picture.device),
            ).last_hidden_state
            logits = self.model.itm_head(states[:, 0])
        return logits.float().softmax(dim=1)[:, 1]


class SimilarityScorer(Scorer):
    """Cosine similarity of the embeddings of frame and caption: BLIP, BLIP-2, CLIP and its kin.

    BLIP-2 gives an embedding for each of its query tokens: the nearest to the caption counts, as in its training.
    """

    scoring = "similarity"

    def _check(self) -> None:
        embeds = hasattr(self.model, "get_image_features") and hasattr(self.model, "get_text_features")
        if not embeds and not isinstance(self.model, tuple(_RETRIEVAL_MODELS.values())):
            raise ValueError(
                f"{self.name} is a {type(self.model).__name__}, which embeds no pictures and sentences together: "
                "name a CLIP, or a BLIP or BLIP-2 that was trained for image-text retrieval."
            )

    def _scores(
        self, pixel_values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        if isinstance(self.model, Blip2ForImageTextRetrieval):
            return self._blip2(pixel_values, input_ids, attention_mask, matching=False).diagonal()
        if isinstance(self.model, BlipForImageTextRetrieval):
            picture = self.model.vision_model(pixel_values).last_hidden_state
            states = self.model.text_encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            pictures, texts = self.model.vision_proj(picture[:, 0]), self.model.text_proj(states[:, 0])
        else:
            pictures = self.model.get_image_features(pixel_values).pooler_output
            texts = self.model.get_text_features(input_ids, attention_mask=attention_mask).pooler_output
        return F.cosine_similarity(pictures.float(), texts.float())


SCORERS: dict[str, type[Scorer]] = {scorer.scoring: scorer for scorer in (MatchingScorer, SimilarityScorer)}


def get_scorer_class(scoring: str) -> type[Scorer]:
    """The scorer class for a kind of score.

    Raises:
        ValueError: For an unknown kind, with the nearest known one.
    """
    if scoring not in SCORERS:
        raise ValueError(unknown_name("kind of score", scoring, SCORERS))
    return SCORERS[scoring]
