"""The loss of QD-DETR: moments, and the saliency terms of negative pairs, ranks and margin."""

from ..losses import DetectorLoss


class QDDetrLoss(DetectorLoss):
    """Weighted sum of the terms; the labels are those of [`DetectorLoss`]."""


__all__ = ["QDDetrLoss"]
