"""What the networks of all detectors begin with, and what their heads do in common."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import nn
from transformers.utils import can_return_tuple

from .configuration import DetectorConfig
from .decoder import DecoderOutput
from .encoder import EncoderOutput
from .feed_forward import MLP
from .fusion import FusionOutput
from .losses import DetectorLoss
from .numerics import inverse_sigmoid, is_on_host
from .outputs import DetectorModelOutput, MomentRetrievalOutput
from .positions import TextPositionEmbedding, video_position_embedding
from .pretrained import DetectorPreTrainedModel
from .projection import Projection
from .tokens import Tokens
from .videolights.refinement import FeatureRefinement

_STAGES = ("projected_video", "projected_text", "refined_video", "fused_video")
_RECORDED = (
    "hidden_states",
    "decoder_hidden_states",
    "fusion_attentions",
    "attentions",
    "decoder_attentions",
    "cross_attentions",
)


class DetectorModel(DetectorPreTrainedModel):
    """Base of the networks without heads: projection, FRA and positions."""

    def __init__(self, config: DetectorConfig):
        super().__init__(config)
        self.video_projection = Projection(config.video_dim + config.audio_dim, config)
        self.text_projection = Projection(config.text_dim, config)
        self.feature_refinement = FeatureRefinement(config) if config.use_feature_refinement else None
        # Released checkpoints hold this embedding whether they use it or not.
        self.text_position_embedding = TextPositionEmbedding(config)
        self.clip_position_embedding = None
        if config.video_positions == "learned":
            self.clip_position_embedding = nn.Embedding(config.max_video_length, config.hidden_size)

    def project(
        self,
        video_features: torch.Tensor,
        text_features: torch.Tensor,
        video_attention_mask: torch.Tensor | None,
        text_attention_mask: torch.Tensor | None,
        audio_features: torch.Tensor | None,
    ) -> tuple[Tokens, Tokens]:
        """Clips (B, L, D) and words (B, N, D) in the model's width, with positions and padding.

        One video, (1, L, ...), may go with several sentences: it is projected once.

        Raises:
            ValueError: A shape does not fit the configuration.
        """
        self._check_features(video_features, text_features, audio_features)
        if audio_features is not None:
            video_features = torch.cat((video_features, audio_features), dim=-1)
        video_valid = _as_padding("video", video_attention_mask, video_features)
        text_valid = _as_padding("text", text_attention_mask, text_features)
        video = self.video_projection(video_features, video_valid)
        text = self.text_projection(text_features, text_valid)
        text_position = self.text_position_embedding(text) if self.config.use_text_positions else None
        clips = Tokens(video, self.place_clips(video, video_valid), video_valid).for_batch(text.shape[0])
        return clips, Tokens(text, text_position, text_valid)

    def place_clips(self, video: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        """Positions of clips (B, L, D), where nothing is padded (1, L, D); `valid` (B, L) marks clips that are not padding."""
        if self.clip_position_embedding is not None:
            return self.clip_position_embedding.weight[: video.shape[1]].unsqueeze(0)
        valid = Tokens(video[:1]).is_valid() if valid is None else valid
        return video_position_embedding(valid.to(video.dtype), self.config.hidden_size).to(video.dtype)

    def refine(self, clips: Tokens, words: Tokens) -> Tokens:
        """Clips refined by the sentence (FRA), or the clips as they are where the configuration has none."""
        if self.feature_refinement is None:
            return clips
        return clips.with_states(self.feature_refinement(clips, words))

    def record(
        self,
        output_hidden_states: bool | None,
        output_attentions: bool | None,
        encoded: EncoderOutput,
        decoded: DecoderOutput,
        fused: FusionOutput | None = None,
    ) -> dict[str, Any]:
        """The states and attention weights of every layer that were asked for, by their names in the output.

        Raises:
            ValueError: Weights are asked of an attention implementation that returns none.
        """
        config, size = self.config, decoded.states.shape[1]
        recorded: dict[str, Any] = {}
        if config.output_hidden_states if output_hidden_states is None else output_hidden_states:
            recorded["hidden_states"] = _first_samples(encoded.all_states, size)
            recorded["decoder_hidden_states"] = tuple(decoded.states)
        if config.output_attentions if output_attentions is None else output_attentions:
            if config._attn_implementation != "eager":
                raise ValueError(
                    f"`output_attentions=True` needs attn_implementation='eager', but the model runs "
                    f"{config._attn_implementation!r}. Call model.set_attn_implementation('eager') first."
                )
            recorded["fusion_attentions"] = None if fused is None else _first_samples(fused.attentions, size)
            recorded["attentions"] = _first_samples(encoded.attentions, size)
            recorded["decoder_attentions"] = decoded.self_attentions
            recorded["cross_attentions"] = decoded.cross_attentions
        return recorded

    def _check_features(self, video: torch.Tensor, text: torch.Tensor, audio: torch.Tensor | None) -> None:
        config = self.config
        for name, features, width, backbones in (
            ("video_features", video, config.video_dim, [*config.video_backbones, ["temporal channels", 2]]),
            ("text_features", text, config.text_dim, config.text_backbones),
        ):
            if features.ndim != 3 or features.shape[-1] != width:
                parts = " + ".join(f"{backbone} {dim}" for backbone, dim in backbones)
                raise ValueError(
                    f"`{name}` must have shape (batch, length, {width}) for this model ({parts}), "
                    f"got {tuple(features.shape)}."
                )
        if video.shape[0] not in (1, text.shape[0]):
            raise ValueError(
                f"{video.shape[0]} videos but {text.shape[0]} sentences: give one sentence per video, or one video."
            )
        if (config.use_text_positions or config.word_correlation == "map") and text.shape[1] > config.max_text_length:
            raise ValueError(
                f"{text.shape[1]} words, but the model has positions for {config.max_text_length}: cut the text."
            )
        if config.video_positions == "learned" and video.shape[1] > config.max_video_length:
            raise ValueError(
                f"{video.shape[1]} clips, but the model has positions for {config.max_video_length}: use windows."
            )
        if (audio is not None) != (config.audio_dim > 0):
            wanted = f"needs audio features of width {config.audio_dim}" if config.audio_dim else "takes no audio"
            raise ValueError(f"This model {wanted}, but `audio_features` is {'None' if audio is None else 'given'}.")
        if audio is not None and audio.shape != (*video.shape[:2], config.audio_dim):
            raise ValueError(
                f"`audio_features` must have shape {(*video.shape[:2], config.audio_dim)}, got {tuple(audio.shape)}."
            )


class DetectorForMomentRetrieval(DetectorPreTrainedModel, ABC):
    """Base of the detectors with heads: moments of every decoder layer, and the loss.

    Inference runs the network once and nothing that serves the loss alone.
    """

    model_class: ClassVar[type[DetectorModel]]
    loss_class: ClassVar[type[DetectorLoss]]
    output_class: ClassVar[type[MomentRetrievalOutput]] = MomentRetrievalOutput
    # Whether one video may go with several sentences.
    shares_video: ClassVar[bool] = True
    # Whether the loss also wants each video with a sentence that is not its own.
    uses_negatives: ClassVar[bool] = False

    def __init__(self, config: DetectorConfig):
        super().__init__(config)
        size, width = config.hidden_size, config.contrastive_hidden_size
        self.model = self.model_class(config)
        self.class_head = nn.Linear(size, 2)
        self.span_head = MLP([size, size, size, 2])
        if config.has_alignment_heads:
            self.contrastive_query_head = nn.Linear(size, width)
            self.contrastive_text_head = nn.Linear(size, width)
            self.contrastive_video_head = nn.Linear(size, width)

    @can_return_tuple
    def forward(
        self,
        video_features: torch.FloatTensor,
        text_features: torch.FloatTensor,
        video_attention_mask: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
        audio_features: torch.FloatTensor | None = None,
        labels: dict[str, torch.Tensor] | None = None,
        epoch: int | torch.Tensor = 0,
        output_intermediates: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> MomentRetrievalOutput:
        """Find moments and score clips.

        Args:
            video_features: (B, L, `config.video_dim`) clips: L2-normalized features of each backbone side by side,
                then the two temporal channels. (1, L, ...) for several sentences about one video, with mask and audio.
            text_features: (B, N, `config.text_dim`) words.
            video_attention_mask: (B, L), 1 for valid clips; None means all are.
            text_attention_mask: (B, N), 1 for valid words; None means all are.
            audio_features: (B, L, `config.audio_dim`), needed when the configuration names audio.
            labels: Targets as padded tensors, see [`DetectorLoss`]; with them the output holds the loss.
            epoch: Epoch in training, from 0; the adaptive hard losses grow with it (paper, eq. 8 to 10). A compiled step
                takes it as a tensor, so that it stays one graph for all epochs.
            output_intermediates: Return the stages that pictures need (projected, refined, fused, encoded video), and
                in training the contrastive video vectors.
            output_hidden_states: Return the states of every layer.
            output_attentions: Return attention weights; needs `attn_implementation="eager"`.

        Raises:
            ValueError: A shape does not fit the configuration, or the labels do not fit the inputs.
        """
        features = self.model(
            video_features,
            text_features,
            video_attention_mask,
            text_attention_mask,
            audio_features,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
            **({"encode_negatives": labels is not None} if self.uses_negatives else {}),
        )
        output = self.predict(features)
        if labels is not None:
            output |= self.training_outputs(features, output)
            valid = _as_padding("video", video_attention_mask, video_features)
            valid = Tokens(video_features, valid=valid).is_valid().expand(text_features.shape[0], -1)
            output["loss"], output["loss_dict"] = self.loss_class(self.config)(output, features, labels, valid, epoch)
        if output_intermediates:
            output |= {stage: features[stage] for stage in _STAGES} | {"encoded_video": features["last_hidden_state"]}
            if labels is not None and self.config.has_alignment_heads:
                output["contrastive_video"] = _unit(self.contrastive_video_head(features["last_hidden_state"]))
        return self.output_class(**output, **{name: features.get(name) for name in _RECORDED})

    @abstractmethod
    def predict(self, features: DetectorModelOutput) -> dict[str, Any]:
        """The last layer's moments, and `saliency_scores` (B, L)."""

    def moment_heads(self, features: DetectorModelOutput) -> dict[str, Any]:
        """The last decoder layer's moments: `logits` (B, M, 2) and `pred_spans` (B, M, 2) as (center, width)."""
        return self._moments_after(features, slice(-1, None))[-1]

    def _moments_after(self, features: DetectorModelOutput, layers: slice) -> list[dict[str, torch.Tensor]]:
        """Moments after each of some decoder layers, computed together."""
        queries = features["query_states"][layers]
        spans = self.span_head(queries)
        anchors = features.get("anchors")
        if anchors is not None:
            spans = spans + inverse_sigmoid(anchors[layers])
        moments = zip(self.class_head(queries), spans.sigmoid(), strict=True)
        return [{"logits": logits, "pred_spans": pred_spans} for logits, pred_spans in moments]

    def training_outputs(self, features: DetectorModelOutput, output: dict[str, Any]) -> dict[str, Any]:
        """What the loss needs beside the predictions `output`: earlier layers and contrast."""
        auxiliary = self._moments_after(features, slice(-1)) if self.config.auxiliary_loss else []
        if not self.config.has_alignment_heads:
            return {"auxiliary_outputs": auxiliary or None}
        queries = _unit(self.contrastive_query_head(features["query_states"]))
        for layer, layer_queries in zip(auxiliary, queries):
            layer["contrastive_queries"] = layer_queries
        return {
            "auxiliary_outputs": auxiliary or None,
            "contrastive_queries": queries[-1],
            "contrastive_text": _unit(self.contrastive_text_head(self.text_to_align(features))),
        }

    def text_to_align(self, features: DetectorModelOutput) -> torch.Tensor:
        """Words (B, N, D) of the alignment loss: the projected ones, not those that a network encoded."""
        return features["projected_text"]


def _as_padding(modality: str, mask: torch.Tensor | None, features: torch.Tensor) -> torch.Tensor | None:
    if mask is not None and mask.shape != features.shape[:2]:
        raise ValueError(
            f"`{modality}_attention_mask` must have shape {tuple(features.shape[:2])} like its features, "
            f"got {tuple(mask.shape)}."
        )
    if mask is None or (is_on_host(mask) and mask.all()):
        return None
    return mask.bool()


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(vectors, dim=-1)


def _first_samples(tensors: tuple[torch.Tensor | None, ...], size: int) -> tuple[torch.Tensor | None, ...]:
    # Without negative pairs the tensors themselves, so that `retain_grad` works on them.
    return tuple(tensor if tensor is None or len(tensor) == size else tensor[:size] for tensor in tensors)


__all__ = ["DetectorForMomentRetrieval", "DetectorModel"]
