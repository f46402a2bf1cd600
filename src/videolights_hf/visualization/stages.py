"""How near each clip is to each word after each stage of a detector (paper, Fig. 1, 3 and 5)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..models.detector import DetectorForMomentRetrieval
from ..models.videolights.fusion import BidirectionalLayer
from .relevance import STAGES, StageRelevance, check_stages


@torch.inference_mode()
def relevance_through_stages(
    model: DetectorForMomentRetrieval, inputs: Mapping[str, torch.Tensor], stages: Sequence[str] = STAGES
) -> list[StageRelevance]:
    """Cosine of each clip with each word, stage by stage.

    The clips are those of the stage, the words the projected ones; after Moment-DETR's encoder, which encodes both, the
    encoded words. A stage that the detector does not have is left out: `refinement` without FRA (TR-DETR has one of its
    own), `fusion` in Moment-DETR, `text to video` without Bi-CMF.

    Args:
        model: Any of the four detectors, in evaluation mode.
        inputs: Model inputs of one video and one sentence, as the processor or the collator makes them.
        stages: Which stages.

    Raises:
        ValueError: The model has no stages (the zero-shot detector), the batch has several samples, or a stage does not
            exist.
    """
    check_stages(stages)
    if not isinstance(model, DetectorForMomentRetrieval):
        raise ValueError(f"{type(model).__name__} has no stages to look at: give one of the four detectors.")
    if len(inputs["video_features"]) != 1:
        raise ValueError(f"The relevance is drawn of one sample, got {len(inputs['video_features'])}.")
    given = {name: inputs[name] for name in inputs if name != "labels"}
    with _first_attention(model) as attended:
        features = model.model(**given, return_dict=True)
    words = features["projected_text"]
    tensors = _states_by_stage(model, features)
    if attended:
        tensors["text to video"] = attended[-1]
    found = []
    for stage in STAGES:
        if stage in stages and stage in tensors:
            encoded_words = features.get("encoded_text") if stage == "encoder" else None
            pair = tensors[stage], words if encoded_words is None else encoded_words
            found.append(StageRelevance(stage, _cosines(*pair, inputs)))
    return found


def _states_by_stage(model: DetectorForMomentRetrieval, features: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    config = model.config
    states = {"projection": features["projected_video"]}
    if config.use_feature_refinement or getattr(model.model, "visual_refinement", None) is not None:
        states["refinement"] = features["refined_video"]
    if getattr(model.model, "fusion", None) is not None:
        states["fusion"] = features["fused_video"]
    return states | {"encoder": features["last_hidden_state"]}


@contextlib.contextmanager
def _first_attention(model: DetectorForMomentRetrieval) -> Iterator[list[torch.Tensor]]:
    """Collect the clips after the first attention of Bi-CMF's last layer; nothing in other detectors."""
    seen: list[torch.Tensor] = []
    layers = getattr(getattr(model.model, "fusion", None), "layers", [])
    if not layers or not isinstance(layers[-1], BidirectionalLayer):
        yield seen
        return
    handle = layers[-1].norm1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def _cosines(clips: torch.Tensor, words: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
    normalized = [torch.nn.functional.normalize(states[0].float(), dim=-1) for states in (clips, words)]
    for index, modality in enumerate(("video", "text")):
        mask = inputs.get(f"{modality}_attention_mask")
        if mask is not None:
            normalized[index] = normalized[index][mask[0].bool()]
    return (normalized[1] @ normalized[0].T).cpu().numpy()


__all__ = ["relevance_through_stages"]
