"""The released model in PyTorch's own layers, trained by a plain loop: what the package's training is compared with.

    python -m benchmarks.plain_release train DATA --seed 2018 --output runs/curve
    python -m benchmarks.plain_release initialize DATA runs/initial-2018 --seed 2018

The released code's numbers are known without dropout, and for batches without its misplaced mask. This is an
independent model for the rest: attention is `torch.nn.MultiheadAttention`, sequences are put together and taken apart
as in the release, dropout is drawn where the release draws it, and the mask over padded pairs is tiled in the release's
order. It builds its layers in the release's order too, so that a seed gives the release's own initial weights, bit for
bit. Sine embeddings and loss, which know neither dropout nor masks, are the package's.

`train` writes a JSON file of the kind that `learning_curve.py summarize` reads. `initialize` writes the initial weights
of a seed as a model folder, from which `learning_curve.py train --init-from` starts the package's model.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from torch import nn
from torch.nn import functional

from videolights_hf.models.numerics import inverse_sigmoid
from videolights_hf.models.positions import sine_embedding, video_position_embedding
from videolights_hf.models.spans import center_width_to_start_end
from videolights_hf.models.videolights.loss import VideoLightsLoss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
    from videolights_hf.data import FeatureDataset

app = typer.Typer(help=__doc__, add_completion=False)

SMALL_MODEL = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
BATCH_SIZE = 32
EVAL_BATCH_SIZE = 100
LEARNING_RATE = 5e-4
WEIGHT_DECAY = 1e-4
MAX_GRAD_NORM = 0.1


def misplaced_mask(padded_queries: torch.Tensor, padded_keys: torch.Tensor, num_heads: int) -> torch.Tensor:
    """The release's mask over pairs of a padded query (B, Q) and a padded key (B, K), (B * H, Q, K).

    It runs over the samples of the first head, then of the second, while attention reads it as the heads of the first
    sample, then of the second: a head of one sample sees another sample's mask.
    """
    return (padded_queries.unsqueeze(2) & padded_keys.unsqueeze(1)).repeat(num_heads, 1, 1)


class Conv1D(nn.Module):
    """Convolution of kernel size 1 over (B, S, C)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1d = nn.Conv1d(in_channels, out_channels, 1)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(B, S, in_channels) to (B, S, out_channels)."""
        return self.conv1d(states.transpose(1, 2)).transpose(1, 2)


class ProjectionLayer(nn.Module):
    """Norm, dropout, convolution, and ReLU unless it is the last layer."""

    def __init__(self, in_channels: int, config: VideoLightsConfig, is_last: bool):
        super().__init__()
        self.is_last = is_last
        self.LayerNorm = nn.LayerNorm(in_channels)
        self.net = nn.Sequential(nn.Dropout(config.input_dropout), Conv1D(in_channels, config.hidden_size))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(B, S, in_channels) to (B, S, D)."""
        states = self.net(self.LayerNorm(states))
        return states if self.is_last else functional.relu(states)


def projection(in_channels: int, config: VideoLightsConfig) -> nn.Sequential:
    """Two projection layers."""
    sizes = (in_channels, config.hidden_size, config.hidden_size)
    layers = [ProjectionLayer(size, config, is_last=index == 1) for index, size in enumerate(sizes)]
    # The release makes a third layer and drops it: the next module's random numbers are those behind it.
    return nn.Sequential(*layers[:2])


class WeightedPool(nn.Module):
    """Softmax-weighted sum of the valid words."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(hidden_size, 1)))

    def forward(self, text: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
        """(B, N, D) and (B, N) to (B, 1, D)."""
        scores = text @ self.weight + (1 - text_mask.unsqueeze(-1)) * -1e30
        return (scores.softmax(1) * text).sum(1, keepdim=True)


class FeatureRefinement(nn.Module):
    """Second stage of FRA."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        size = config.hidden_size
        self.dropout = nn.Dropout(config.refinement_dropout)
        self.sim_w = nn.Parameter(nn.init.xavier_uniform_(torch.empty(size, 1)))
        self.cor_v_w = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, size)))
        self.cor_q_w = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1)))
        self.word_to_sentence_pool = WeightedPool(size)
        self.mixer = Conv1D(4 * size, size)

    def forward(
        self, video: torch.Tensor, text: torch.Tensor, video_mask: torch.Tensor, text_mask: torch.Tensor
    ) -> torch.Tensor:
        """Refined clips (B, L, D)."""
        word_weights = (video @ text.transpose(1, 2)).softmax(-1)
        words = word_weights @ (self.cor_q_w * self.cor_v_w).expand(*text.shape[:2], -1)
        sentence = self.word_to_sentence_pool(text, text_mask)
        similarity = functional.cosine_similarity(video, sentence, dim=-1) + (video_mask + 1e-45).log()
        branches = [video, similarity.unsqueeze(-1) * self.sim_w[:, 0], sentence.repeat(1, video.shape[1], 1), words]
        mixed = self.mixer(torch.cat([self.dropout(branch) for branch in branches], dim=-1))
        return self.dropout(functional.relu(mixed))


