"""The frozen backbones behind one interface: frames or sentences in, features out.

What a backbone needs (the size of its frames, how many a clip) and gives (a name, widths) is stated by its
attributes, so that one decoding pass serves all of them and callers know none by name.
"""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from ..common.batches import iterate_batches
from ..video.reader import FrameRequirement

Model = TypeVar("Model", bound=PreTrainedModel)


class FeatureBackbone(ABC):
    """A frozen model that turns frames, and maybe sentences, into features.

    Attributes:
        name: The name under which configurations and feature dictionaries know it.
        video_dim: Width of its clip features.
        text_dim: Width of its token features, or `None` if it has no text encoder.
        frame_size: Side of the square frames that it takes, in pixels.
        frames_per_clip: Frames that it looks at in each clip.
        batch_size: Clips, or sentences, that pass through its model at once. It may be set at any time.
        checkpoint_hint: How to come by a checkpoint, for those who have named none; a sentence, or nothing.
    """

    name: ClassVar[str]
    video_dim: int
    text_dim: int | None
    frame_size: int
    frames_per_clip: int = 1
    batch_size: int = 64
    checkpoint_hint: ClassVar[str] = ""

    @property
    def requirement(self) -> FrameRequirement:
        """What it asks of the decoder."""
        return FrameRequirement(self.frame_size, self.frames_per_clip)

    @abstractmethod
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """Features of clips.

        Args:
            frames: (num_clips * frames_per_clip, frame_size, frame_size, 3) uint8 RGB, of any number of whole clips.

        Returns:
            (num_clips, video_dim) float32, not normalised.
        """

    def encode_text(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Features of the tokens of sentences.

        Args:
            sentences: The sentences.

        Returns:
            For each sentence (num_tokens, text_dim) float32, not normalised.

        Raises:
            ValueError: The backbone has no text encoder.
        """
        raise ValueError(f"The backbone {self.name!r} has no text encoder.")

    def pool_text(self, tokens: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """One vector for each sentence, where the encoder has such.

        Args:
            tokens: The sentences' token features, as `encode_text` gives them.

        Returns:
            For each sentence (D,) float32, not normalised; or `None` if the encoder has no vector for a whole sentence.
        """
        return None

    @abstractmethod
    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> FeatureBackbone:
        """Move it to a device, or convert it to a floating-point type, and return it."""

    @abstractmethod
    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Write all that `from_pretrained` needs into a folder."""

    @classmethod
    @abstractmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **hub_kwargs,
    ) -> FeatureBackbone:
        """Load it from a folder or a Hub repository.

        Args:
            pretrained_model_name_or_path: Folder or Hub id.
            device: Where it runs; the CPU by default.
            dtype: Floating-point type it computes in; float32 by default, whatever the weights are stored in.
            **hub_kwargs: Passed to the libraries' `from_pretrained` (`subfolder`, `revision`, `token`, ...).
        """


