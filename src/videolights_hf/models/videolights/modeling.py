"""VideoLights: joint moment retrieval and highlight detection from text (arXiv 2412.01558)."""

import torch
from torch import nn
from transformers import initialization as init

from ..attention import (
    VideoLightsFeatureRefinement,
    VideoLightsMLP,
    VideoLightsProjection,
    VideoLightsTextPositionEmbedding,
    key_mask,
    video_position_embedding,
)
from ..decoder import VideoLightsDecoder, inverse_sigmoid
from ..outputs import VideoLightsModelOutput, VideoLightsMomentRetrievalOutput
from ..pretrained import VideoLightsPreTrainedModel
from .configuration import VideoLightsConfig
from .coupling import VideoLightsMomentToHighlight
from .fusion import VideoLightsEncoder, VideoLightsFusion
from .loss import VideoLightsLoss

_RECORDED = (
    "hidden_states",
    "decoder_hidden_states",
    "fusion_attentions",
    "attentions",
    "decoder_attentions",
    "cross_attentions",
)


class VideoLightsModel(VideoLightsPreTrainedModel):
    """The VideoLights network without its heads: project, refine, fuse, encode, decode (paper, Fig. 2)."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__(config)
        self.video_projection = VideoLightsProjection(config.video_dim + config.audio_dim, config)
        self.text_projection = VideoLightsProjection(config.text_dim, config)
        self.feature_refinement = VideoLightsFeatureRefinement(config) if config.use_feature_refinement else None
        # Released checkpoints hold this embedding whether they use it or not.
        self.text_position_embedding = VideoLightsTextPositionEmbedding(config)
        self.global_token = nn.Parameter(torch.empty(config.hidden_size))
        self.global_position = nn.Parameter(torch.empty(config.hidden_size))
        self.fusion = VideoLightsFusion(config) if config.cross_modal_fusion != "none" else None
        self.encoder = VideoLightsEncoder(config)
        self.query_anchors = nn.Embedding(config.num_queries, 2)
        self.decoder = VideoLightsDecoder(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if module is self:
            init.normal_(self.global_token)
            init.normal_(self.global_position)

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
        return_dict: bool | None = None,
    ) -> VideoLightsModelOutput | tuple:
        """Run the network.

        Args:
            video_features: (B, L, `config.video_dim`) clips: L2-normalised features of each backbone side by side,
                then the two temporal channels.
            text_features: (B, N, `config.text_dim`) words.
            video_attention_mask: (B, L), 1 for valid clips; None means all are.
            text_attention_mask: (B, N), 1 for valid words; None means all are.
            audio_features: (B, L, `config.audio_dim`), needed when the config names audio.
            encode_negatives: also encode every video with the sentence of the next sample (the last one with the
                first), for the saliency loss.
            output_hidden_states: return the states of every layer.
            output_attentions: return attention weights; needs `attn_implementation="eager"`.
            return_dict: False returns a tuple.

        Raises:
            ValueError: if a shape does not fit the config, or attentions are asked of an implementation that
                computes none.
        """
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        if output_attentions and self.config._attn_implementation != "eager":
            raise ValueError(
                f"`output_attentions=True` needs attn_implementation='eager', but the model runs "
                f"{self.config._attn_implementation!r}. Call model.set_attn_implementation('eager') first."
            )
        self._check_inputs(video_features, text_features, video_attention_mask, text_attention_mask, audio_features)
        all_valid = video_attention_mask is None and text_attention_mask is None
        video_mask = _as_bool_mask(video_attention_mask, video_features)
        text_mask = _as_bool_mask(text_attention_mask, text_features)

        if audio_features is not None:
            video_features = torch.cat((video_features, audio_features), dim=-1)
        projected_video = self.video_projection(video_features)
        projected_text = self.text_projection(text_features)
        refined_video = projected_video
        if self.feature_refinement is not None:
            refined_video = self.feature_refinement(projected_video, projected_text, video_mask, text_mask)

        video, text = refined_video, projected_text
        video_position = video_position_embedding(video_mask, self.config.hidden_size).to(video.dtype)
        text_position = self.text_position_embedding(text) if self.config.use_text_positions else None
        memory_position, memory_valid = video_position, video_mask
        if encode_negatives:
            # Positive and negative pairs share one pass; positions stay with their place in the batch.
            video, video_position, video_mask = (torch.cat((x, x)) for x in (video, video_position, video_mask))
            text, text_mask = (torch.cat((x, x.roll(-1, dims=0))) for x in (text, text_mask))
            text_position = None if text_position is None else torch.cat((text_position, text_position))

        fused_video, fusion_attentions = self._fuse(
            video, text, video_position, text_position, video_mask, text_mask, all_valid
        )
        encoded, encoder_states, encoder_attentions = self._encode(
            fused_video, text, video_position, text_position, video_mask, text_mask, all_valid
        )

        batch_size, num_clips = video_features.shape[:2]
        global_state, memory = encoded[:, 0], encoded[:, 1 : 1 + num_clips]
        anchors = self.query_anchors.weight.sigmoid().expand(batch_size, -1, -1)
        query_states, all_anchors, decoder_attentions, cross_attentions = self.decoder(
            anchors,
            memory[:batch_size],
            memory_position,
            self._attention_mask(memory[:batch_size], memory_valid, all_valid, query=anchors),
        )

        output_hidden_states = (
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        output = VideoLightsModelOutput(
            last_hidden_state=memory[:batch_size],
            global_state=global_state[:batch_size],
            query_states=query_states,
            anchors=all_anchors,
            projected_video=projected_video,
            projected_text=projected_text,
            refined_video=refined_video,
            fused_video=fused_video[:batch_size],
            negative_hidden_state=memory[batch_size:] if encode_negatives else None,
            negative_global_state=global_state[batch_size:] if encode_negatives else None,
            hidden_states=tuple(state[:batch_size] for state in encoder_states) if output_hidden_states else None,
            decoder_hidden_states=tuple(query_states) if output_hidden_states else None,
            fusion_attentions=_first_samples(fusion_attentions, batch_size) if output_attentions else None,
            attentions=_first_samples(encoder_attentions, batch_size) if output_attentions else None,
            decoder_attentions=decoder_attentions if output_attentions else None,
            cross_attentions=cross_attentions if output_attentions else None,
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _fuse(self, video, text, video_position, text_position, video_mask, text_mask, all_valid):
        if self.fusion is None:
            return video, ()
        clips_as_keys = self._attention_mask(video, video_mask, all_valid, query=text)
        words_as_keys = self._attention_mask(text, text_mask, all_valid, query=video)
        return self.fusion(video, text, video_position, text_position, clips_as_keys, words_as_keys)

    def _encode(self, video, text, video_position, text_position, video_mask, text_mask, all_valid):
        batch_size = video.shape[0]
        states = [self.global_token.expand(batch_size, 1, -1), video]
        positions = [self.global_position.expand(batch_size, 1, -1), video_position]
        masks = [video_mask.new_ones(batch_size, 1), video_mask]
        if self.fusion is None:
            # Nothing has told the clips of the sentence: let the encoder attend over both, as Moment-DETR's does.
            states.append(text)
            positions.append(torch.zeros_like(text) if text_position is None else text_position)
            masks.append(text_mask)
        states, positions, mask = (torch.cat(parts, dim=1) for parts in (states, positions, masks))
        return self.encoder(states, positions, self._attention_mask(states, mask, all_valid, query=states))

    def _attention_mask(self, keys: torch.Tensor, mask: torch.Tensor, all_valid: bool, query: torch.Tensor):
        return key_mask(self.config, query, keys, None if all_valid else mask)

    def _check_inputs(self, video, text, video_mask, text_mask, audio):
        config = self.config
        for name, features, width, backbones in (
            ("video_features", video, config.video_dim, [*config.video_backbones, ["temporal channels", 2]]),
            ("text_features", text, config.text_dim, config.text_backbones),
        ):
            if features.ndim != 3 or features.shape[-1] != width:
                parts = " + ".join(f"{name} {dim}" for name, dim in backbones)
                raise ValueError(
                    f"`{name}` must have shape (batch, length, {width}) for this model ({parts}), "
                    f"got {tuple(features.shape)}."
                )
        if video.shape[0] != text.shape[0]:
            raise ValueError(f"{video.shape[0]} videos but {text.shape[0]} sentences: give one sentence a video.")
        for name, mask, features in (
            ("video_attention_mask", video_mask, video),
            ("text_attention_mask", text_mask, text),
        ):
            if mask is not None and mask.shape != features.shape[:2]:
                raise ValueError(
                    f"`{name}` must have shape {tuple(features.shape[:2])} like its features, got {tuple(mask.shape)}."
                )
        if config.use_text_positions and text.shape[1] > config.max_text_length:
            raise ValueError(
                f"{text.shape[1]} words, but the model has positions for {config.max_text_length}: cut the text."
            )
        if (audio is not None) != (config.audio_dim > 0):
            wanted = f"needs audio features of width {config.audio_dim}" if config.audio_dim else "takes no audio"
            raise ValueError(f"This model {wanted}, but `audio_features` is {'None' if audio is None else 'given'}.")
        if audio is not None and audio.shape != (*video.shape[:2], config.audio_dim):
            raise ValueError(
                f"`audio_features` must have shape {(*video.shape[:2], config.audio_dim)}, got {tuple(audio.shape)}."
            )


class VideoLightsForMomentRetrieval(VideoLightsPreTrainedModel):
    """VideoLights with its heads: the moments that a sentence describes, and every clip's highlight score.

    Inference runs the network once and nothing that serves the loss alone.
    """

    def __init__(self, config: VideoLightsConfig):
        super().__init__(config)
        hidden_size = config.hidden_size
        self.model = VideoLightsModel(config)
        self.class_head = nn.Linear(hidden_size, 2)
        self.span_head = VideoLightsMLP(hidden_size, hidden_size, 2, num_layers=3)
        self.saliency_clip_head = nn.Linear(hidden_size, hidden_size)
        self.saliency_global_head = nn.Linear(hidden_size, hidden_size)
        if config.use_contrastive_alignment:
            self.contrastive_query_head = nn.Linear(hidden_size, config.contrastive_hidden_size)
            self.contrastive_text_head = nn.Linear(hidden_size, config.contrastive_hidden_size)
            self.contrastive_video_head = nn.Linear(hidden_size, config.contrastive_hidden_size)
        self.moment_to_highlight = VideoLightsMomentToHighlight(config) if config.use_moment_to_highlight else None
        self.post_init()

    def forward(
        self,
        video_features: torch.FloatTensor,
        text_features: torch.FloatTensor,
        video_attention_mask: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
        audio_features: torch.FloatTensor | None = None,
        labels: dict[str, torch.Tensor] | None = None,
        epoch: int = 0,
        output_intermediates: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> VideoLightsMomentRetrievalOutput | tuple:
        """Find moments and score clips.

        Args:
            video_features: (B, L, `config.video_dim`), as in [`VideoLightsModel`].
            text_features: (B, N, `config.text_dim`).
            video_attention_mask: (B, L), 1 for valid clips; None means all are.
            text_attention_mask: (B, N), 1 for valid words; None means all are.
            audio_features: (B, L, `config.audio_dim`), when the config names audio.
            labels: targets as padded tensors, see [`VideoLightsLoss`]; with them the output holds the loss.
            epoch: epoch in training, from 0; the adaptive hard losses grow with it (paper, eq. 9 and 10).
            output_intermediates: return the stages that pictures need (projected, refined, fused, encoded video).
            output_hidden_states: return the states of every layer.
            output_attentions: return attention weights; needs `attn_implementation="eager"`.
            return_dict: False returns a tuple.

        Raises:
            ValueError: if a shape does not fit the config or the labels do not fit the inputs.
        """
        features = self.model(
            video_features,
            text_features,
            video_attention_mask,
            text_attention_mask,
            audio_features,
            encode_negatives=labels is not None,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        output = dict(
            **self._moment_heads(features.query_states[-1], features.anchors[-1]),
            saliency_scores=self._saliency(features.last_hidden_state, features.global_state),
        )
        if labels is not None:
            output.update(self._training_heads(features, output))
            video_mask = _as_bool_mask(video_attention_mask, video_features)
            loss, loss_dict = VideoLightsLoss(self.config)(output, features, labels, video_mask, epoch)
            output.update(loss=loss, loss_dict=loss_dict)
        if output_intermediates:
            stages = ("projected_video", "projected_text", "refined_video", "fused_video")
            output.update({stage: features[stage] for stage in stages}, encoded_video=features.last_hidden_state)
        output.update({name: features.get(name) for name in _RECORDED})
        output = VideoLightsMomentRetrievalOutput(**output)
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _moment_heads(self, query_states: torch.Tensor, anchors: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            "logits": self.class_head(query_states),
            "pred_spans": (self.span_head(query_states) + inverse_sigmoid(anchors)).sigmoid(),
        }

    def _saliency(self, memory: torch.Tensor, global_state: torch.Tensor) -> torch.Tensor:
        clips = self.saliency_clip_head(memory)
        whole = self.saliency_global_head(global_state).unsqueeze(1)
        return (clips * whole).sum(-1) * memory.shape[-1] ** -0.5

    def _training_heads(self, features: VideoLightsModelOutput, output: dict) -> dict:
        """What the loss needs beside the predictions: earlier layers, negative pairs, contrast and task coupling."""
        heads = {
            "negative_saliency_scores": self._saliency(features.negative_hidden_state, features.negative_global_state)
        }
        earlier = len(features.query_states) - 1 if self.config.auxiliary_loss else 0
        auxiliary = [self._moment_heads(features.query_states[i], features.anchors[i]) for i in range(earlier)]
        if self.config.use_contrastive_alignment:
            heads["contrastive_queries"] = _unit(self.contrastive_query_head(features.query_states[-1]))
            heads["contrastive_text"] = _unit(self.contrastive_text_head(features.projected_text))
            heads["contrastive_video"] = _unit(self.contrastive_video_head(features.last_hidden_state))
            for i, layer in enumerate(auxiliary):
                layer["contrastive_queries"] = _unit(self.contrastive_query_head(features.query_states[i]))
        if self.moment_to_highlight is not None:
            heads["moment_saliency_scores"] = self.moment_to_highlight(
                features.projected_video, features.last_hidden_state, output["logits"], output["pred_spans"]
            )
        return {**heads, "auxiliary_outputs": auxiliary or None}


def _as_bool_mask(mask: torch.Tensor | None, features: torch.Tensor) -> torch.Tensor:
    if mask is None:
        return torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
    return mask.bool()


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(vectors, dim=-1)


def _first_samples(tensors: tuple[torch.Tensor, ...], batch_size: int) -> tuple[torch.Tensor, ...]:
    return tuple(tensor[:batch_size] for tensor in tensors)


__all__ = ["VideoLightsForMomentRetrieval", "VideoLightsModel"]
