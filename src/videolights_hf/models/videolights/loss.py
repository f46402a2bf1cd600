"""The composite loss of VideoLights (paper, eq. 1 to 13): its saliency terms, and the weights of all."""

from collections.abc import Mapping

import torch

from ..losses import (
    DetectorLoss,
    SaliencyForm,
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

    def __init__(self, config: VideoLightsConfig):
        super().__init__(config)
        # The configuration has filled in what may be None before.
        self.form = SaliencyForm(
            config.loss_padding or "counted", config.saliency_scaling or "batch", config.loss_reduction or "released"
        )

    def saliency_terms(
        self, output: Mapping, labels: Mapping[str, torch.Tensor], video_mask: torch.Tensor, epoch: int | torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The parts of `loss_saliency` (paper, eq. 2), coefficients applied."""
        config, form = self.config, self.form
        weights = {
            "saliency_negative_pair": config.negative_pair_loss_coef,
            "saliency_rank_contrastive": config.rank_contrastive_loss_coef,
            "saliency_margin": config.rank_loss_coef,
        }
        parts = super().saliency_terms(output, labels, video_mask, epoch)
        parts = {name: weights[name] * part for name, part in parts.items() if weights[name]}
        scores, saliency = full_precision(output["saliency_scores"]), full_precision(labels["saliency"])
        counted = form.mask(video_mask)
        if config.cosine_similarity_loss_coef:
            cosine = saliency_cosine_loss(scores, saliency, counted, form)
            parts["saliency_cosine"] = config.cosine_similarity_loss_coef * cosine
        if output.get("moment_saliency_scores") is not None and config.moment_to_highlight_loss_coef:
            coupled = full_precision(output["moment_saliency_scores"])
            coupled = saliency_cosine_loss(coupled, saliency, counted, form)
            parts["saliency_task_coupled"] = config.moment_to_highlight_loss_coef * coupled
        if config.hard_pos_neg_loss_coef:
            hard = hard_positive_negative_loss(scores, saliency, config.hard_negative_loss or "squared", counted, form)
            parts["saliency_hard"] = (epoch + 1) * config.hard_pos_neg_loss_coef * hard
        return parts


__all__ = ["VideoLightsLoss"]
