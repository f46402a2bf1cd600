"""Released checkpoints to `save_pretrained` folders, and back."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from videolights_hf.convert.safe_loading import load_torch_file
from videolights_hf.models.videolights.configuration import VideoLightsConfig
from videolights_hf.models.videolights.modeling import VideoLightsForMomentRetrieval

# Release name and own name of each module or parameter; `{i}` stands for a layer number.
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


def _layers(release: str, ours: str, names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"{release}.{{i}}.{a}", f"{ours}.{{i}}.{b}") for a, b in names]


def _name_table(config: VideoLightsConfig) -> list[tuple[str, str]]:
    """Release and own names of one architecture; with FRA the release's projections are convolutions of size 1."""
    projection = [
        ("LayerNorm", "norm"),
        ("net.1.conv1d" if config.use_feature_refinement else "net.1", "projection"),
    ]
    fusion = _ONE_WAY if config.cross_modal_fusion == "uni" else _BIDIRECTIONAL
    return [
        ("global_rep_token", "model.global_token"),
        ("global_rep_pos", "model.global_position"),
        ("query_embed", "model.query_anchors"),
        ("txt_position_embed.position_embeddings", "model.text_position_embedding.position"),
        ("txt_position_embed.LayerNorm", "model.text_position_embedding.norm"),
        *_layers("input_vid_proj", "model.video_projection.layers", projection),
        *_layers("input_txt_proj", "model.text_projection.layers", projection),
        ("feature_refinement.sim_w", "model.feature_refinement.similarity_weight"),
        ("feature_refinement.cor_v_w", "model.feature_refinement.correlation_value_weight"),
        ("feature_refinement.cor_q_w", "model.feature_refinement.correlation_query_weight"),
        ("feature_refinement.word_to_sentence_pool.weight", "model.feature_refinement.pool_weight"),
        ("feature_refinement.mixer.conv1d", "model.feature_refinement.mixer"),
        *_layers("transformer.t2v_encoder.layers", "model.fusion.layers", fusion),
        *_layers("transformer.encoder.layers", "model.encoder.layers", _ENCODER),
        *_layers("transformer.decoder.layers", "model.decoder.layers", _DECODER),
        ("transformer.decoder.norm", "model.decoder.norm"),
        ("transformer.decoder.query_scale", "model.decoder.position_scale"),
        ("transformer.decoder.ref_point_head", "model.decoder.position_head"),
        ("transformer.decoder.ref_anchor_head", "model.decoder.width_head"),
        ("transformer.decoder.bbox_embed", "model.decoder.anchor_head"),
        ("class_embed", "class_head"),
        ("span_embed", "span_head"),
        ("saliency_proj1", "saliency_clip_head"),
        ("saliency_proj2", "saliency_global_head"),
        ("saliency_proj_mr", "moment_to_highlight.projection"),
        ("gru_extractor.gru", "moment_to_highlight.gru"),
        ("contrastive_align_projection_query", "contrastive_query_head"),
        ("contrastive_align_projection_txt", "contrastive_text_head"),
        ("contrastive_align_projection_vid", "contrastive_video_head"),
    ]


def _rename(key: str, table: Iterable[tuple[str, str]]) -> str | None:
    for source, target in table:
        match = re.fullmatch(re.escape(source).replace(r"\{i\}", r"(?P<i>\d+)") + r"(?P<rest>\..+)?", key)
        if match:
            return target.replace("{i}", match.groupdict().get("i", "")) + (match["rest"] or "")
    return None