class ClipBackbone(FeatureBackbone):
    """CLIP: the projected embedding of a clip's frame; the last hidden state of every token.

    Token features are taken after the text encoder's final LayerNorm and before pooling, BOS and EOS included.

    Args:
        model: The CLIP model. It is put into evaluation mode.
        tokenizer: Its tokenizer.
        image_processor: Its image processor; by default CLIP's own normalisation at the model's image size.
        batch_size: Frames, or sentences, that pass through the model at once.
    """

    name = "clip"
    frames_per_clip = 1

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: CLIPImageProcessorPil | None = None,
        batch_size: int = 64,
    ):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.frame_size = model.config.vision_config.image_size
        self.image_processor = image_processor or CLIPImageProcessorPil(
            size={"shortest_edge": self.frame_size},
            crop_size={"height": self.frame_size, "width": self.frame_size},
        )
        self.batch_size = batch_size
        self.video_dim = model.config.projection_dim
        self.text_dim = model.config.text_config.hidden_size

    @property
    def max_text_length(self) -> int:
        """Tokens that the text encoder takes, BOS and EOS included."""
        return self.model.config.text_config.max_position_embeddings

    @torch.inference_mode()
    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """Projected image embedding of each frame, (T, H, W, 3) uint8 to (T, video_dim) float32."""
        features = []
        for batch in iterate_batches(frames, self.batch_size):
            pixels = self.image_processor(list(batch), return_tensors="pt")["pixel_values"]
            output = self.model.get_image_features(pixels.to(self.model.device, self.model.dtype))
            features.append(output.pooler_output.float().cpu().numpy())
        return np.concatenate(features)

    @torch.inference_mode()
    def encode_text(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Last hidden state of every token, one (num_tokens, text_dim) float32 array a sentence.

        A sentence longer than the text encoder takes (77 tokens in the released CLIPs) is truncated with a warning.
        """
        features = []
        for batch in iterate_batches(list(sentences), self.batch_size):
            self._warn_if_too_long(batch)
            tokens = self.tokenizer(
                batch, padding=True, truncation=True, max_length=self.max_text_length, return_tensors="pt"
            ).to(self.model.device)
            states = self.model.text_model(**tokens).last_hidden_state.float().cpu().numpy()
            lengths = tokens["attention_mask"].sum(dim=1).tolist()
            features += [state[:length] for state, length in zip(states, lengths, strict=True)]
        return features

    @torch.inference_mode()
    def pool_text(self, tokens: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The projected state of each sentence's last token, EOS: (projection_dim,) float32."""
        ends = torch.from_numpy(np.stack([states[-1] for states in tokens]))
        projected = self.model.text_projection(ends.to(self.model.device, self.model.dtype))
        return list(projected.float().cpu().numpy())

    def _warn_if_too_long(self, sentences: list[str]) -> None:
        for sentence, ids in zip(sentences, self.tokenizer(sentences, verbose=False)["input_ids"], strict=True):
            if len(ids) > self.max_text_length:
                warnings.warn(
                    f"The sentence {sentence[:60]!r}... has {len(ids)} tokens, the text encoder takes "
                    f"{self.max_text_length}: the rest is cut off.",
                    stacklevel=3,
                )

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> ClipBackbone:
        """Move the model to a device, or convert it to a floating-point type, and return the backbone."""
        self.model.to(device=device, dtype=dtype)
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
    ) -> ClipBackbone:
        """Load a CLIP from a folder or the Hub: see [`FeatureBackbone.from_pretrained`]."""
        name = os.fspath(pretrained_model_name_or_path)
        model = load_complete_model(CLIPModel, name, dtype, **hub_kwargs)
        tokenizer = AutoTokenizer.from_pretrained(name, **hub_kwargs)
        image_processor = CLIPImageProcessorPil.from_pretrained(name, **hub_kwargs)
        return cls(model, tokenizer, image_processor).to(device)


def load_complete_model(
    model_class: type[Model], name_or_path: str | os.PathLike, dtype: torch.dtype | None = None, **hub_kwargs
) -> Model:
    """Load a frozen model, all of whose weights must be there; transformers would make up those that are not.

    Args:
        model_class: The model's class.
        name_or_path: Folder or Hub id.
        dtype: Floating-point type; float32 by default, whatever the weights are stored in.
        **hub_kwargs: Passed to `from_pretrained`.

    Raises:
        OSError: There is no such model, or its weights are incomplete or damaged.
    """
    name = os.fspath(name_or_path)
    try:
        model, info = model_class.from_pretrained(
            name, dtype=dtype or torch.float32, output_loading_info=True, **hub_kwargs
        )
    except Exception as error:
        # Told by its module: what travels with a checkpoint does not import safetensors.
        if not type(error).__module__.startswith("safetensors"):
            raise
        raise OSError(f"The weights of {name} are damaged or cut short ({error}). Download them again.") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise OSError(
            f"{name} is no whole {model_class.__name__}: {len(missing)} of its weights are missing, such as "
            f"{', '.join(missing[:3])}. Download it again, or name a checkpoint of this model."
        )
    return model