class FusionLayer(nn.Module):
    """Bi-CMF, on the sequence of global token, clips and words."""

    def __init__(self, config: VideoLightsConfig, misplace_mask: bool):
        super().__init__()
        size, inner, heads, rate = _layer_sizes(config)
        self.num_heads = heads
        self.misplace_mask = misplace_mask
        for index in (1, 2, 3):
            self.add_module(f"cross_attn_{index}", nn.MultiheadAttention(size, heads, rate, batch_first=True))
        for index in (1, 2, 3):
            self.add_module(f"linear{index}", nn.Linear(size, size))
        self.linear4 = nn.Linear(size, inner)
        self.linear5 = nn.Linear(inner, size)
        self.dropout = nn.Dropout(rate)
        for index in (1, 2, 3, 4):
            self.add_module(f"norm{index}", nn.LayerNorm(size))
        self.activation = nn.PReLU()

    def forward(
        self, sequence: torch.Tensor, padding: torch.Tensor, position: torch.Tensor, num_clips: int
    ) -> torch.Tensor:
        """(B, 1 + L + N, D) to the same; `padding` (B, 1 + L + N) is True for padding."""
        parts = [1, num_clips, sequence.shape[1] - 1 - num_clips]
        token, video, text = sequence.split(parts, dim=1)
        _, placed_video, placed_text = (sequence + position).split(parts, dim=1)
        _, padded_clips, padded_words = padding.split(parts, dim=1)
        over_words, over_clips = {"key_padding_mask": padded_words}, {"key_padding_mask": padded_clips}
        if self.misplace_mask:
            over_words["attn_mask"] = misplaced_mask(padded_clips, padded_words, self.num_heads)
            over_clips["attn_mask"] = misplaced_mask(padded_words, padded_clips, self.num_heads)

        attended, _ = self.cross_attn_1(placed_video, placed_text, text, **over_words)
        first = self.norm1(video + self.linear1(self.dropout(attended)))
        attended, _ = self.cross_attn_2(placed_text, placed_video, video, **over_clips)
        words = text + self.linear2(self.dropout(attended))
        attended, _ = self.cross_attn_3(first, words, words, **over_words)
        second = self.norm3(first + self.linear3(self.dropout(attended)))
        update = self.linear5(self.dropout(self.activation(self.linear4(second))))
        return torch.cat((token, self.norm4(update + self.dropout(update)), text), dim=1)


class EncoderLayer(nn.Module):
    """Post-norm self-attention."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        size, inner, heads, rate = _layer_sizes(config)
        self.self_attn = nn.MultiheadAttention(size, heads, rate, batch_first=True)
        self.linear1 = nn.Linear(size, inner)
        self.dropout = nn.Dropout(rate)
        self.linear2 = nn.Linear(inner, size)
        self.norm1 = nn.LayerNorm(size)
        self.norm2 = nn.LayerNorm(size)
        self.activation = nn.PReLU()

    def forward(self, states: torch.Tensor, padding: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """(B, S, D) to (B, S, D)."""
        placed = states + position
        attended, _ = self.self_attn(placed, placed, states, key_padding_mask=padding)
        states = self.norm1(states + self.dropout(attended))
        update = self.linear2(self.dropout(self.activation(self.linear1(states))))
        return self.norm2(states + self.dropout(update))


class OpenAttention(nn.Module):
    """Multi-head attention without projections of its own going in, as the decoder needs it."""

    def __init__(self, value_size: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads = num_heads
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(value_size, value_size)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, padding: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Query (B, M, E), key (B, S, E) and value (B, S, D) to (B, M, D)."""
        query, key, value = (states.unflatten(-1, (self.num_heads, -1)) for states in (query, key, value))
        scores = torch.einsum("bqhc,bkhc->bhqk", query, key) / math.sqrt(query.shape[-1])
        if padding is not None:
            scores = scores.masked_fill(padding[:, None, None], -math.inf)
        return self.out_proj(torch.einsum("bhqk,bkhc->bqhc", self.dropout(scores.softmax(-1)), value).flatten(2))