def convert_state_dict(state_dict: dict[str, torch.Tensor], config: VideoLightsConfig) -> dict[str, torch.Tensor]:
    """Rename a released state dict to this package's names.

    Packed attention projections are split in three, convolutions of size 1 become linear maps; values stay as they are.

    Raises:
        ValueError: naming every key that has no place in the architecture of `config`.
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
        raise ValueError(f"The checkpoint holds keys that VideoLights does not have: {', '.join(unknown)}.")
    return converted


def revert_state_dict(state_dict: dict[str, torch.Tensor], config: VideoLightsConfig) -> dict[str, torch.Tensor]:
    """Rename this package's state dict to the release's names; the inverse of [`convert_state_dict`].

    Raises:
        ValueError: if a parameter has no counterpart in the release.
    """
    table = [(ours, release) for release, ours in _name_table(config)]
    reverted, unknown = {}, []
    for key, tensor in state_dict.items():
        packed = re.fullmatch(r"(.*_from_.*|.*encoder\.layers\.\d+\.self_attn)\.([qkv])_proj\.(weight|bias)", key)
        if packed:
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


# Widths of the feature sets that the published runs used (paper, Tables II to VIII).
_VIDEO_SETS = {
    3584: [["slowfast", 2304], ["clip", 512], ["blip2", 768]],
    3072: [["slowfast", 2304], ["blip2", 768]],
    2816: [["slowfast", 2304], ["clip", 512]],
    2048: [["i3d", 2048]],
}
_TEXT_SETS = {1280: [["clip", 512], ["blip2", 768]], 768: [["blip2", 768]], 512: [["clip", 512]]}

# Options of the release and the fields that carry the same value.
_OPTIONS = {
    "clip_length": "clip_length",
    "max_v_l": "max_video_length",
    "max_q_l": "max_text_length",
    "a_feat_dim": "audio_dim",
    "hidden_dim": "hidden_size",
    "nheads": "num_attention_heads",
    "dim_feedforward": "intermediate_size",
    "n_input_proj": "num_projection_layers",
    "bicmf_layers": "num_fusion_layers",
    "enc_layers": "num_encoder_layers",
    "dec_layers": "num_decoder_layers",
    "num_queries": "num_queries",
    "dropout": "dropout",
    "input_dropout": "input_dropout",
    "use_txt_pos": "use_text_positions",
    "contrastive_hdim": "contrastive_hidden_size",
    "temperature": "contrastive_temperature",
    "aux_loss": "auxiliary_loss",
    "lw_saliency": "saliency_loss_coef",
    "saliency_margin": "saliency_margin",
    "set_cost_span": "span_cost",
    "set_cost_giou": "giou_cost",
    "set_cost_class": "class_cost",
    "span_loss_coef": "span_loss_coef",
    "giou_loss_coef": "giou_loss_coef",
    "label_loss_coef": "label_loss_coef",
    "eos_coef": "background_coef",
    "contrastive_align_loss_coef": "contrastive_align_loss_coef",
    "hard_pos_neg_loss_coef": "hard_pos_neg_loss_coef",
    "cos_sim_loss_coef": "cosine_similarity_loss_coef",
    "mr_to_hd_loss_coef": "moment_to_highlight_loss_coef",
}
# Values that every published run has; another one would need another architecture.
_FIXED_OPTIONS = {"pre_norm": False, "span_loss_type": "l1", "position_embedding": "sine", "ctx_mode": "video_tef"}
_HIGHLIGHT_DATASETS = {"tvsum", "tvsum_sfc", "youtube_uni"}


def config_from_release(
    options: dict[str, Any],
    state_dict: dict[str, torch.Tensor],
    video_backbones: list | None = None,
    text_backbones: list | None = None,
) -> VideoLightsConfig:
    """Read the configuration of a released checkpoint from its options and its parameter names and shapes.

    Args:
        options: the release's options by name.
        state_dict: the release's parameters; they tell whether FRA is on, which fusion is used, and which heads exist.
        video_backbones: `[name, width]` of each backbone; None recognises the published feature sets by their width,
            and calls any other one `features`.
        text_backbones: the same for text.

    Raises:
        ValueError: for an option that this architecture does not have, or backbones whose widths do not add up.
    """
    for name, value in _FIXED_OPTIONS.items():
        if options.get(name, value) != value:
            raise ValueError(f"The checkpoint was trained with {name}={options[name]!r}; only {value!r} is supported.")
    try:
        video_dim = state_dict["input_vid_proj.0.LayerNorm.weight"].numel() - options.get("a_feat_dim", 0) - 2
        text_dim = state_dict["input_txt_proj.0.LayerNorm.weight"].numel()
    except KeyError as error:
        raise ValueError(f"Not a VideoLights checkpoint: it has no parameter {error}.") from None
    sets = {"video": (video_backbones, _VIDEO_SETS, video_dim), "text": (text_backbones, _TEXT_SETS, text_dim)}
    backbones = {}
    for modality, (given, known, width) in sets.items():
        chosen = given or known.get(width, [["features", width]])
        if sum(dim for _, dim in chosen) != width:
            raise ValueError(f"The checkpoint takes {modality} features of width {width}, but {chosen} were named.")
        backbones[f"{modality}_backbones"] = chosen
    if "transformer.t2v_encoder.layers.0.cross_attn_1.in_proj_weight" in state_dict:
        fusion = "bi"
    else:
        fusion = "uni" if "transformer.t2v_encoder.layers.0.self_attn.in_proj_weight" in state_dict else "none"
    fields = {field: options[name] for name, field in _OPTIONS.items() if name in options}
    if not options.get("hard_pos_neg_loss", True):
        fields["hard_pos_neg_loss_coef"] = 0.0
    return VideoLightsConfig(
        **fields,
        **backbones,
        cross_modal_fusion=fusion,
        use_feature_refinement="feature_refinement.mixer.conv1d.weight" in state_dict,
        use_contrastive_alignment="contrastive_align_projection_query.weight" in state_dict,
        use_moment_to_highlight="gru_extractor.gru.weight_ih_l0" in state_dict,
        highlight_only=options.get("dset_name") in _HIGHLIGHT_DATASETS,
    )


def read_release_checkpoint(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a released `.ckpt` without running anything it holds.

    Only tensors, plain values and `argparse.Namespace` are let through.

    Returns:
        The state dict and the options, both under the release's names.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is broken, holds other objects, or is no VideoLights checkpoint.
    """
    checkpoint = load_torch_file(path, [argparse.Namespace])
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict) or "opt" not in checkpoint:
        raise ValueError(f"{path} is no released VideoLights checkpoint: it must hold `model` and `opt`.")
    options = checkpoint["opt"]
    return checkpoint["model"], vars(options) if isinstance(options, argparse.Namespace) else dict(options)


