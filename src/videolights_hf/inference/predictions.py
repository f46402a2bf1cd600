"""From the model's outputs to moments in seconds and the saliency of every clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..models.spans import center_width_to_start_end
from ..video.reader import clip_grid
from .moments import select_moments


def predictions_in_seconds(
    outputs: Any,
    durations: float | Sequence[float],
    clip_length: float,
    *,
    video_attention_mask: Any = None,
    round_to_clips: bool = True,
    **selection: Any,
) -> list[dict[str, list]]:
    """Moments and saliency of a batch: see [`VideoLightsProcessor.post_process_moment_retrieval`].

    Args:
        outputs: The model's output.
        durations: Length in seconds of each video, or one for all.
        clip_length: Nominal length of a clip in seconds.
        video_attention_mask: (B, L) mask of the inputs, or `None`.
        round_to_clips: Round times to multiples of the clip length.
        **selection: Passed to `select_moments`.

    Returns:
        For each sample `{"moments": [{"start", "end", "score"}, ...], "saliency": [float, ...]}`.

    Raises:
        ValueError: Durations, mask or settings that make no sense.
    """
    scores = outputs.logits.detach().float().softmax(dim=-1)[..., 0].cpu()
    spans = center_width_to_start_end(outputs.pred_spans.detach().float()).cpu()
    saliency = outputs.saliency_scores.detach().float().cpu().numpy()
    durations = np.asarray(durations, dtype=np.float64)
    durations = np.full(len(scores), durations) if durations.ndim == 0 else durations
    if durations.shape != (len(scores),):
        raise ValueError(f"{len(scores)} samples came with durations of the shape {durations.shape}.")
    if not (np.isfinite(durations).all() and (durations > 0).all()):
        raise ValueError(f"Durations are positive numbers of seconds, got {durations.tolist()}.")
    lengths = _valid_clips(saliency, durations, clip_length, video_attention_mask)

    results = []
    for index, duration in enumerate(durations.tolist()):
        windows = torch.cat([spans[index] * duration, scores[index][:, None]], dim=1)
        step = clip_grid(duration, clip_length)[1] if round_to_clips else None
        moments = select_moments(windows.numpy(), duration, clip_length=step, **selection)
        results.append({"moments": moments, "saliency": saliency[index, : lengths[index]].tolist()})
    return results


def _valid_clips(saliency: np.ndarray, durations: np.ndarray, clip_length: float, mask: Any) -> list[int]:
    if mask is None:
        clips = [clip_grid(duration, clip_length)[0] for duration in durations.tolist()]
        return [min(count, saliency.shape[1]) for count in clips]
    mask = torch.as_tensor(mask).cpu().numpy()
    if mask.shape != saliency.shape:
        raise ValueError(
            f"`video_attention_mask` has the shape {mask.shape}, the saliency scores have {saliency.shape}."
        )
    return mask.astype(bool).sum(axis=1).tolist()
