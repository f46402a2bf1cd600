"""Task coupling: saliency derived from the predicted moment (TR-DETR's, and in training VideoLights')."""

import torch
from torch import nn

from ..configuration import DetectorConfig
from ..linear import projected_sum
from ..spans import center_width_to_start_end


class MomentReader(nn.Module):
    """A GRU that reads the clips of each sample's best moment."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.clip_length = config.clip_length
        self.gru = nn.GRU(config.hidden_size, config.hidden_size, batch_first=True)

    def select_moment(
        self, video: torch.Tensor, logits: torch.Tensor, spans: torch.Tensor, num_clips: torch.Tensor | int
    ) -> torch.Tensor:
        """Move the clips of each sample's best moment to the front of a zero-padded (B, L, D) tensor.

        Rows run from the first to the last clip of the span, both included; bounds outside the video act as Python
        slice bounds do, as in the releases, so a negative one counts from the end.

        Args:
            video: (B, L, D) clips.
            logits: (B, M, 2).
            spans: (B, M, 2) as (center, width), fractions of `num_clips`.
            num_clips: Clips that a video is taken to have: (B, 1), or one number for all.
        """
        if not isinstance(num_clips, torch.Tensor):
            # Made there: copying a number to a device waits for it, and no CUDA graph could hold that.
            num_clips = torch.full((), num_clips, device=video.device)
        best = logits.softmax(-1)[..., 0].argmax(-1)
        span = center_width_to_start_end(spans.detach())[torch.arange(best.shape[0], device=best.device), best]
        bounds = (span * num_clips * self.clip_length / self.clip_length).floor().long()
        start, stop = bounds[:, :1], bounds[:, 1:] + 1
        start, stop = (torch.where(x < 0, x + num_clips, x).clamp(min=0).minimum(num_clips) for x in (start, stop))
        source = start + torch.arange(video.shape[1], device=video.device)
        rows = video.gather(1, source.clamp(max=video.shape[1] - 1).unsqueeze(-1).expand_as(video))
        return rows * (source < stop).unsqueeze(-1)

    def read_moment(
        self,
        video: torch.Tensor,
        logits: torch.Tensor,
        spans: torch.Tensor,
        num_clips: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """State (B, D) of the GRU after as many steps as the video has clips.

        The arguments are those of `select_moment`; by default padding counts as clips.
        """
        rows = self.select_moment(video, logits, spans, video.shape[1] if num_clips is None else num_clips)
        states, last_state = self.gru(rows)
        if num_clips is None:
            return last_state[0]
        last = (num_clips - 1).clamp(min=0).unsqueeze(-1).expand(-1, -1, states.shape[-1])
        return states.gather(1, last).squeeze(1)


class MomentToHighlight(MomentReader):
    """Saliency derived from the predicted moment: the task coupling of Uni-JFM (paper, section III-E, eq. 12)."""

    def __init__(self, config: DetectorConfig):
        super().__init__(config)
        self.projection = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        projected_video: torch.Tensor,
        memory: torch.Tensor,
        logits: torch.Tensor,
        spans: torch.Tensor,
        num_clips: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Clips (B, L, D), encoded clips (B, L, D) and the last layer's moments to saliency (B, L).

        `num_clips` (B, 1) are those of each video; by default padding counts as clips, as in the release.
        """
        weight = projected_video @ self.read_moment(projected_video, logits, spans, num_clips).unsqueeze(-1)
        return projected_sum(memory * weight + memory, self.projection) * memory.shape[-1] ** -0.5


__all__ = ["MomentReader", "MomentToHighlight"]
