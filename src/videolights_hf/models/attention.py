"""Building blocks of VideoLights: positions, attention, projection and the refinement stage of FRA."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import is_flash_attention_requested

from .videolights.configuration import VideoLightsConfig

# log(2 ** -149): the logarithm of the smallest float32 that the release adds to a padded clip's mask.
PADDED_CLIP_SIMILARITY = -149 * math.log(2)


def sine_embedding(position: torch.Tensor, num_channels: int) -> torch.Tensor:
    """Sine embedding with the frequencies of "Attention Is All You Need", sines and cosines interleaved.

    Args:
        position: (...) angles in radians.
        num_channels: even number of channels C.

    Returns:
        (..., C) embedding in float32: sin, cos, sin, cos, ... of falling frequency.
    """
    channel = torch.arange(0, num_channels, 2, device=position.device, dtype=torch.float32)
    angle = position.float().unsqueeze(-1) / 10000 ** (channel / num_channels)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)


def video_position_embedding(mask: torch.Tensor, hidden_size: int) -> torch.Tensor:
    """Position of each clip in its video: the running count of valid clips, scaled to a full turn.

    Args:
        mask: (B, L), 1 for valid clips.
        hidden_size: D.

    Returns:
        (B, L, D) embedding in float32.
    """
    count = mask.float().cumsum(1)
    return sine_embedding(count / (count[:, -1:] + 1e-6) * (2 * math.pi), hidden_size)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled dot-product attention that also returns its weights.

    Shapes: query (B, H, Q, d), key (B, H, K, d), value (B, H, K, e), mask broadcastable to (B, H, Q, K) and additive.
    Returns (B, Q, H, e) and (B, H, Q, K).
    """
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1)
    dropped = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(dropped, value).transpose(1, 2), weights


class XavierLinear(nn.Linear):
    """Linear layer of the transformer, whose weights start Xavier-uniform.

    transformers initialises a model of another package layer by layer, by the layer's class: hence a class of its own.

    Args:
        in_features: input width.
        out_features: output width.
        gain: factor on Xavier's bound.
        zero_bias: start the bias at zero instead of PyTorch's default.
    """

    def __init__(self, in_features: int, out_features: int, gain: float = 1.0, zero_bias: bool = False):
        super().__init__(in_features, out_features)
        self.gain = gain
        self.zero_bias = zero_bias


