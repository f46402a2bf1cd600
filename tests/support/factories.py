"""Tiny models and batches for the model tests."""

import torch

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
from videolights_hf.models.configuration import DetectorConfig
from videolights_hf.models.detector import DetectorForMomentRetrieval

TINY = {
    "video_backbones": [["slowfast", 12], ["clip", 8]],
    "text_backbones": [["clip", 8]],
    "hidden_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "num_queries": 4,
    "contrastive_hidden_size": 8,
    "max_video_length": 10,
}


def tiny_config(**overrides) -> VideoLightsConfig:
    return VideoLightsConfig(**{**TINY, **overrides})


def tiny_detector(model_class: type[DetectorForMomentRetrieval], seed: int = 0, **overrides):
    """A tiny detector of any class, in evaluation mode."""
    torch.manual_seed(seed)
    return model_class(model_class.config_class(**{**TINY, **overrides})).eval()


def tiny_model(seed: int = 0, **overrides) -> VideoLightsForMomentRetrieval:
    return tiny_detector(VideoLightsForMomentRetrieval, seed, **overrides)


def random_inputs(config: DetectorConfig, lengths=((7, 5), (4, 3), (7, 2)), seed: int = 1) -> dict:
    """A padded batch of samples with (clips, words) each; padding holds noise that must not matter."""
    generator = torch.Generator().manual_seed(seed)
    clips, words = (torch.tensor(values) for values in zip(*lengths))
    num_clips, num_words = int(clips.max()), int(words.max())
    inputs = {
        "video_features": torch.randn(len(lengths), num_clips, config.video_dim, generator=generator),
        "text_features": torch.randn(len(lengths), num_words, config.text_dim, generator=generator),
        "video_attention_mask": (torch.arange(num_clips) < clips[:, None]).long(),
        "text_attention_mask": (torch.arange(num_words) < words[:, None]).long(),
    }
    if config.audio_dim:
        inputs["audio_features"] = torch.randn(len(lengths), num_clips, config.audio_dim, generator=generator)
    return inputs


def random_labels(inputs: dict, num_moments=(1, 3, 2), seed: int = 2) -> dict:
    generator = torch.Generator().manual_seed(seed)
    mask = inputs["video_attention_mask"]
    batch_size, num_clips = mask.shape
    counts = torch.tensor(num_moments[:batch_size])
    spans = torch.rand(batch_size, int(counts.max()), 2, generator=generator) * 0.5 + 0.25
    saliency = torch.randint(0, 13, (batch_size, num_clips), generator=generator).float() * mask
    return {
        "spans": spans,
        "span_mask": torch.arange(spans.shape[1]) < counts[:, None],
        "saliency": saliency,
        "relevant_clips": (saliency > 0).float(),
        "positive_clips": torch.zeros(batch_size, 2, dtype=torch.long),
        "negative_clips": torch.ones(batch_size, 2, dtype=torch.long),
    }
