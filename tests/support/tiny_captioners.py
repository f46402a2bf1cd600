"""Captioners and scorers of random weights, in folders that transformers loads."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipImageProcessorPil,
    BlipProcessor,
    OPTConfig,
    PreTrainedModel,
)

IMAGE_SIZE = 32
WORDS = ["a", "red", "green", "blue", "circle", "square", "star", "moves", "over", "stripes", "dots", "bricks", "the"]
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def make_tokenizer(decoder_start: str = "[DEC]") -> BertTokenizer:
    """BERT's tokenizer with a few words; the token that starts a caption is a special one."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
    tokenizer.add_special_tokens({"bos_token": decoder_start})
    return tokenizer


def make_image_processor() -> BlipImageProcessorPil:
    return BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})


def with_lively_weights(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Weights large enough that what such a model says depends on the picture."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.tie_weights()
    return model.eval()


def blip_config(tokenizer: BertTokenizer) -> BlipConfig:
    marks = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {**SHAPE, **marks, "vocab_size": len(tokenizer), "max_position_embeddings": 40, "encoder_hidden_size": 32}
    vision = {**SHAPE, "image_size": IMAGE_SIZE, "patch_size": 16}
    return BlipConfig(text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16)


def save_blip(folder: Path, model_class: type[PreTrainedModel], seed: int = 0) -> Path:
    """A BLIP captioner or retrieval model."""
    tokenizer = make_tokenizer()
    model = with_lively_weights(model_class(blip_config(tokenizer)), seed)
    model.save_pretrained(folder)
    BlipProcessor(make_image_processor(), tokenizer).save_pretrained(folder)
    return folder


def save_blip_captioner(folder: Path, seed: int = 0) -> Path:
    return save_blip(folder, BlipForConditionalGeneration, seed)


def save_blip_retrieval(folder: Path, seed: int = 1) -> Path:
    return save_blip(folder, BlipForImageTextRetrieval, seed)


def blip2_config(vocabulary: int, tokenizer: BertTokenizer, **fields) -> Blip2Config:
    text = OPTConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Blip2Config(
        vision_config=Blip2VisionConfig(**SHAPE, image_size=IMAGE_SIZE, patch_size=16).to_dict(),
        qformer_config=Blip2QFormerConfig(
            **SHAPE, vocab_size=len(tokenizer), encoder_hidden_size=32, max_position_embeddings=40, **fields
        ).to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_text_hidden_size=16,
    )


def save_blip2_captioner(folder: Path, seed: int = 0) -> Path:
    """A BLIP-2 captioner with an OPT of random weights."""
    tokenizer = make_tokenizer("[CLS]")
    processor = Blip2Processor(make_image_processor(), tokenizer, num_query_tokens=4)
    config = blip2_config(len(processor.tokenizer), tokenizer)
    config.image_token_index = processor.tokenizer.convert_tokens_to_ids("<image>")
    with_lively_weights(Blip2ForConditionalGeneration(config), seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_blip2_retrieval(folder: Path, seed: int = 1, with_places: bool = False) -> Path:
    """A BLIP-2 retrieval model, of the kind that expects places for the picture before the text or not."""
    tokenizer = make_tokenizer()
    processor = Blip2Processor(make_image_processor(), tokenizer, num_query_tokens=4)
    config = blip2_config(len(processor.tokenizer), processor.tokenizer, use_qformer_text_input=True)
    config.image_token_index = processor.tokenizer.convert_tokens_to_ids("<image>") if with_places else None
    with_lively_weights(Blip2ForImageTextRetrieval(config), seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
