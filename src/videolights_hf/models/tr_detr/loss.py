"""The loss of TR-DETR: moments by a focal label loss, two saliency terms, and two alignments of video and text."""

from collections.abc import Mapping

import torch
from torch import nn

from ..losses import BACKGROUND, FOREGROUND, DetectorLoss, matched_query_mask
from ..numerics import full_precision
from .configuration import TRDetrConfig

ALIGNMENT_TEMPERATURE = 0.07
FOCAL_ALPHA = 0.25


def focal_label_loss(logits: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
    """Focal loss over both logits of all queries, (..., B, M, 2), each its own binary decision; (..., B, K) matches."""
    is_foreground = matched_query_mask(matched_query, logits.shape[-2])
    by_class = {FOREGROUND: is_foreground, BACKGROUND: ~is_foreground}
    target = torch.stack([by_class[index] for index in sorted(by_class)], dim=-1).to(logits)
    probability = logits.sigmoid()
    of_target = torch.where(target > 0, probability, 1 - probability)
    alpha = torch.where(target > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (alpha * (1 - of_target).square() * cross_entropy).mean((-3, -2, -1))


def clip_text_loss(
    video: torch.Tensor, text: torch.Tensor, masks: tuple[torch.Tensor, torch.Tensor], relevant_clips: torch.Tensor
) -> torch.Tensor:
    """Relevant clips (B, L, D) lie near the mean valid word of (B, N, D), the others far from it.

    `masks` are those of clips and words; as in the release a padded clip adds log 2.
    """
    video, text = nn.functional.normalize(video, dim=-1), nn.functional.normalize(text, dim=-1)
    video_mask, text_mask = (mask.to(video.dtype) for mask in masks)
    sentence = (text * text_mask.unsqueeze(-1)).sum(1) / text_mask.sum(1, keepdim=True)
    scores = (video @ sentence.unsqueeze(-1)).squeeze(-1) * video_mask / ALIGNMENT_TEMPERATURE
    return nn.functional.binary_cross_entropy_with_logits(scores, relevant_clips.to(scores.dtype))


def video_text_loss(video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Contrast of mean clips (B, L, D) and mean words (B, N, D) of the samples in the batch, padding included."""
    video, text = (nn.functional.normalize(states.mean(1), dim=-1) for states in (video, text))
    scores = text @ video.T / ALIGNMENT_TEMPERATURE
    own = torch.arange(scores.shape[0], device=scores.device)
    return (nn.functional.cross_entropy(scores, own) + nn.functional.cross_entropy(scores.T, own)) / 2


class TRDetrLoss(DetectorLoss):
    """Weighted sum of the terms; the labels are those of [`DetectorLoss`], and one more.

    - `relevant_clips` (B, L): 1 for the clips that belong to the sentence, whatever their saliency.
    """

    config: TRDetrConfig
    coefficients = DetectorLoss.coefficients | {
        "loss_ctc": "clip_text_loss_coef",
        "loss_vtc": "video_text_loss_coef",
    }

    def sample_terms(
        self, features: Mapping, labels: Mapping[str, torch.Tensor], video_mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Clip-text and video-text contrast of the projected, unrefined features."""
        video, text = full_precision(features["projected_video"]), full_precision(features["projected_text"])
        masks = (video_mask, features["text_mask"])
        return {
            "loss_ctc": clip_text_loss(video, text, masks, labels["relevant_clips"]),
            "loss_vtc": video_text_loss(video, text),
        }

    def label_term(self, logits: torch.Tensor, matched_query: torch.Tensor) -> torch.Tensor:
        """Focal loss, without `background_coef`."""
        return focal_label_loss(logits, matched_query)

    def video_to_align(self, features: Mapping) -> torch.Tensor:
        """The clips that FRA refined, before TR-DETR's own refinement."""
        return features["feature_refined_video"]

    def check_labels(self, labels: Mapping[str, torch.Tensor], scores: torch.Tensor) -> None:
        """Check that labels fit the clips that (B, L) `scores` are of.

        Raises:
            ValueError: One is missing or its shape does not fit.
        """
        super().check_labels(labels, scores)
        relevant = labels.get("relevant_clips")
        if relevant is None or relevant.shape != scores.shape:
            raise ValueError(
                f"`labels['relevant_clips']` must have shape {tuple(scores.shape)} like the clips, "
                f"got {None if relevant is None else tuple(relevant.shape)}."
            )


__all__ = ["TRDetrLoss"]
