"""What VideoLights models return."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class VideoLightsModelOutput(ModelOutput):
    """Output of [`VideoLightsModel`]. B batch, L clips, N words, M moment queries, D width, H heads.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(B, L, D)`): the encoded clips.
        global_state (`torch.FloatTensor` of shape `(B, D)`): the encoded global token.
        query_states (`torch.FloatTensor` of shape `(decoder layers, B, M, D)`): moment queries after each layer.
        anchors (`torch.FloatTensor` of shape `(decoder layers, B, M, 2)`): (centre, width) each layer started from.
        projected_video (`torch.FloatTensor` of shape `(B, L, D)`): clips after the projection.
        projected_text (`torch.FloatTensor` of shape `(B, N, D)`): words after the projection.
        refined_video (`torch.FloatTensor` of shape `(B, L, D)`): clips after the refinement stage of FRA.
        fused_video (`torch.FloatTensor` of shape `(B, L, D)`): clips after cross-modal fusion.
        negative_hidden_state (`torch.FloatTensor` of shape `(B, L, D)`, *optional*): the encoded clips with the next
            sample's sentence, when asked for.
        negative_global_state (`torch.FloatTensor` of shape `(B, D)`, *optional*): their global token.
        hidden_states (`tuple`, *optional*): encoder states (B, 1 + L, D) before the first and after each layer.
        decoder_hidden_states (`tuple`, *optional*): query states (B, M, D) after each decoder layer.
        fusion_attentions (`tuple`, *optional*): weights (B, H, L, N) of clips over words, per fusion layer.
        attentions (`tuple`, *optional*): encoder weights (B, H, 1 + L, 1 + L), per layer.
        decoder_attentions (`tuple`, *optional*): weights (B, H, M, M) among queries, per layer.
        cross_attentions (`tuple`, *optional*): weights (B, H, M, L) of queries over clips, per layer.
    """

    last_hidden_state: torch.FloatTensor | None = None
    global_state: torch.FloatTensor | None = None
    query_states: torch.FloatTensor | None = None
    anchors: torch.FloatTensor | None = None
    projected_video: torch.FloatTensor | None = None
    projected_text: torch.FloatTensor | None = None
    refined_video: torch.FloatTensor | None = None
    fused_video: torch.FloatTensor | None = None
    negative_hidden_state: torch.FloatTensor | None = None
    negative_global_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    decoder_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    fusion_attentions: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    decoder_attentions: tuple[torch.FloatTensor, ...] | None = None
    cross_attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class VideoLightsMomentRetrievalOutput(ModelOutput):
    """Output of [`VideoLightsForMomentRetrieval`]. Shapes as in [`VideoLightsModelOutput`]; P contrastive width.

    Args:
        loss (`torch.FloatTensor`, *optional*, with `labels`): the composite loss.
        loss_dict (`dict[str, torch.FloatTensor]`, *optional*, with `labels`): its unweighted terms, detached, by name.
        logits (`torch.FloatTensor` of shape `(B, M, 2)`): class 0 is foreground, class 1 background.
        pred_spans (`torch.FloatTensor` of shape `(B, M, 2)`): (centre, width) as fractions of the video.
        saliency_scores (`torch.FloatTensor` of shape `(B, L)`): highlight score of each clip.
        auxiliary_outputs (`list[dict[str, torch.FloatTensor]]`, *optional*, with `labels`): `logits`, `pred_spans` and
            `contrastive_queries` of the earlier decoder layers.
        negative_saliency_scores (`torch.FloatTensor` of shape `(B, L)`, *optional*, with `labels`): scores against the
            next sample's sentence.
        moment_saliency_scores (`torch.FloatTensor` of shape `(B, L)`, *optional*, with `labels`): scores derived from
            the predicted moment (task coupling).
        contrastive_queries (`torch.FloatTensor` of shape `(B, M, P)`, *optional*, with `labels`): unit vectors.
        contrastive_text (`torch.FloatTensor` of shape `(B, N, P)`, *optional*, with `labels`): unit vectors.
        contrastive_video (`torch.FloatTensor` of shape `(B, L, P)`, *optional*, with `labels`): unit vectors.
        projected_video, projected_text, refined_video, fused_video, encoded_video (*optional*, with
            `output_intermediates=True`): the stages, as in [`VideoLightsModelOutput`].
        hidden_states, decoder_hidden_states, fusion_attentions, attentions, decoder_attentions, cross_attentions
            (*optional*): as in [`VideoLightsModelOutput`].
    """

    loss: torch.FloatTensor | None = None
    loss_dict: dict[str, torch.FloatTensor] | None = None
    logits: torch.FloatTensor | None = None
    pred_spans: torch.FloatTensor | None = None
    saliency_scores: torch.FloatTensor | None = None
    auxiliary_outputs: list[dict[str, torch.FloatTensor]] | None = None
    negative_saliency_scores: torch.FloatTensor | None = None
    moment_saliency_scores: torch.FloatTensor | None = None
    contrastive_queries: torch.FloatTensor | None = None
    contrastive_text: torch.FloatTensor | None = None
    contrastive_video: torch.FloatTensor | None = None
    projected_video: torch.FloatTensor | None = None
    projected_text: torch.FloatTensor | None = None
    refined_video: torch.FloatTensor | None = None
    fused_video: torch.FloatTensor | None = None
    encoded_video: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    decoder_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    fusion_attentions: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    decoder_attentions: tuple[torch.FloatTensor, ...] | None = None
    cross_attentions: tuple[torch.FloatTensor, ...] | None = None
