"""The release's parameter names and this package's, both ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..models.configuration import DetectorConfig

# Prefixes that DataParallel and torch.compile put before every key.
_WRAPPERS = ("module.", "_orig_mod.")

# Release name and own name of each module or parameter; `{i}` is a layer number.
_FEED_FORWARD = [
    ("linear1", "feed_forward.up_proj"),
    ("linear2", "feed_forward.down_proj"),
    ("activation", "feed_forward.activation"),
]
_NORMS = [("norm1", "norm1"), ("norm2", "norm2"), ("norm3", "norm3"), ("norm4", "norm4")]
_BIDIRECTIONAL = [
    ("cross_attn_1", "video_from_text"),
    ("cross_attn_2", "text_from_video"),
    ("cross_attn_3", "video_from_fused_text"),
    ("linear1", "video_from_text_proj"),
    ("linear2", "text_from_video_proj"),
    ("linear3", "video_from_fused_text_proj"),
    ("linear4", "feed_forward.up_proj"),
    ("linear5", "feed_forward.down_proj"),
    ("activation", "feed_forward.activation"),
    *_NORMS,
]
_ONE_WAY = [("self_attn", "video_from_text"), *_FEED_FORWARD, *_NORMS]
_ENCODER = [("self_attn", "self_attn"), *_FEED_FORWARD, *_NORMS]
_DECODER = [
    ("sa_qcontent_proj", "self_attn.q_content_proj"),
    ("sa_qpos_proj", "self_attn.q_position_proj"),
    ("sa_kcontent_proj", "self_attn.k_content_proj"),
    ("sa_kpos_proj", "self_attn.k_position_proj"),
    ("sa_v_proj", "self_attn.v_proj"),
    ("self_attn.out_proj", "self_attn.out_proj"),
    ("ca_qcontent_proj", "cross_attn.q_content_proj"),
    ("ca_qpos_proj", "cross_attn.q_position_proj"),
    ("ca_kcontent_proj", "cross_attn.k_content_proj"),
    ("ca_kpos_proj", "cross_attn.k_position_proj"),
    ("ca_v_proj", "cross_attn.v_proj"),
    ("ca_qpos_sine_proj", "cross_attn.q_sine_proj"),
    ("cross_attn.out_proj", "cross_attn.out_proj"),
    *_FEED_FORWARD,
    *_NORMS,
]


_QUERY_DECODER = [("self_attn", "self_attn"), ("multihead_attn", "cross_attn"), *_FEED_FORWARD, *_NORMS]


def _layers(release: str, ours: str, names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"{release}.{{i}}.{a}", f"{ours}.{{i}}.{b}") for a, b in names]


# Common to all four, used or not.
_SHARED = [
    ("txt_position_embed.position_embeddings", "model.text_position_embedding.position"),
    ("txt_position_embed.LayerNorm", "model.text_position_embedding.norm"),
    ("feature_refinement.sim_w", "model.feature_refinement.similarity_weight"),
    ("feature_refinement.cor_v_w", "model.feature_refinement.correlation_value_weight"),
    ("feature_refinement.cor_q_w", "model.feature_refinement.correlation_query_weight"),
    ("feature_refinement.word_to_sentence_pool.weight", "model.feature_refinement.pool_weight"),
    ("feature_refinement.mixer.conv1d", "model.feature_refinement.mixer"),
    *_layers("transformer.encoder.layers", "model.encoder.layers", _ENCODER),
    ("transformer.decoder.norm", "model.decoder.norm"),
    ("class_embed", "class_head"),
    ("span_embed", "span_head"),
    ("contrastive_align_projection_query", "contrastive_query_head"),
    ("contrastive_align_projection_txt", "contrastive_text_head"),
    ("contrastive_align_projection_vid", "contrastive_video_head"),
]
# The decoder with anchors: all but Moment-DETR.
_ANCHORS = [
    ("query_embed", "model.query_anchors"),
    *_layers("transformer.decoder.layers", "model.decoder.layers", _DECODER),
    ("transformer.decoder.query_scale", "model.decoder.position_scale"),
    ("transformer.decoder.ref_point_head", "model.decoder.position_head"),
    ("transformer.decoder.ref_anchor_head", "model.decoder.width_head"),
    ("transformer.decoder.bbox_embed", "model.decoder.anchor_head"),
]
_GLOBAL_TOKEN = [
    ("global_rep_token", "model.global_token"),
    ("global_rep_pos", "model.global_position"),
    ("saliency_proj1", "saliency_clip_head"),
    ("saliency_proj2", "saliency_global_head"),
]
# What is one detector's own.
_OWN = {
    "videolights": [
        *_ANCHORS,
        *_GLOBAL_TOKEN,
        ("saliency_proj_mr", "moment_to_highlight.projection"),
        ("gru_extractor.gru", "moment_to_highlight.gru"),
    ],
    "moment_detr": [
        ("query_embed", "model.query_positions"),
        *_layers("transformer.decoder.layers", "model.decoder.layers", _QUERY_DECODER),
        ("saliency_proj", "saliency_head"),
    ],
    "qd_detr": [*_ANCHORS, *_GLOBAL_TOKEN],
    "tr_detr": [
        *_ANCHORS,
        ("fuser.cq_attention.w4C", "model.visual_refinement.video_weight"),
        ("fuser.cq_attention.w4Q", "model.visual_refinement.text_weight"),
        ("fuser.cq_attention.w4mlu", "model.visual_refinement.product_weight"),
        ("fuser.cq_attention.cqa_linear.conv1d", "model.visual_refinement.attention_mixer"),
        ("fuser.cq_concat.weighted_pool.weight", "model.visual_refinement.pool_weight"),
        ("fuser.cq_concat.conv1d.conv1d", "model.visual_refinement.sentence_mixer"),
        ("saliency_proj1", "model.highlight_head"),
        ("gru_extractor.gru", "moment_reader.gru"),
    ],
}


def _name_table(config: DetectorConfig) -> list[tuple[str, str]]:
    """Release and own names of one architecture; with FRA the release's projections are convolutions of size 1."""
    projection = [
        ("LayerNorm", "norm"),
        ("net.1.conv1d" if config.use_feature_refinement else "net.1", "projection"),
    ]
    fusion = _BIDIRECTIONAL if getattr(config, "cross_modal_fusion", "uni") == "bi" else _ONE_WAY
    return [
        *_SHARED,
        *_layers("input_vid_proj", "model.video_projection.layers", projection),
        *_layers("input_txt_proj", "model.text_projection.layers", projection),
        *_layers("transformer.t2v_encoder.layers", "model.fusion.layers", fusion),
        *_OWN[config.model_type],
    ]


