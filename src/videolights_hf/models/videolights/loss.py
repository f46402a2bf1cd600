"""The composite loss of VideoLights (paper, eq. 1 to 13): its saliency terms, and the weights of all."""

from collections.abc import Mapping

import torch

from ..losses import (
    DetectorLoss,
    hard_positive_negative_loss,
    saliency_cosine_loss,
)
from ..numerics import full_precision
from .configuration import VideoLightsConfig


class VideoLightsLoss(DetectorLoss):
    """Weighted sum of all terms; the labels are those of [`DetectorLoss`].

    Eq. 1 to 3 are the base's sum, eq. 4 to 7 the alignment loss of FRA (section III-B), eq. 8 to 10 the adaptive hard
    losses (III-D), eq. 11 to 13 Uni-JFM (III-E).
    """

    config: VideoLightsConfig

    def saliency_terms(
        self, output: Mapping, labels: Mapping[str, torch.Tensor], video_mask: torch.Tensor, epoch: int
    ) -> dict[str, torch.Tensor]:
        """The parts of `loss_saliency` (paper, eq. 2), coefficients applied."""
        config, saliency = self.config, full_precision(labels["saliency"])
        scores = full_precision(output["saliency_scores"])
        parts = {
            **self.contrastive_terms(output, labels, video_mask),
            **super().saliency_terms(output, labels, video_mask, epoch),
        }
        if config.cosine_similarity_loss_coef:
            cosine = saliency_cosine_loss(scores, saliency)
            parts["saliency_cosine"] = config.cosine_similarity_loss_coef * cosine
        if output.get("moment_saliency_scores") is not None and config.moment_to_highlight_loss_coef:
            coupled = saliency_cosine_loss(full_precision(output["moment_saliency_scores"]), saliency)
            parts["saliency_task_coupled"] = config.moment_to_highlight_loss_coef * coupled
        if config.hard_pos_neg_loss_coef:
            hard = hard_positive_negative_loss(scores, saliency, config.hard_negative_loss)
            parts["saliency_hard"] = (epoch + 1) * config.hard_pos_neg_loss_coef * hard
        return parts


__all__ = ["VideoLightsLoss"]
