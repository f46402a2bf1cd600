"""VideoLights: joint moment retrieval and highlight detection from text (arXiv 2412.01558)."""

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from ..configuration import DetectorConfig
from ..decoder import AnchorDecoder
from ..detector import DetectorForMomentRetrieval, DetectorModel
from ..encoder import Encoder, EncoderOutput
from ..fusion import Fusion, FusionOutput
from ..linear import projected_dot
from ..losses import DetectorLoss
from ..outputs import DetectorModelOutput
from ..pretrained import DetectorPreTrainedModel
from ..tokens import Tokens, repeat_to
from .configuration import VideoLightsConfig
from .coupling import MomentToHighlight
from .fusion import FUSION_LAYERS
from .loss import VideoLightsLoss
from .outputs import VideoLightsModelOutput, VideoLightsMomentRetrievalOutput


class VideoLightsPreTrainedModel(DetectorPreTrainedModel):
    """What VideoLights models share: all that detectors do, and their configuration."""

    config_class: type[DetectorConfig] = VideoLightsConfig
    config: VideoLightsConfig


class VideoLightsModel(VideoLightsPreTrainedModel, DetectorModel):
    """The VideoLights network without its heads: project, refine, fuse, encode, decode (paper, Fig. 2)."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__(config)
        self.global_token = nn.Parameter(torch.empty(config.hidden_size))
        self.global_position = nn.Parameter(torch.empty(config.hidden_size))
        layer = FUSION_LAYERS.get(config.cross_modal_fusion)
        self.fusion = None if layer is None else Fusion(config, layer)
        self.encoder = Encoder(config)
        self.query_anchors = nn.Embedding(config.num_queries, 2)
        self.decoder = AnchorDecoder(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if module is self:
            init.normal_(self.global_token)
            init.normal_(self.global_position)

    @can_return_tuple
    def forward(
        self,
        video_features: torch.FloatTensor,
        text_features: torch.FloatTensor,
        video_attention_mask: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
        audio_features: torch.FloatTensor | None = None,
        encode_negatives: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> VideoLightsModelOutput:
        """Run the network; arguments that are not listed are those of [`VideoLightsForMomentRetrieval`].

        Args:
            encode_negatives: Also encode every video with the sentence of the next sample (the last one with the
                first), for the saliency loss.
        """
        masks = video_attention_mask, text_attention_mask
        projected, words = self.project(video_features, text_features, *masks, audio_features)
        clips = self.refine(projected, words)
        # Positive and negative pairs share one pass, and what depends on the clips alone.
        sentences = words.with_next() if encode_negatives else words
        fused = self.fuse(clips, sentences)
        encoded = self.encode(clips.with_states(fused.states), sentences)

        size, num_clips = clips.states.shape[:2]
        # Contiguous, as many layers read it.
        global_state, memory = encoded.states[:, 0], encoded.states[:, 1 : 1 + num_clips].contiguous()
        anchors = self.query_anchors.weight.sigmoid().expand(size, -1, -1)
        decoded = self.decoder(anchors, clips.with_states(memory[:size]))

        return VideoLightsModelOutput(
            last_hidden_state=memory[:size],
            global_state=global_state[:size],
            query_states=decoded.states,
            anchors=decoded.anchors,
            projected_video=projected.states,
            projected_text=words.states,
            refined_video=clips.states,
            fused_video=fused.states[:size],
            negative_hidden_state=memory[size:] if encode_negatives else None,
            negative_global_state=global_state[size:] if encode_negatives else None,
            video_mask=clips.is_valid(),
            text_mask=words.is_valid(),
            **self.record(output_hidden_states, output_attentions, encoded, decoded, fused),
        )

    def fuse(self, clips: Tokens, words: Tokens) -> FusionOutput:
        """Clips that have seen the words (P, N, D), or the clips as they are where the configuration has no fusion.

        The clips (B, L, D) repeat for each B sentences; returns (P, L, D).
        """
        if self.fusion is None:
            return FusionOutput(repeat_to(clips.states, words.states.shape[0]), ())
        return self.fusion(clips, words)

    def encode(self, clips: Tokens, words: Tokens) -> EncoderOutput:
        """Encode the global token and the fused clips (P, L, D); returns (P, 1 + L, D)."""
        token = self.global_token.expand(clips.states.shape[0], 1, -1)
        tokens = Tokens(token, self.global_position.view(1, 1, -1)).then(clips)
        # Without fusion the clips know nothing of the sentence: the encoder attends over both, as Moment-DETR's does.
        return self.encoder(tokens.then(words) if self.fusion is None else tokens)


class VideoLightsForMomentRetrieval(VideoLightsPreTrainedModel, DetectorForMomentRetrieval):
    """VideoLights with its heads: the moments that a sentence describes, and every clip's highlight score.

    `AutoModel` names this class, not the network without heads: transformers has no Auto class for these heads, one of
    our own could not travel with a checkpoint, and `pipeline` loads the model through an Auto class.
    """

    model_class = VideoLightsModel
    loss_class: ClassVar[type[DetectorLoss]] = VideoLightsLoss
    output_class = VideoLightsMomentRetrievalOutput
    uses_negatives = True

    def __init__(self, config: VideoLightsConfig):
        super().__init__(config)
        self.saliency_clip_head = nn.Linear(config.hidden_size, config.hidden_size)
        self.saliency_global_head = nn.Linear(config.hidden_size, config.hidden_size)
        self.moment_to_highlight = MomentToHighlight(config) if config.use_moment_to_highlight else None
        self.post_init()

    def predict(self, features: DetectorModelOutput) -> dict[str, Any]:
        """The last layer's moments, and `saliency_scores` (B, L): clips times global token."""
        scores = self._saliency(features["last_hidden_state"], features["global_state"])
        return {**self.moment_heads(features), "saliency_scores": scores}

    def training_outputs(self, features: DetectorModelOutput, output: dict[str, Any]) -> dict[str, Any]:
        """What the loss needs beside the predictions: earlier layers, contrast, negative pairs and task coupling."""
        extra = super().training_outputs(features, output)
        negative_scores = self._saliency(features["negative_hidden_state"], features["negative_global_state"])
        extra["negative_saliency_scores"] = negative_scores
        if self.moment_to_highlight is not None:
            masked = self.config.loss_padding == "masked"
            extra["moment_saliency_scores"] = self.moment_to_highlight(
                features["projected_video"],
                features["last_hidden_state"],
                output["logits"],
                output["pred_spans"],
                features["video_mask"].sum(1, keepdim=True) if masked else None,
            )
        return extra

    def _saliency(self, memory: torch.Tensor, global_state: torch.Tensor) -> torch.Tensor:
        whole = self.saliency_global_head(global_state)
        return projected_dot(memory, self.saliency_clip_head, whole) * memory.shape[-1] ** -0.5


__all__ = ["VideoLightsForMomentRetrieval", "VideoLightsModel", "VideoLightsPreTrainedModel"]
