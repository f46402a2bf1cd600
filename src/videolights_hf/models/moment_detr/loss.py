"""The loss of Moment-DETR: moments, and the margin term alone for saliency."""

from ..losses import DetectorLoss


class MomentDetrLoss(DetectorLoss):
    """Weighted sum of the terms; the labels are those of [`DetectorLoss`]."""

    sets_clips_apart = False

    @property
    def aligns_video(self) -> bool:
        """Moment-DETR's own alignment option has no video-text term; FRA brings it."""
        return self.config.use_feature_refinement


__all__ = ["MomentDetrLoss"]