def family_of_release(state_dict: Mapping[str, torch.Tensor], options: Mapping[str, Any]) -> str:
    """The `model_type` of the detector that a release's parameters and options belong to.

    Raises:
        ValueError: They belong to none of the detectors.
    """
    if "transformer.decoder.norm.weight" not in state_dict:
        raise ValueError("This is not a checkpoint of VideoLights, Moment-DETR, QD-DETR or TR-DETR.")
    if "transformer.decoder.layers.0.multihead_attn.in_proj_weight" in state_dict:
        return "moment_detr"
    if "global_rep_token" not in state_dict:
        return "tr_detr"
    one_way = "transformer.t2v_encoder.layers.0.self_attn.in_proj_weight" in state_dict
    # VideoLights' Uni-CMF is the same layer.
    return "qd_detr" if one_way and "bicmf_layers" not in options else "videolights"


def strip_wrappers(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Remove the prefixes `module.` and `_orig_mod.`, also nested, that training wrappers put before every key."""
    while any(state_dict and all(key.startswith(prefix) for key in state_dict) for prefix in _WRAPPERS):
        state_dict = {key.partition(".")[2]: tensor for key, tensor in state_dict.items()}
    return state_dict


def _rename(key: str, table: Iterable[tuple[str, str]]) -> str | None:
    for source, target in table:
        match = re.fullmatch(re.escape(source).replace(r"\{i\}", r"(?P<i>\d+)") + r"(?P<rest>\..+)?", key)
        if match:
            return target.replace("{i}", match.groupdict().get("i", "")) + (match["rest"] or "")
    return None


def convert_state_dict(state_dict: dict[str, torch.Tensor], config: DetectorConfig) -> dict[str, torch.Tensor]:
    """Rename a released state dict to this package's names.

    Packed attention projections are split in three, and convolutions of size 1 become linear maps.

    Raises:
        ValueError: Keys have no place in the architecture of `config`; all are named.
    """
    table = _name_table(config)
    converted, unknown = {}, []
    for key, tensor in state_dict.items():
        name = _rename(key, table)
        if name is None:
            unknown.append(key)
        elif ".in_proj_" in name:
            module, kind = name.split(".in_proj_")
            for part, piece in zip("qkv", tensor.chunk(3)):
                converted[f"{module}.{part}_proj.{kind}"] = piece.clone()
        else:
            converted[name] = tensor.squeeze(-1).clone() if key.endswith("conv1d.weight") else tensor.clone()
    if unknown:
        raise ValueError(f"The checkpoint holds keys that this detector does not have: {', '.join(unknown)}.")
    return converted


def revert_state_dict(state_dict: dict[str, torch.Tensor], config: DetectorConfig) -> dict[str, torch.Tensor]:
    """Rename this package's state dict to the release's names; the inverse of [`convert_state_dict`].

    Raises:
        ValueError: A parameter has no counterpart in the release.
    """
    table = [(ours, release) for release, ours in _name_table(config)]
    reverted, unknown = {}, []
    for key, tensor in state_dict.items():
        packed = re.fullmatch(r"(.*)\.([qkv])_proj\.(weight|bias)", key)
        # The decoder with anchors has a projection of the values alone.
        if packed and f"{packed[1]}.q_proj.{packed[3]}" in state_dict:
            module, part, kind = packed.groups()
            if part != "q":
                continue
            key = f"{module}.in_proj_{kind}"
            tensor = torch.cat([state_dict[f"{module}.{part}_proj.{kind}"] for part in "qkv"])
        name = _rename(key, table)
        if name is None:
            unknown.append(key)
            continue
        reverted[name] = tensor.unsqueeze(-1) if name.endswith("conv1d.weight") else tensor
    if unknown:
        raise ValueError(f"The release has no counterpart of: {', '.join(unknown)}.")
    return reverted
