"""TR-DETR's own refinement of the clips by the words (its visual feature refinement)."""

import torch
from torch import nn

from ..dropout import Dropout
from ..linear import XavierModule
from ..numerics import masked_softmax
from ..tokens import Tokens
from ..videolights.refinement import pool_sentence
from .configuration import TRDetrConfig


class VisualRefinement(XavierModule):
    """Attention between clips and words in both directions, then the pooled sentence beside every clip."""

    def __init__(self, config: TRDetrConfig):
        super().__init__()
        size = config.hidden_size
        self.video_weight = nn.Parameter(torch.empty(size, 1))
        self.text_weight = nn.Parameter(torch.empty(size, 1))
        self.product_weight = nn.Parameter(torch.empty(1, 1, size))
        self.pool_weight = nn.Parameter(torch.empty(size, 1))
        self.dropout = Dropout(config.refinement_dropout)
        self.attention_mixer = nn.Linear(4 * size, size)
        self.sentence_mixer = nn.Linear(2 * size, size)

    def forward(self, clips: Tokens, words: Tokens) -> torch.Tensor:
        """Refine clips (B, L, D) by words (B, N, D); returns (B, L, D)."""
        video, text = clips.states, words.states
        scores = self.scores(self.dropout(video), self.dropout(text))
        over_words = masked_softmax(scores, words.is_valid().unsqueeze(1), dim=2)
        over_clips = masked_softmax(scores, clips.is_valid().unsqueeze(2), dim=1)
        attended_text = over_words @ text
        attended_video = over_words @ (over_clips.transpose(1, 2) @ video)
        parts = (video, attended_text, video * attended_text, video * attended_video)
        attended = self.attention_mixer(torch.cat(parts, dim=-1))
        sentence = pool_sentence(words, self.pool_weight).unsqueeze(1).expand_as(video)
        return nn.functional.relu(self.sentence_mixer(torch.cat((attended, sentence), dim=-1)))

    def scores(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Affinity of every clip and word, (B, L, N)."""
        products = (video * self.product_weight) @ text.transpose(1, 2)
        return video @ self.video_weight + (text @ self.text_weight).transpose(1, 2) + products


__all__ = ["VisualRefinement"]
