"""A pipeline without a trained detector, from any CLIP-like model."""

from __future__ import annotations

import os
from typing import Any, cast

import torch

from ..backbones.checkpoints import load_backbone
from ..backbones.similarity import SimilarityBackbone
from ..models.zero_shot.configuration import ZeroShotConfig
from ..models.zero_shot.modeling import ZeroShotForMomentRetrieval
from .pipeline import VideoMomentRetrievalPipeline
from .processing import VideoLightsProcessor


def zero_shot_pipeline(
    backbone: str | os.PathLike[str] | None = None,
    *,
    clip_length: float = 2.0,
    device: str | int | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **pipeline_arguments: Any,
) -> VideoMomentRetrievalPipeline:
    """Make a pipeline whose detector is [`ZeroShotForMomentRetrieval`].

    `save_pretrained` writes it to a folder that is used like one of a trained detector.

    Args:
        backbone: Folder or Hub id of a CLIP-like model (CLIP, SigLIP 2, ...); OpenAI's CLIP ViT-B/32 by default.
        clip_length: Seconds per clip.
        device: Where to run; by default the first accelerator there is.
        dtype: Floating-point type of the backbone; float32 by default.
        **pipeline_arguments: Defaults of the calls.

    Raises:
        OSError: The model does not exist, is damaged, or does not compare pictures with sentences, or its download fails.

    Example:

    ```python
    >>> from videolights_hf.demo import demo_checkpoint, demo_videos
    >>> from videolights_hf.inference.zero_shot import zero_shot_pipeline

    >>> finder = zero_shot_pipeline(demo_checkpoint() / "backbones" / "clip", clip_length=1.0, device="cpu")
    >>> result = finder(demo_videos() / "demo_0_00000.mp4", "a red circle")
    >>> len(result["saliency"]) == result["duration"] / result["clip_length"]
    True

    ```
    """
    checkpoint = os.fspath(backbone or SimilarityBackbone.default_checkpoint)
    similarity = cast(SimilarityBackbone, load_backbone(SimilarityBackbone.name, checkpoint, dtype=dtype))
    pairs = [[similarity.name, similarity.video_dim]]
    config = ZeroShotConfig(
        video_backbones=pairs, text_backbones=pairs, clip_length=clip_length, similarity_scale=similarity.scale
    )
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={})
    processor.set_backbone(similarity)
    settings = {"device": device, "dtype": dtype, **pipeline_arguments}
    return VideoMomentRetrievalPipeline(
        ZeroShotForMomentRetrieval(config).eval(),
        processor,
        **{name: value for name, value in settings.items() if value is not None},
    )


__all__ = ["zero_shot_pipeline"]
