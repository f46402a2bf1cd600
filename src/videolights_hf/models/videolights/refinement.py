"""FRA, second stage: the Feature Refinement and Alignment network (paper, section III-B).

The first stage is the projection; the alignment is a loss (`losses.py`).
"""

import math

import torch
from torch import nn

from ..configuration import DetectorConfig
from ..linear import XavierModule
from ..numerics import masked_softmax
from ..tokens import Tokens

# log(2 ** -149): the logarithm of the smallest float32 that the release adds to a padded clip's mask.
PADDED_CLIP_SIMILARITY = -149 * math.log(2)


def pool_sentence(words: Tokens, weight: torch.Tensor) -> torch.Tensor:
    """Sum (B, D) of the valid words, each weighed by its product with `weight` (D, 1)."""
    scores = (words.states @ weight).squeeze(-1)
    return (masked_softmax(scores, words.is_valid()).unsqueeze(1) @ words.states).squeeze(1)


class FeatureRefinement(XavierModule):
    """Second stage of FRA (paper, section III-B): clips refined by what the sentence says.

    Four branches meet in one linear mixer: the clip itself, its similarity to the sentence, the sentence, and a word
    branch. In the released model every word carries the same vector, so that branch is the constant
    `correlation_query_weight * correlation_value_weight`, and is computed as one.
    """

    def __init__(self, config: DetectorConfig):
        super().__init__()
        hidden_size = config.hidden_size
        self.attended_words = config.word_correlation == "attended"
        self.pool_weight = nn.Parameter(torch.empty(hidden_size, 1))
        self.similarity_weight = nn.Parameter(torch.empty(hidden_size, 1))
        if not self.attended_words:
            self.correlation_query_weight = nn.Parameter(torch.empty(1, 1))
            self.correlation_value_weight = nn.Parameter(torch.empty(1, hidden_size))
        self.dropout = nn.Dropout(config.refinement_dropout)
        self.mixer = nn.Linear(4 * hidden_size, hidden_size)

    @property
    def constant_word(self) -> torch.Tensor:
        """(D,) the vector that every word carries in the released word branch."""
        return (self.correlation_query_weight * self.correlation_value_weight)[0]

    def attend_words(self, video: torch.Tensor, words: Tokens) -> torch.Tensor:
        """Softmax-weighted sum of the valid words for each clip, (B, L, D)."""
        scores = video @ words.states.transpose(1, 2)
        return masked_softmax(scores, words.is_valid().unsqueeze(1)) @ words.states

    def forward(self, clips: Tokens, words: Tokens) -> torch.Tensor:
        """Refine projected clips (B, L, D) by projected words (B, N, D); returns (B, L, D)."""
        video, sentence = clips.states, pool_sentence(words, self.pool_weight)
        similarity = nn.functional.cosine_similarity(video, sentence.unsqueeze(1), dim=-1, eps=1e-8)
        similarity = (similarity + (~clips.is_valid()).to(video.dtype) * PADDED_CLIP_SIMILARITY).unsqueeze(-1)
        branches = [video, similarity * self.similarity_weight[:, 0], sentence.unsqueeze(1)]
        weight: torch.Tensor = self.mixer.weight
        bias: torch.Tensor = self.mixer.bias
        if self.attended_words:
            branches.append(self.attend_words(video, words))
        elif self.training or torch.is_grad_enabled():
            branches.append(self.constant_word.view(1, 1, -1))
        else:
            # At inference the constant branch is part of the bias and costs nothing.
            weight, of_words = weight.split([3 * video.shape[-1], video.shape[-1]], dim=1)
            bias = nn.functional.linear(self.constant_word, of_words, bias)
        mixed = torch.cat([self.dropout(branch.expand_as(video)) for branch in branches], dim=-1)
        return self.dropout(nn.functional.relu(nn.functional.linear(mixed, weight, bias)))


__all__ = ["FeatureRefinement", "pool_sentence"]
