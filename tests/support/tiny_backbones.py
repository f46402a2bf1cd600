"""Tiny backbones of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForImageTextRetrieval,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)
from transformers.models.clip.configuration_clip import CLIPTextConfig, CLIPVisionConfig

from videolights_hf.backbones.base import FeatureBackbone
from videolights_hf.backbones.blip2 import Blip2Backbone
from videolights_hf.backbones.clip import ClipBackbone
from videolights_hf.backbones.slowfast import SlowFastBackbone
from videolights_hf.backbones.slowfast_configuration import VideoLightsSlowFastConfig
from videolights_hf.backbones.slowfast_network import FrozenBatchNorm, VideoLightsSlowFastModel


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for the bytes in GPT-2's and CLIP's vocabularies."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def make_tiny_tokenizer(max_length: int = 77) -> CLIPTokenizer:
    """CLIP's tokenizer without merges: every byte is a token, so no text meets the unknown token, which is EOS."""
    alphabet = byte_alphabet()
    tokens = [*alphabet, *(f"{character}</w>" for character in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=max_length
    )


def make_tiny_clip(
    image_size: int = 64, width: int = 32, projection_dim: int = 24, max_length: int = 77, seed: int = 0
) -> ClipBackbone:
    """A CLIP backbone of random weights: video features `projection_dim` wide, text features `width` wide."""
    tokenizer = make_tiny_tokenizer(max_length)
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=CLIPTextConfig(
            **shape,
            vocab_size=len(tokenizer),
            max_position_embeddings=max_length,
            projection_dim=projection_dim,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ).to_dict(),
        vision_config=CLIPVisionConfig(
            **shape, image_size=image_size, patch_size=16, projection_dim=projection_dim
        ).to_dict(),
        projection_dim=projection_dim,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    return ClipBackbone(model, tokenizer)


def make_tiny_word_pieces() -> BertTokenizer:
    """BERT's tokenizer with a vocabulary of single characters."""
    characters = [chr(code) for code in range(33, 127)]
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *characters,
        *(f"##{character}" for character in characters),
    ]
    return BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}, do_lower_case=True)


def make_tiny_blip2(image_size: int = 64, width: int = 32, max_length: int = 512, seed: int = 0) -> Blip2Backbone:
    """A BLIP-2 backbone of random weights: video and text features `width` wide."""
    tokenizer = make_tiny_word_pieces()
    shape = {"intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Blip2Config(
        # An odd width, so that the image encoder's states cannot pass for the Q-Former's; and weights that are not
        # vanishingly small, as they are by default.
        vision_config={
            **shape,
            "hidden_size": 24,
            "image_size": image_size,
            "patch_size": 16,
            "initializer_range": 0.2,
        },
        qformer_config={
            **shape,
            "hidden_size": width,
            "encoder_hidden_size": 24,
            "cross_attention_frequency": 1,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": max_length,
            "use_qformer_text_input": True,
            "initializer_range": 0.2,
        },
        num_query_tokens=4,
        image_text_hidden_size=8,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Blip2ForImageTextRetrieval(config)
        torch.nn.init.normal_(model.query_tokens)
    return Blip2Backbone(model, tokenizer)


def tiny_slowfast_config(**overrides) -> VideoLightsSlowFastConfig:
    settings = {
        "num_frames": 8,
        "image_size": 32,
        "embedding_size": 8,
        "beta_inverse": 4,
        "hidden_sizes": [16, 32, 48, 64],
        "depths": [1, 2, 1, 1],
    }
    return VideoLightsSlowFastConfig(**{**settings, **overrides})


def randomize_norms(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Give every normalization statistics and weights of its own, as training does."""
    for module in model.modules():
        if isinstance(module, (FrozenBatchNorm, torch.nn.BatchNorm3d)):
            for name in ("weight", "running_var"):
                getattr(module, name).data.uniform_(0.5, 1.5, generator=generator)
            for name in ("bias", "running_mean"):
                getattr(module, name).data.uniform_(-0.5, 0.5, generator=generator)


def make_tiny_slowfast(seed: int = 0, **overrides) -> SlowFastBackbone:
    """A SlowFast backbone of random weights: 8 frames of 32 pixels to features 80 wide."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VideoLightsSlowFastModel(tiny_slowfast_config(**overrides))
    randomize_norms(model, torch.Generator().manual_seed(seed))
    return SlowFastBackbone(model)


class WeightlessBackbone(FeatureBackbone):
    """What backbones for tests share that have no weights."""

    def to(self, device=None, dtype=None):
        return self

    def save_pretrained(self, save_directory):
        pass

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, device=None, dtype=None, **hub_kwargs):
        return cls()


class ColorBackbone(WeightlessBackbone):
    """The smallest backbone that the interface allows: the mean color of two frames per clip."""

    name = "color"
    video_dim = 3
    text_dim = None
    frame_size = 8
    frames_per_clip = 2

    def encode_frames(self, frames):
        return frames.reshape(len(frames) // 2, -1, 3).mean(axis=1).astype(np.float32)


def make_tiny_siglip2_tokenizer() -> Siglip2Tokenizer:
    """SigLIP 2's tokenizer with a vocabulary of single characters."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *map(chr, range(33, 127))]
    return Siglip2Tokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[])


def save_tiny_siglip(folder: Path, width: int = 16, seed: int = 0) -> Path:
    """A SigLIP 2 of random weights in a folder: video and text features `width` wide."""
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokenizer = make_tiny_siglip2_tokenizer()
    config = SiglipConfig(
        text_config={**shape, "vocab_size": len(tokenizer), "max_position_embeddings": 32, "projection_size": width},
        vision_config={**shape, "image_size": 32, "patch_size": 16},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        SiglipModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
