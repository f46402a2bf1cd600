"""What the models return. B batch, L clips, N words, M moment queries, D width, H heads, P contrastive width."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class DetectorModelOutput(ModelOutput):
    """Output of a network without its heads.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(B, L, D)`): the encoded clips.
        query_states (`torch.FloatTensor` of shape `(decoder layers, B, M, D)`): moment queries after each layer.
        anchors (`torch.FloatTensor` of shape `(decoder layers, B, M, 2)`, *optional*): (center, width) each layer
            started from.
        projected_video (`torch.FloatTensor` of shape `(B, L, D)`): clips after the projection.
        projected_text (`torch.FloatTensor` of shape `(B, N, D)`): words after the projection.
        refined_video (`torch.FloatTensor` of shape `(B, L, D)`): clips after the refinement stage of FRA.
        fused_video (`torch.FloatTensor` of shape `(B, L, D)`): clips after cross-modal fusion.
        hidden_states (`tuple`, *optional*): encoder states (B, S, D) before the first and after each layer; the
            sequence S is the global token, if there is one, the clips, and the words where nothing has fused them.
        decoder_hidden_states (`tuple`, *optional*): query states (B, M, D) after each decoder layer.
        fusion_attentions (`tuple`, *optional*): weights (B, H, L, N) of clips over words, per fusion layer.
        attentions (`tuple`, *optional*): encoder weights (B, H, S, S), per layer.
        decoder_attentions (`tuple`, *optional*): weights (B, H, M, M) among queries, per layer.
        cross_attentions (`tuple`, *optional*): weights (B, H, M, L) of queries over clips, per layer.
    """

    last_hidden_state: torch.Tensor | None = None
    query_states: torch.Tensor | None = None
    anchors: torch.Tensor | None = None
    projected_video: torch.Tensor | None = None
    projected_text: torch.Tensor | None = None
    refined_video: torch.Tensor | None = None
    fused_video: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor | None, ...] | None = None
    decoder_hidden_states: tuple[torch.Tensor | None, ...] | None = None
    fusion_attentions: tuple[torch.Tensor | None, ...] | None = None
    attentions: tuple[torch.Tensor | None, ...] | None = None
    decoder_attentions: tuple[torch.Tensor | None, ...] | None = None
    cross_attentions: tuple[torch.Tensor | None, ...] | None = None


@dataclass
class MomentRetrievalOutput(ModelOutput):
    """Output of a detector with its heads.

    Args:
        loss (`torch.FloatTensor`, *optional*, with `labels`): the composite loss.
        loss_dict (`dict[str, torch.FloatTensor]`, *optional*, with `labels`): its unweighted terms, detached, by name.
        logits (`torch.FloatTensor` of shape `(B, M, 2)`): class 0 is foreground, class 1 background.
        pred_spans (`torch.FloatTensor` of shape `(B, M, 2)`): (center, width) as fractions of the video.
        saliency_scores (`torch.FloatTensor` of shape `(B, L)`): highlight score of each clip.
        auxiliary_outputs (`list[dict[str, torch.FloatTensor]]`, *optional*, with `labels`): `logits`, `pred_spans` and
            `contrastive_queries` of the earlier decoder layers.
        contrastive_queries (`torch.FloatTensor` of shape `(B, M, P)`, *optional*, with `labels`): unit vectors.
        contrastive_text (`torch.FloatTensor` of shape `(B, N, P)`, *optional*, with `labels`): unit vectors.
        contrastive_video (`torch.FloatTensor` of shape `(B, L, P)`, *optional*, with `labels` and
            `output_intermediates=True`): unit vectors, which no loss reads; released checkpoints hold their head.
        projected_video, projected_text, refined_video, fused_video, encoded_video (*optional*, with
            `output_intermediates=True`): the stages, as in [`DetectorModelOutput`].
        hidden_states, decoder_hidden_states, fusion_attentions, attentions, decoder_attentions, cross_attentions
            (*optional*): as in [`DetectorModelOutput`].
    """

    loss: torch.Tensor | None = None
    loss_dict: dict[str, torch.Tensor] | None = None
    logits: torch.Tensor | None = None
    pred_spans: torch.Tensor | None = None
    saliency_scores: torch.Tensor | None = None
    auxiliary_outputs: list[dict[str, torch.Tensor]] | None = None
    contrastive_queries: torch.Tensor | None = None
    contrastive_text: torch.Tensor | None = None
    contrastive_video: torch.Tensor | None = None
    projected_video: torch.Tensor | None = None
    projected_text: torch.Tensor | None = None
    refined_video: torch.Tensor | None = None
    fused_video: torch.Tensor | None = None
    encoded_video: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor | None, ...] | None = None
    decoder_hidden_states: tuple[torch.Tensor | None, ...] | None = None
    fusion_attentions: tuple[torch.Tensor | None, ...] | None = None
    attentions: tuple[torch.Tensor | None, ...] | None = None
    decoder_attentions: tuple[torch.Tensor | None, ...] | None = None
    cross_attentions: tuple[torch.Tensor | None, ...] | None = None


__all__ = ["DetectorModelOutput", "MomentRetrievalOutput"]
