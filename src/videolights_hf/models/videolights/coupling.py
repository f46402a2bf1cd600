"""Task coupling: saliency derived from the predicted moment, a signal for training."""

import torch
from torch import nn

from ..spans import center_width_to_start_end
from .configuration import VideoLightsConfig


class MomentToHighlight(nn.Module):
    """Saliency derived from the predicted moment: the task coupling of Uni-JFM (paper, section III-E, eq. 12)."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        self.clip_length = config.clip_length
        self.gru = nn.GRU(config.hidden_size, config.hidden_size, batch_first=True)
        self.projection = nn.Linear(config.hidden_size, config.hidden_size)

    def select_moment(self, video: torch.Tensor, logits: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
        """Move the clips of each sample's best moment to the front of a zero-padded (B, L, D) tensor.

        Rows run from the first to the last clip of the span, both included; bounds outside the video act as Python
        slice bounds do, as in the release, so a negative one counts from the end.
        """
        num_clips = video.shape[1]
        best = logits.softmax(-1)[..., 0].argmax(-1)
        span = center_width_to_start_end(spans.detach())[torch.arange(len(best), device=best.device), best]
        bounds = (span * num_clips * self.clip_length / self.clip_length).floor().long()
        start, stop = bounds[:, :1], bounds[:, 1:] + 1
        start, stop = (torch.where(bound < 0, bound + num_clips, bound).clamp(0, num_clips) for bound in (start, stop))
        source = start + torch.arange(num_clips, device=video.device)
        rows = video.gather(1, source.clamp(max=num_clips - 1).unsqueeze(-1).expand_as(video))
        return rows * (source < stop).unsqueeze(-1)

    def forward(
        self, projected_video: torch.Tensor, memory: torch.Tensor, logits: torch.Tensor, spans: torch.Tensor
    ) -> torch.Tensor:
        """Clips (B, L, D), encoded clips (B, L, D) and the last layer's moments to saliency (B, L)."""
        _, last_state = self.gru(self.select_moment(projected_video, logits, spans))
        weight = projected_video @ last_state[0].unsqueeze(-1)
        return self.projection(memory * weight + memory).sum(-1) * memory.shape[-1] ** -0.5


__all__ = ["MomentToHighlight"]
