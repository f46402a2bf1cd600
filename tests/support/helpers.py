"""Small real things that several tests need: a tiny random CLIP and its tokenizer."""

from __future__ import annotations

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.configuration_clip import CLIPTextConfig, CLIPVisionConfig

from videolights_hf.backbones.base import ClipBackbone


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
