"""The loss of QD-DETR: moments, and three saliency terms."""

from collections.abc import Mapping

import torch

from ..losses import DetectorLoss


class QDDetrLoss(DetectorLoss):
    """Weighted sum of the terms; the labels are those of [`DetectorLoss`]."""

    def saliency_terms(
        self, output: Mapping, labels: Mapping[str, torch.Tensor], video_mask: torch.Tensor, epoch: int
    ) -> dict[str, torch.Tensor]:
        """Negative pairs, rank contrastive and margin terms."""
        return {
            **self.contrastive_terms(output, labels, video_mask),
            **super().saliency_terms(output, labels, video_mask, epoch),
        }


__all__ = ["QDDetrLoss"]
