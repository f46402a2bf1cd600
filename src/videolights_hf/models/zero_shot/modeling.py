"""A detector without training: the similarity of sentence and clip, and the parts of it that stand out.

It is the baseline that a trained detector must beat. What a moment is:

1. **Saliency** of a clip is the similarity of its picture and the sentence: the cosine of their embeddings, times the
   scale with which the backbone was trained (its logits).
2. The curve is **smoothed** by the mean of `smoothing` clips.
3. A clip is inside a moment if the smoothed curve lies above `median + relative_threshold * (maximum - median)`.
   Neighboring clips, and those at most `max_gap` clips apart, make one moment.
4. Its **score** is `tanh(d / 2)`, with d the mean saliency of its clips less that of all clips outside it. Of two
   pictures, the backbone takes the first for what the sentence describes with probability `sigmoid(d)`; the score is
   that on a scale from 0, where it cannot tell, to 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers.utils import can_return_tuple

from ..outputs import MomentRetrievalOutput
from ..pretrained import DetectorPreTrainedModel
from .configuration import ZeroShotConfig

# Probabilities are kept so far from 0 and 1 that their logarithms are finite.
_EPSILON = 1e-6


class ZeroShotForMomentRetrieval(DetectorPreTrainedModel):
    """Moments and saliency from the similarity of sentences and clips; nothing is trained.

    Args:
        config: Its only weight is `similarity_scale`.
    """

    config_class = ZeroShotConfig
    takes_labels = False
    config: ZeroShotConfig  # type: ignore[assignment]

    def __init__(self, config: ZeroShotConfig):
        super().__init__(config)
        self.similarity_scale = nn.Parameter(torch.tensor(float(config.similarity_scale)))
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        video_features: torch.Tensor,
        text_features: torch.Tensor,
        video_attention_mask: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
        labels: Any = None,
        **kwargs: Any,
    ) -> MomentRetrievalOutput:
        """Compare clips and sentences.

        Args:
            video_features: (B, L, D + 2) embeddings of clips, and the two temporal channels.
            text_features: (B, 1, D) embeddings of sentences.
            video_attention_mask: (B, L), 1 on clips that are not padding.
            text_attention_mask: (B, 1), all 1.
            labels: None; nothing is learned here.
            **kwargs: `return_dict`.

        Raises:
            ValueError: A shape does not fit, or there are labels.
        """
        if labels is not None:
            raise ValueError("The zero-shot detector takes no labels: nothing is learned here.")
        config = self.config
        expected = (config.video_dim, config.text_dim)
        if (video_features.shape[-1], text_features.shape[-1]) != expected:
            raise ValueError(
                f"Features are {video_features.shape[-1]} and {text_features.shape[-1]} wide, expected {expected}."
            )
        clips = functional.normalize(video_features[..., :-2].float(), dim=-1)
        sentences = functional.normalize(text_features[:, :1].float(), dim=-1)
        similarity = self.similarity_scale.float() * (clips * sentences).sum(-1)
        if video_attention_mask is None:
            video_attention_mask = torch.ones_like(similarity)
        lengths = video_attention_mask.sum(-1).long().tolist()
        found = [
            moments_of_curve(curve[:length].detach().cpu().numpy(), config)
            for curve, length in zip(similarity, lengths, strict=True)
        ]
        table = torch.zeros(len(found), config.num_queries, 3)
        for row, moments in zip(table, found, strict=True):
            row[: len(moments)] = torch.from_numpy(moments)
        probability = table[..., 2].clamp(_EPSILON, 1 - _EPSILON)
        return MomentRetrievalOutput(
            logits=torch.stack((probability.log(), (1 - probability).log()), dim=-1).to(similarity.device),
            pred_spans=table[..., :2].to(similarity.device),
            saliency_scores=similarity,
        )


def moments_of_curve(similarity: np.ndarray, config: ZeroShotConfig) -> np.ndarray:
    """The parts of a curve that stand out, by the rule above.

    Args:
        similarity: (L,) similarity of each clip and the sentence.
        config: The rule.

    Returns:
        (K, 3) center and width as fractions of the video, and score, best first; at most `num_queries`.
    """
    margin = config.smoothing // 2
    padded = np.pad(similarity.astype(np.float64), margin, mode="edge")
    smooth = np.convolve(padded, np.full(config.smoothing, 1 / config.smoothing), mode="valid")
    median = np.median(smooth)
    inside = np.flatnonzero(smooth > median + config.relative_threshold * (smooth.max() - median))
    if len(inside) == 0:
        return np.zeros((0, 3), dtype=np.float32)
    breaks = np.flatnonzero(np.diff(inside) > config.max_gap + 1)
    firsts, lasts = inside[np.r_[0, breaks + 1]], inside[np.r_[breaks, len(inside) - 1]] + 1
    rows = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        outside = np.r_[similarity[:first], similarity[last:]]
        contrast = similarity[first:last].mean() - (outside.mean() if len(outside) else similarity.mean())
        rows.append(((first + last) / 2, last - first, max(np.tanh(contrast / 2), 0.0)))
    moments = np.array(rows) / [len(similarity), len(similarity), 1]
    return moments[np.argsort(-moments[:, 2], kind="stable")][: config.num_queries].astype(np.float32)


__all__ = ["ZeroShotForMomentRetrieval", "moments_of_curve"]