def key_mask(
    config: VideoLightsConfig, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor | None:
    """Mask over padded keys, in the form that the attention implementation of `config` takes.

    Args:
        config: the model's configuration.
        query: (B, Q, ...) sequence that attends.
        key: (B, K, D) sequence attended to; the same object as `query` for self-attention.
        mask: (B, K) bool, True for valid keys; None when nothing is padded.
    """
    if mask is not None and query is not key and is_flash_attention_requested(config):
        return mask[:, None, None, :]
    return create_bidirectional_mask(
        config=config,
        inputs_embeds=query,
        attention_mask=mask,
        encoder_hidden_states=key,
        # Looking into the mask for a way to skip it would wait for the device.
        allow_is_bidirectional_skip=mask is None,
    )


class VideoLightsAttentionBase(nn.Module):
    """Heads, scaling and dispatch to the attention implementation that the config names."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.is_causal = False
        self.out_proj = XavierLinear(config.hidden_size, config.hidden_size, zero_bias=True)

    def split_heads(self, states: torch.Tensor) -> torch.Tensor:
        """(B, S, D) to (B, H, S, D / H)."""
        return states.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend per head and project. Inputs (B, H, S, d); returns (B, Q, D) and (B, H, Q, K) or None."""
        implementation = self.config._attn_implementation
        if is_flash_attention_requested(self.config) and attention_mask is not None and attention_mask.ndim == 4:
            # Flash attention takes padding only where queries and keys are the same sequence (`key_mask`).
            implementation = "sdpa"
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        # Scaling the query before the product, as the release does, keeps the rounding of its numbers.
        output, weights = attention(
            self,
            query * query.shape[-1] ** -0.5,
            key,
            value,
            attention_mask,
            scaling=1.0,
            dropout=self.config.dropout if self.training else 0.0,
        )
        return self.out_proj(output.flatten(2)), weights


class VideoLightsAttention(VideoLightsAttentionBase):
    """Multi-head attention whose query, key and value are given apart."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__(config)
        # The release packs these three in one (3D, D) matrix, and Xavier's bound follows that shape.
        packed = {"gain": math.sqrt(0.5), "zero_bias": True}
        self.q_proj = XavierLinear(config.hidden_size, config.hidden_size, **packed)
        self.k_proj = XavierLinear(config.hidden_size, config.hidden_size, **packed)
        self.v_proj = XavierLinear(config.hidden_size, config.hidden_size, **packed)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from query (B, Q, D) to key and value (B, K, D); returns (B, Q, D) and (B, H, Q, K) or None."""
        return self.attend(
            self.split_heads(self.q_proj(query)),
            self.split_heads(self.k_proj(key)),
            self.split_heads(self.v_proj(value)),
            attention_mask,
        )


class VideoLightsMLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int, num_layers: int, linear: type = nn.Linear):
        super().__init__()
        sizes = [input_size, *[hidden_size] * (num_layers - 1), output_size]
        self.layers = nn.ModuleList(linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(..., input_size) to (..., output_size)."""
        for layer in self.layers[:-1]:
            hidden_states = nn.functional.relu(layer(hidden_states))
        return self.layers[-1](hidden_states)


class VideoLightsFeedForward(nn.Module):
    """Feed-forward network with a learned PReLU slope."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        self.up_proj = XavierLinear(config.hidden_size, config.intermediate_size)
        self.activation = nn.PReLU()
        self.dropout = nn.Dropout(config.dropout)
        self.down_proj = XavierLinear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, S, D) to (B, S, D)."""
        return self.down_proj(self.dropout(self.activation(self.up_proj(hidden_states))))


class VideoLightsProjectionLayer(nn.Module):
    """Normalise, drop, project. The release's convolution of kernel size 1 is this linear map."""

    def __init__(self, input_size: int, config: VideoLightsConfig):
        super().__init__()
        self.norm = nn.LayerNorm(input_size)
        self.dropout = nn.Dropout(config.input_dropout)
        self.projection = nn.Linear(input_size, config.hidden_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, S, input_size) to (B, S, D)."""
        return self.projection(self.dropout(self.norm(features)))


class VideoLightsProjection(nn.Module):
    """First stage of FRA (paper, section III-B): local features of one modality in the model's width."""

    def __init__(self, input_size: int, config: VideoLightsConfig):
        super().__init__()
        sizes = [input_size] + [config.hidden_size] * (config.num_projection_layers - 1)
        self.layers = nn.ModuleList(VideoLightsProjectionLayer(size, config) for size in sizes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, S, input_size) to (B, S, D); ReLU follows every layer but the last."""
        for layer in self.layers[:-1]:
            features = nn.functional.relu(layer(features))
        return self.layers[-1](features)


class VideoLightsTextPositionEmbedding(nn.Module):
    """Learned positions of the words; the whole normalised sum of word and position is the position term."""

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        self.position = nn.Embedding(config.max_text_length, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.input_dropout)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """(B, N, D) words to (B, N, D) position terms."""
        return self.dropout(self.norm(text + self.position.weight[: text.shape[1]]))


class VideoLightsFeatureRefinement(nn.Module):
    """Second stage of FRA (paper, section III-B, eq. 1 to 3): clips refined by what the sentence says.

    Four branches meet in one linear mixer: the clip itself, its similarity to the sentence, the sentence, and a word
    branch. In the released model every word carries the same vector, so that branch is the constant
    `correlation_query_weight * correlation_value_weight`, and is computed as one.
    """

    def __init__(self, config: VideoLightsConfig):
        super().__init__()
        hidden_size = config.hidden_size
        self.attended_words = config.word_correlation == "attended"
        self.pool_weight = nn.Parameter(torch.empty(hidden_size, 1))
        self.similarity_weight = nn.Parameter(torch.empty(hidden_size, 1))
        if not self.attended_words:
            self.correlation_query_weight = nn.Parameter(torch.empty(1, 1))
            self.correlation_value_weight = nn.Parameter(torch.empty(1, hidden_size))
        self.dropout = nn.Dropout(config.refinement_dropout)
        self.mixer = nn.Linear(4 * hidden_size, hidden_size)

    def pool_sentence(self, text: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
        """Weighted sum of the valid words: (B, N, D) and (B, N) to (B, D)."""
        scores = (text @ self.pool_weight).squeeze(-1).float().masked_fill(~text_mask, -1e30)
        return (scores.softmax(-1).to(text.dtype).unsqueeze(1) @ text).squeeze(1)

    @property
    def constant_word(self) -> torch.Tensor:
        """(D,) the vector that every word carries in the released word branch."""
        return (self.correlation_query_weight * self.correlation_value_weight)[0]

    def attend_words(self, video: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
        """Softmax-weighted sum of the valid words for each clip, (B, L, D)."""
        scores = (video @ text.transpose(1, 2)).float().masked_fill(~text_mask.unsqueeze(1), -1e30)
        return scores.softmax(-1).to(text.dtype) @ text

    def forward(
        self, video: torch.Tensor, text: torch.Tensor, video_mask: torch.Tensor, text_mask: torch.Tensor
    ) -> torch.Tensor:
        """Refine the projected video.

        Args:
            video: (B, L, D) projected clips.
            text: (B, N, D) projected words.
            video_mask: (B, L) bool.
            text_mask: (B, N) bool.

        Returns:
            (B, L, D) refined clips.
        """
        sentence = self.pool_sentence(text, text_mask)
        similarity = nn.functional.cosine_similarity(video, sentence.unsqueeze(1), dim=-1, eps=1e-8)
        similarity = (similarity + (~video_mask).to(video.dtype) * PADDED_CLIP_SIMILARITY).unsqueeze(-1)
        branches = [video, similarity * self.similarity_weight[:, 0], sentence.unsqueeze(1)]
        weight, bias = self.mixer.weight, self.mixer.bias
        if self.attended_words:
            branches.append(self.attend_words(video, text, text_mask))
        elif self.training or torch.is_grad_enabled():
            branches.append(self.constant_word.view(1, 1, -1))
        else:
            # At inference the constant branch is part of the bias and costs nothing.
            weight, of_words = weight.split([3 * video.shape[-1], video.shape[-1]], dim=1)
            bias = nn.functional.linear(self.constant_word, of_words, bias)
        mixed = torch.cat([self.dropout(branch.expand_as(video)) for branch in branches], dim=-1)
        return self.dropout(nn.functional.relu(nn.functional.linear(mixed, weight, bias)))
