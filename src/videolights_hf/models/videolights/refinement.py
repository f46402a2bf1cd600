"""FRA, second stage: the Feature Refinement and Alignment network (paper, section III-B).

The first stage is the projection; the alignment is a loss (`losses.py`).
"""

import math

import torch
from torch import nn

from ..configuration import DetectorConfig
from ..dropout import Dropout
from ..linear import LocalConvolution, XavierModule, are_plain, has_hooks
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
        size, channels = config.hidden_size, 4 * config.hidden_size
        self.word_correlation = config.word_correlation
        self.sentence_similarity = config.sentence_similarity
        self.max_text_length = config.max_text_length
        self.ends_in_relu = config.refinement_relu
        self.pool_weight = nn.Parameter(torch.empty(size, 1))
        self.similarity_weight = nn.Parameter(torch.empty(size, 1))
        if self.word_correlation == "constant":
            self.correlation_query_weight = nn.Parameter(torch.empty(1, 1))
            self.correlation_value_weight = nn.Parameter(torch.empty(1, size))
        elif self.word_correlation == "map":
            channels = 3 * size + config.max_text_length
        self.dropout = Dropout(config.refinement_dropout)
        self.mixer: nn.Linear | LocalConvolution = nn.Linear(channels, size)
        if config.convolution_kernel_size > 1:
            self.mixer = LocalConvolution(channels, size, config.convolution_kernel_size)

    @property
    def constant_word(self) -> torch.Tensor:
        """(D,) the vector that every word carries in the released word branch."""
        return (self.correlation_query_weight * self.correlation_value_weight)[0]

    def attend_words(self, video: torch.Tensor, words: Tokens) -> torch.Tensor:
        """Softmax-weighted sum of the valid words for each clip, (B, L, D)."""
        scores = video @ words.states.transpose(1, 2)
        return masked_softmax(scores, words.is_valid().unsqueeze(1)) @ words.states

    def map_words(self, video: torch.Tensor, words: Tokens) -> torch.Tensor:
        """Dot products of each clip with each word, (B, L, `max_text_length`), zero where there is no word."""
        products = video @ words.states.transpose(1, 2)
        products = products.masked_fill(~words.is_valid().unsqueeze(1), 0)
        return nn.functional.pad(products, (0, self.max_text_length - words.states.shape[1]))

    def similarity(self, clips: Tokens, sentence: torch.Tensor) -> torch.Tensor:
        """Similarity (B, L) of clips to the sentence (B, D), far below zero on padding."""
        if self.sentence_similarity == "dot":
            similarity = (clips.states @ sentence.unsqueeze(-1)).squeeze(-1)
        else:
            similarity = nn.functional.cosine_similarity(clips.states, sentence.unsqueeze(1), dim=-1, eps=1e-8)
        return similarity + (~clips.is_valid()).to(similarity.dtype) * PADDED_CLIP_SIMILARITY

    def forward(self, clips: Tokens, words: Tokens) -> torch.Tensor:
        """Refine projected clips (B, L, D) by projected words (B, N, D); returns (B, L, D)."""
        video, sentence = clips.states, pool_sentence(words, self.pool_weight)
        similarity = self.similarity(clips, sentence).unsqueeze(-1)
        if self._mixes_parts:
            mixed = self._mix_parts(video, similarity, sentence)
        else:
            branches = [video, similarity * self.similarity_weight[:, 0], sentence.unsqueeze(1).expand_as(video)]
            if self.word_correlation == "map":
                branches.append(self.map_words(video, words))
            elif self.word_correlation == "attended":
                branches.append(self.attend_words(video, words))
            else:
                branches.append(self.constant_word.expand_as(video))
            mixed = self._mix(torch.cat([self.dropout(branch) for branch in branches], dim=-1), clips.valid)
        return self.dropout(nn.functional.relu(mixed) if self.ends_in_relu else mixed)

    @property
    def _mixes_parts(self) -> bool:
        # With dropout every clip has a sentence and a constant of its own. With gradients they would round otherwise than
        # the release's.
        drops = self.training and self.dropout.p > 0
        is_plain = are_plain(self.mixer) and not has_hooks(self.dropout)
        return self.word_correlation == "constant" and is_plain and not drops and not torch.is_grad_enabled()

    def _mix_parts(self, video: torch.Tensor, similarity: torch.Tensor, sentence: torch.Tensor) -> torch.Tensor:
        # Only the clip's own branch is a matrix of clips: the others are a vector times a number per clip, and vectors.
        size = len(self.pool_weight)
        of_video, of_similarity = self.mixer.weight[:, : 2 * size].split(size, dim=1)
        shared = torch.cat((sentence, self.constant_word.expand_as(sentence)), dim=-1)
        shared = nn.functional.linear(shared, self.mixer.weight[:, 2 * size :], self.mixer.bias)
        scaled = similarity * (of_similarity @ self.similarity_weight[:, 0])
        return nn.functional.linear(video, of_video) + scaled + shared.unsqueeze(1)

    def _mix(self, branches: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        if isinstance(self.mixer, LocalConvolution):
            return self.mixer(branches, valid)
        return self.mixer(branches)


__all__ = ["FeatureRefinement", "pool_sentence"]
