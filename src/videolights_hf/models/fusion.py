"""One-way cross-modal fusion, and the stack of fusion layers of any kind.

QD-DETR's text-to-video layer, which TR-DETR takes over and VideoLights' ablation calls Uni-CMF.
"""

from typing import NamedTuple

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import Attention
from .configuration import DetectorConfig
from .dropout import DropAddNorm, Dropout
from .feed_forward import FeedForward
from .tokens import Tokens, add_position, repeat_to


class FusionOutput(NamedTuple):
    """What a stack of fusion layers returns.

    Attributes:
        states: (P, L, D) clips that have seen the words of P sentences.
        attentions: Weights (P, H, L, N) of clips over words of each layer, or None from an implementation that
            computes none.
    """

    states: torch.Tensor
    attentions: tuple[torch.Tensor | None, ...]


class TextToVideoLayer(GradientCheckpointingLayer):
    """One-way fusion layer: clips attend to words (Uni-CMF in the paper's Table VI)."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.video_from_text = Attention(config)
        self.feed_forward = FeedForward(config)
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.norm2 = DropAddNorm(config.hidden_size, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        video: torch.Tensor,
        text: torch.Tensor,
        video_position: torch.Tensor,
        text_position: torch.Tensor | None,
        video_mask: torch.Tensor | None,
        text_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Fuse text (B, N, D) into video (B, L, D); also returns attention weights (B, H, L, N) or None.

        The video may be of fewer samples than the text: it repeats for the rest.

        `video_mask` and `text_mask` are attention masks over clips and over words as keys.
        """
        placed_video, placed_text = add_position(video, video_position), add_position(text, text_position)
        attended, weights = self.video_from_text(placed_video, placed_text, text, text_mask)
        video = repeat_to(video, text.shape[0]) + self.dropout(attended)
        # The second residual starts before the first norm, unlike that of the encoder's layers.
        return self.norm2(video, self.feed_forward(self.norm1(video))), weights


class Fusion(nn.Module):
    """Fusion layers in a row; each gets the words as they came."""

    def __init__(self, config: DetectorConfig, layer: type[GradientCheckpointingLayer] = TextToVideoLayer):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(layer(config) for _ in range(config.num_fusion_layers))

    def forward(self, clips: Tokens, words: Tokens) -> FusionOutput:
        """Fuse words (B, N, D) into clips (B, L, D), or into clips of fewer samples, which repeat for the rest."""
        video, repeated = clips.states, clips.repeated(words.states.shape[0])
        attentions: tuple[torch.Tensor | None, ...] = ()
        over_clips = repeated.attention_mask(self.config, words.states)
        over_words = words.attention_mask(self.config, repeated.states)
        for layer in self.layers:
            video, weights = layer(video, words.states, clips.position, words.position, over_clips, over_words)
            attentions += (weights,)
        return FusionOutput(video, attentions)


__all__ = ["Fusion", "FusionOutput", "TextToVideoLayer"]