def convert_checkpoint(
    checkpoint: str | Path,
    output_dir: str | Path,
    video_backbones: list | None = None,
    text_backbones: list | None = None,
) -> VideoLightsForMomentRetrieval:
    """Convert a released `.ckpt` to a `save_pretrained` folder with model, configuration and processor.

    Args:
        checkpoint: the released file.
        output_dir: folder to write.
        video_backbones: see [`config_from_release`].
        text_backbones: see [`config_from_release`].

    Returns:
        The model that was saved, in evaluation mode.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is broken or unsafe, or a key is missing or has no place; nothing is written then.
    """
    from videolights_hf.inference.processing import VideoLightsProcessor

    state_dict, options = read_release_checkpoint(checkpoint)
    config = config_from_release(options, state_dict, video_backbones, text_backbones)
    model = VideoLightsForMomentRetrieval(config).eval()
    converted = convert_state_dict(state_dict, config)
    _check_keys(converted, model)
    model.load_state_dict(converted)
    model.save_pretrained(output_dir)
    VideoLightsProcessor.from_config(config).save_pretrained(output_dir)
    return model


def convert_to_release(model_dir: str | Path, output_file: str | Path) -> None:
    """Write a `save_pretrained` folder as a released `.ckpt`: `model` and `opt` under the release's names.

    Raises:
        FileNotFoundError: if the folder holds no configuration.
        ValueError: if the model uses what the release does not have.
    """
    if not (Path(model_dir) / "config.json").is_file():
        raise FileNotFoundError(f"{model_dir} holds no config.json: give a folder that `save_pretrained` wrote.")
    model = VideoLightsForMomentRetrieval.from_pretrained(model_dir)
    config = model.config
    if config.use_feature_refinement and config.word_correlation != "constant":
        raise ValueError('The release has no word branch of the kind word_correlation="attended".')
    options = {name: getattr(config, field) for name, field in _OPTIONS.items()}
    options |= _FIXED_OPTIONS
    options |= {
        "v_feat_dim": config.video_dim,
        "t_feat_dim": config.text_dim,
        "dset_name": "tvsum" if config.highlight_only else "hl",
        "contrastive_align_loss": config.use_contrastive_alignment,
        "mr_to_hd_loss": config.use_moment_to_highlight,
        "hard_pos_neg_loss": config.hard_pos_neg_loss_coef > 0,
    }
    state_dict = {key: tensor.contiguous() for key, tensor in revert_state_dict(model.state_dict(), config).items()}
    output_file = Path(output_file)
    output_file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state_dict, "opt": argparse.Namespace(**options)}, output_file)


def _check_keys(converted: dict[str, torch.Tensor], model: VideoLightsForMomentRetrieval) -> None:
    expected = model.state_dict()
    problems = [f"missing {key}" for key in expected.keys() - converted.keys()]
    problems += [f"unexpected {key}" for key in converted.keys() - expected.keys()]
    problems += [
        f"{key} has shape {tuple(converted[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & converted.keys()
        if converted[key].shape != expected[key].shape
    ]
    if problems:
        raise ValueError("The checkpoint does not fit its options: " + "; ".join(sorted(problems)) + ".")