class DecoderLayer(nn.Module):
    """Self-attention among moment queries, cross-attention to the clips, feed-forward."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        size, inner, heads, rate = _layer_sizes(config)
        self.num_heads = heads
        for name in ("qcontent", "qpos", "kcontent", "kpos", "v"):
            self.add_module(f"sa_{name}_proj", nn.Linear(size, size))
        self.self_attn = OpenAttention(size, heads, rate)
        self.norm1 = nn.LayerNorm(size)
        for name in ("qcontent", "qpos", "kcontent", "kpos", "v", "qpos_sine"):
            self.add_module(f"ca_{name}_proj", nn.Linear(size, size))
        self.cross_attn = OpenAttention(size, heads, rate)
        self.linear1 = nn.Linear(size, inner)
        self.dropout = nn.Dropout(rate)
        self.linear2 = nn.Linear(inner, size)
        self.norm2 = nn.LayerNorm(size)
        self.norm3 = nn.LayerNorm(size)
        self.activation = nn.PReLU()

    def side_by_side(self, content: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Two (B, S, D) to (B, S, 2 D), content and position next to each other within each head."""
        content, position = (states.unflatten(-1, (self.num_heads, -1)) for states in (content, position))
        return torch.cat((content, position), dim=-1).flatten(2)

    def forward(
        self,
        queries: torch.Tensor,
        query_position: torch.Tensor,
        query_sine: torch.Tensor,
        memory: torch.Tensor,
        memory_position: torch.Tensor,
        padding: torch.Tensor,
    ) -> torch.Tensor:
        """(B, M, D) to (B, M, D)."""
        query = self.sa_qcontent_proj(queries) + self.sa_qpos_proj(query_position)
        key = self.sa_kcontent_proj(queries) + self.sa_kpos_proj(query_position)
        attended = self.self_attn(query, key, self.sa_v_proj(queries))
        queries = self.norm1(queries + self.dropout(attended))

        query, key = self.ca_qcontent_proj(queries), self.ca_kcontent_proj(memory)
        key_position = self.ca_kpos_proj(memory_position)
        if self.ca_qpos_proj is not None:
            query, key = query + self.ca_qpos_proj(query_position), key + key_position
        query = self.side_by_side(query, self.ca_qpos_sine_proj(query_sine))
        key = self.side_by_side(key, key_position)
        attended = self.cross_attn(query, key, self.ca_v_proj(memory), padding)
        queries = self.norm2(queries + self.dropout(attended))
        update = self.linear2(self.dropout(self.activation(self.linear1(queries))))
        return self.norm3(queries + self.dropout(update))


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, hidden_size: int, output_size: int, num_layers: int):
        super().__init__()
        sizes = [hidden_size] * (num_layers - 1) + [output_size]
        self.layers = nn.ModuleList(nn.Linear(hidden_size, size) for size in sizes)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) to (..., output_size)."""
        for layer in self.layers[:-1]:
            states = functional.relu(layer(states))
        return self.layers[-1](states)


class Stack(nn.Module):
    """Copies of one layer: the release gives all of them the biases of the first."""

    def __init__(self, layer: nn.Module, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(num_layers))


class Decoder(Stack):
    """Moment queries with anchors that every layer moves."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__(DecoderLayer(config), config.num_decoder_layers)
        size = config.hidden_size
        self.norm = nn.LayerNorm(size)
        self.query_scale = MLP(size, size, 2)
        self.ref_point_head = MLP(size, size, 2)
        self.bbox_embed = MLP(size, 2, 3)
        nn.init.zeros_(self.bbox_embed.layers[-1].bias)
        self.ref_anchor_head = MLP(size, 1, 2)
        for layer in self.layers[1:]:
            layer.ca_qpos_proj = None

    def forward(
        self, anchors: torch.Tensor, memory: torch.Tensor, memory_position: torch.Tensor, padding: torch.Tensor
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Query states (B, M, D) and the anchors (B, M, 2) that the span head adds to, of each layer."""
        queries = memory.new_zeros(*anchors.shape[:2], memory.shape[-1])
        states, references = [], [anchors]
        for index, layer in enumerate(self.layers):
            sine = sine_embedding(anchors * (2 * math.pi), memory.shape[-1] // 2).flatten(-2)
            query_position = self.ref_point_head(sine)
            if index:
                sine = sine * self.query_scale(queries)
            sine = sine * (self.ref_anchor_head(queries).sigmoid() / anchors[..., 1:])
            queries = layer(queries, query_position, sine, memory, memory_position, padding)
            moved = (self.bbox_embed(queries) + inverse_sigmoid(anchors)).sigmoid()
            references.append(moved)
            anchors = moved.detach()
            states.append(self.norm(queries))
        return states, references[:-1]


class Transformer(nn.Module):
    """Bi-CMF, encoder and decoder."""

    def __init__(self, config: VideoLightsConfig, misplace_mask: bool):
        super().__init__()
        self.t2v_encoder = Stack(FusionLayer(config, misplace_mask), config.num_fusion_layers)
        self.encoder = Stack(EncoderLayer(config), config.num_encoder_layers)
        self.decoder = Decoder(config)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def encode(
        self, sequence: torch.Tensor, padding: torch.Tensor, position: torch.Tensor, num_clips: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Global token, clips and words (B, 1 + L + N, D) to encoded clips (B, L, D) and global token (B, D)."""
        for layer in self.t2v_encoder.layers:
            sequence = layer(sequence, padding, position, num_clips)
        states, padding, position = (part[:, : num_clips + 1] for part in (sequence, padding, position))
        for layer in self.encoder.layers:
            states = layer(states, padding, position)
        return states[:, 1:], states[:, 0]


class PlainRelease(nn.Module):
    """The released model; parameters have the release's names.

    Args:
        config: Sizes, dropout rates and loss weights.
        misplace_mask: Mask padded pairs as the release does.
        keep_waste: Also compute what the release computes and drops: the decoder's pass over negative pairs, and at
            inference all that the loss alone reads. For timing.
    """

    def __init__(self, config: VideoLightsConfig, misplace_mask: bool = True, keep_waste: bool = False):
        super().__init__()
        size = config.hidden_size
        self.config = config
        self.keep_waste = keep_waste
        # In the order of the release, on which the initial weights of a seed depend.
        self.transformer = Transformer(config, misplace_mask)
        self.txt_position_embed = nn.ModuleDict()
        self.txt_position_embed["position_embeddings"] = nn.Embedding(config.max_text_length, size)
        self.txt_position_embed["LayerNorm"] = nn.LayerNorm(size)
        self.span_embed = MLP(size, 2, 3)
        self.class_embed = nn.Linear(size, 2)
        self.query_embed = nn.Embedding(config.num_queries, 2)
        self.input_txt_proj = projection(config.text_dim, config)
        self.input_vid_proj = projection(config.video_dim, config)
        for name in ("query", "txt", "vid"):
            self.add_module(f"contrastive_align_projection_{name}", nn.Linear(size, config.contrastive_hidden_size))
        self.feature_refinement = FeatureRefinement(config)
        self.saliency_proj1 = nn.Linear(size, size)
        self.saliency_proj2 = nn.Linear(size, size)
        self.global_rep_token = nn.Parameter(torch.randn(size))
        self.global_rep_pos = nn.Parameter(torch.randn(size))
        self.gru_extractor = nn.ModuleDict({"gru": nn.GRU(size, size, batch_first=True)})
        self.saliency_proj_mr = nn.Linear(size, size)

    def forward(
        self,
        video_features: torch.Tensor,
        text_features: torch.Tensor,
        video_attention_mask: torch.Tensor,
        text_attention_mask: torch.Tensor,
        labels: Mapping[str, torch.Tensor] | None = None,
        epoch: int = 0,
    ) -> dict[str, Any]:
        """Arguments and outputs as of `VideoLightsForMomentRetrieval`, in a dictionary."""
        video_mask, text_mask = video_attention_mask.float(), text_attention_mask.float()
        projected_video, text = self.input_vid_proj(video_features), self.input_txt_proj(text_features)
        video = self.feature_refinement(projected_video, text, video_mask, text_mask)
        memory, whole = self._encode(video, text, video_mask, text_mask)

        video_position = video_position_embedding(video_mask, video.shape[-1])
        anchors = self.query_embed.weight.sigmoid().expand(len(video), -1, -1)
        padded_clips = ~video_attention_mask.bool()
        states, references = self.transformer.decoder(anchors, memory, video_position, padded_clips)
        layers = [
            {
                "logits": self.class_embed(state),
                "pred_spans": (self.span_embed(state) + inverse_sigmoid(reference)).sigmoid(),
                "contrastive_queries": functional.normalize(self.contrastive_align_projection_query(state), dim=-1),
            }
            for state, reference in zip(states, references)
        ]
        output = {**layers[-1], "saliency_scores": self._saliency(memory, whole)}
        if labels is None and not self.keep_waste:
            return output

        of_next = [torch.cat((part[1:], part[:1])) for part in (text, text_mask)]
        negative_memory, negative_whole = self._encode(video, of_next[0], video_mask, of_next[1])
        if self.keep_waste:
            self.transformer.decoder(anchors, negative_memory, video_position, padded_clips)
            functional.normalize(self.contrastive_align_projection_vid(memory), dim=-1)
        output["negative_saliency_scores"] = self._saliency(negative_memory, negative_whole)
        output["contrastive_text"] = functional.normalize(self.contrastive_align_projection_txt(text), dim=-1)
        output["moment_saliency_scores"] = self._moment_saliency(projected_video, memory, output)
        output["auxiliary_outputs"] = layers[:-1]
        if labels is None:
            return output
        stages = {"projected_text": text, "refined_video": video}
        loss, terms = VideoLightsLoss(self.config)(output, stages, labels, video_attention_mask.bool(), epoch)
        return {**output, "loss": loss, "loss_dict": terms}

    def _encode(
        self, video: torch.Tensor, text: torch.Tensor, video_mask: torch.Tensor, text_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        token, place = (row.expand(len(video), 1, -1) for row in (self.global_rep_token, self.global_rep_pos))
        position = torch.cat((place, video_position_embedding(video_mask, video.shape[-1]), torch.zeros_like(text)), 1)
        padding = torch.cat((torch.ones_like(video_mask[:, :1]), video_mask, text_mask), dim=1) == 0
        return self.transformer.encode(torch.cat((token, video, text), dim=1), padding, position, video.shape[1])

    def _saliency(self, memory: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
        scores = (self.saliency_proj1(memory) * self.saliency_proj2(whole).unsqueeze(1)).sum(-1)
        return scores / math.sqrt(memory.shape[-1])

    def _moment_saliency(
        self, projected_video: torch.Tensor, memory: torch.Tensor, output: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        num_clips = memory.shape[1]
        best = output["logits"].softmax(-1)[..., 0].argmax(-1).tolist()
        spans = center_width_to_start_end(output["pred_spans"].detach())
        rows = []
        for sample, query in enumerate(best):
            # Spans are scaled to seconds and back, whose rounding the floor may feel.
            bounds = spans[sample, query] * (num_clips * self.config.clip_length) / self.config.clip_length
            start, end = (int(bound) for bound in bounds.floor())
            moment = projected_video[sample, start : end + 1]
            rows.append(functional.pad(moment, (0, 0, 0, num_clips - len(moment))))
        _, last = self.gru_extractor["gru"](torch.stack(rows))
        weight = projected_video @ last[0].unsqueeze(-1)
        return self.saliency_proj_mr(memory * weight + memory).sum(-1) / math.sqrt(memory.shape[-1])


def _layer_sizes(config: VideoLightsConfig) -> tuple[int, int, int, float]:
    return config.hidden_size, config.intermediate_size, config.num_attention_heads, config.dropout


def packaged_model(model: PlainRelease) -> VideoLightsForMomentRetrieval:
    """The package's model with the same weights."""
    from videolights_hf import VideoLightsForMomentRetrieval
    from videolights_hf.convert.release_names import convert_state_dict

    packaged = VideoLightsForMomentRetrieval(model.config)
    packaged.load_state_dict(convert_state_dict(model.state_dict(), model.config))
    return packaged


def keep_labels_of_lost_clips(
    labels: Mapping[str, torch.Tensor], num_clips: Sequence[int], annotations: Sequence[Mapping[str, Any]]
) -> None:
    """Label relevant clips that the features lack, in place, on the padding behind the video: as the release does.

    Args:
        labels: Of a batch; `saliency` (B, L) changes.
        num_clips: Clips of each sample's features.
        annotations: The QVHighlights annotation of each sample.
    """
    saliency = labels["saliency"]
    for sample, (clips, annotation) in enumerate(zip(num_clips, annotations)):
        for clip, scores in zip(annotation["relevant_clip_ids"], annotation["saliency_scores"]):
            if clips <= clip < saliency.shape[1]:
                saliency[sample, clip] = sum(scores)


def small_config(tables: Mapping[str, Any]) -> VideoLightsConfig:
    """The small model of the comparison, for the backbones of a feature dataset."""
    from videolights_hf import VideoLightsConfig
    from videolights_hf.data import table_backbones

    video_backbones, text_backbones = table_backbones(tables)
    return VideoLightsConfig(video_backbones=video_backbones, text_backbones=text_backbones, **SMALL_MODEL)


@torch.no_grad()
def evaluate(model: PlainRelease, dataset: FeatureDataset) -> dict[str, float]:
    """Headline metrics of a QVHighlights split."""
    from videolights_hf.data import VideoLightsDataCollator
    from videolights_hf.inference.moments import MomentSelection
    from videolights_hf.metrics import SplitOutputs, evaluate_predictions, submission_rows

    model.eval()
    collate, rows, annotations = VideoLightsDataCollator(), [], dataset.annotations
    for first in range(0, len(dataset), EVAL_BATCH_SIZE):
        indices = range(first, min(first + EVAL_BATCH_SIZE, len(dataset)))
        batch = collate([dataset[index] for index in indices])
        del batch["labels"]
        output = model(**batch)
        outputs = SplitOutputs(
            output["logits"].softmax(-1)[..., 0].numpy(),
            output["pred_spans"].numpy(),
            output["saliency_scores"].numpy(),
            batch["video_attention_mask"].sum(-1).numpy(),
        )
        rows += submission_rows(
            [annotations[index] for index in indices],
            outputs,
            model.config.clip_length,
            MomentSelection(bounds=(0, 150)),
        )
    model.train()
    return evaluate_predictions(rows, annotations, clip_length=model.config.clip_length)["brief"]


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Feature dataset of QVHighlights with the splits train and val.")],
    output: Annotated[Path, typer.Option(help="Folder for the run's JSON file.")],
    seed: Annotated[int, typer.Option(help="Seed of weights, order, dropout and label draws.")] = 2018,
    epochs: Annotated[int, typer.Option(help="Passes over the training split.")] = 30,
    evaluate_at: Annotated[list[int], typer.Option(help="Epochs after which to evaluate, beside the last.")] = [],  # noqa: B006
) -> None:
    """Train once on the CPU as the release does, and write losses and metrics."""
    from torch.utils.data import DataLoader
    from transformers import set_seed

    from videolights_hf.data import FeatureDataset, VideoLightsDataCollator, load_feature_dataset

    tables = load_feature_dataset(data)
    config = small_config(tables)
    training = FeatureDataset.from_config(tables, "train", config, training=True, seed=seed)
    validation = FeatureDataset.from_config(tables, "val", config)
    annotation_of = {row["qid"]: row for row in training.annotations}
    collate = VideoLightsDataCollator()

    set_seed(seed)
    model = PlainRelease(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    loader = DataLoader(training, BATCH_SIZE, shuffle=True, collate_fn=list)
    losses, metrics = [], {}
    output.mkdir(parents=True, exist_ok=True)
    for epoch in range(epochs):
        training.set_epoch(epoch)
        epoch_losses = []
        for items in loader:
            batch = collate(items)
            annotations = [annotation_of[item["qid"]] for item in items]
            keep_labels_of_lost_clips(batch["labels"], batch["video_attention_mask"].sum(-1).tolist(), annotations)
            loss = model(**batch, epoch=epoch)["loss"]
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            epoch_losses.append(loss.item())
        losses.append(round(sum(epoch_losses) / len(epoch_losses), 3))
        if epoch + 1 in {*evaluate_at, epochs}:
            metrics[str(epoch + 1)] = evaluate(model, validation)
        typer.echo(f"epoch {epoch + 1}: training loss {losses[-1]}")
        run = {"seed": seed, "label": "plain release", "train_loss_by_epoch": losses, "metrics": metrics}
        (output / f"plain-seed{seed}-epochs{epochs}.json").write_text(json.dumps(run, indent=1))


@app.command()
def initialize(
    data: Annotated[Path, typer.Argument(help="Feature dataset, for the widths of its backbones.")],
    output: Annotated[Path, typer.Argument(help="Folder of the model.")],
    seed: Annotated[int, typer.Option(help="Seed.")] = 2018,
) -> None:
    """Write the weights that the release starts from with a seed, as a model folder of the package."""
    from transformers import set_seed

    from videolights_hf.data import load_feature_dataset

    set_seed(seed)
    packaged_model(PlainRelease(small_config(load_feature_dataset(data)))).save_pretrained(output, include_code=False)


if __name__ == "__main__":
    app()
