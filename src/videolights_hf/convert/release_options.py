"""The options of released checkpoints as configurations, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from ..models.configuration import DetectorConfig
from ..models.families import CONFIGS
from ..models.videolights.formulation import MEMBERS
from .release_names import family_of_release

# Widths of the feature sets that the published runs used (paper, Tables II to VIII).
_VIDEO_SETS: dict[int, list[list[Any]]] = {
    3584: [["slowfast", 2304], ["clip", 512], ["blip2", 768]],
    3072: [["slowfast", 2304], ["blip2", 768]],
    2816: [["slowfast", 2304], ["clip", 512]],
    2048: [["i3d", 2048]],
}
_TEXT_SETS: dict[int, list[list[Any]]] = {
    1280: [["clip", 512], ["blip2", 768]],
    768: [["blip2", 768]],
    512: [["clip", 512]],
}

# What the names of the folders of features say about what they hold.
_FOLDER_MARKS = {"slowfast": ("slowfast", "sf_"), "clip": ("clip",), "blip2": ("blip",), "i3d": ("i3d",)}

# The release's options, and the fields that hold the same value.
_OPTIONS = {
    "clip_length": "clip_length",
    "max_v_l": "max_video_length",
    "max_q_l": "max_text_length",
    "a_feat_dim": "audio_dim",
    "hidden_dim": "hidden_size",
    "nheads": "num_attention_heads",
    "dim_feedforward": "intermediate_size",
    "n_input_proj": "num_projection_layers",
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
}
# Further fields of single detectors; QD-DETR and TR-DETR have as many fusion layers as encoder layers.
_OWN_OPTIONS = {
    "videolights": {
        "bicmf_layers": "num_fusion_layers",
        "hard_pos_neg_loss_coef": "hard_pos_neg_loss_coef",
        "cos_sim_loss_coef": "cosine_similarity_loss_coef",
        "mr_to_hd_loss_coef": "moment_to_highlight_loss_coef",
    },
    "moment_detr": {},
    "qd_detr": {},
    "tr_detr": {"CTC_loss_coef": "clip_text_loss_coef", "VTC_loss_coef": "video_text_loss_coef"},
}
# What every published run has; other values would need another architecture.
_FIXED_OPTIONS = {"pre_norm": False, "span_loss_type": "l1", "position_embedding": "sine", "ctx_mode": "video_tef"}
_HIGHLIGHT_DATASETS = {"tvsum", "tvsum_sfc", "youtube_uni"}
_FUSION_PARAMETERS = {"bi": "cross_attn_1.in_proj_weight", "uni": "self_attn.in_proj_weight"}

# Options that count layers, and the parameters whose names count the same.
_LAYER_OPTIONS = {
    "n_input_proj": "input_vid_proj",
    "bicmf_layers": "transformer.t2v_encoder.layers",
    "enc_layers": "transformer.encoder.layers",
    "dec_layers": "transformer.decoder.layers",
}


def config_from_release(
    options: Mapping[str, Any],
    state_dict: Mapping[str, torch.Tensor],
    video_backbones: list | None = None,
    text_backbones: list | None = None,
) -> DetectorConfig:
    """Read the configuration of a released checkpoint from its options and its parameters' names and shapes.

    Args:
        options: The release's options by name.
        state_dict: The release's parameters; they tell whose model it is, whether FRA is on, which fusion is used, and
            which heads exist.
        video_backbones: `[name, width]` of each backbone. By default the published feature sets are recognized by
            their width, and any other set is called `features`.
        text_backbones: The same for text.

    Raises:
        ValueError: The options make no valid configuration or do not fit the parameters, or the backbones' widths do
            not add up.
    """
    for name, value in _FIXED_OPTIONS.items():
        if options.get(name, value) != value:
            raise ValueError(f"The checkpoint was trained with {name}={options[name]!r}; only {value!r} is supported.")
    family = family_of_release(state_dict, options)
    _check_layers(options, state_dict)
    known = _OPTIONS | _OWN_OPTIONS[family]
    # An option that is not set, such as the width of audio features, leaves the default.
    fields: dict[str, Any] = {field: options[name] for name, field in known.items() if options.get(name) is not None}
    fields |= _read_backbones(options, state_dict, {"video": video_backbones, "text": text_backbones})
    fields |= {
        "use_feature_refinement": "feature_refinement.mixer.conv1d.weight" in state_dict,
        "use_contrastive_alignment": "contrastive_align_projection_query.weight" in state_dict,
        "highlight_only": options.get("dset_name") in _HIGHLIGHT_DATASETS,
    }
    fields |= _read_own_fields(family, options, state_dict)
    try:
        return CONFIGS[family](**fields)
    except (StrictDataclassError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"The checkpoint's options make no valid configuration: {reason}") from error


def _read_backbones(
    options: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor], given: Mapping[str, list | None]
) -> dict[str, list]:
    """The fields that name the backbones: those given, or the published set of the checkpoint's width."""
    try:
        video_dim = state_dict["input_vid_proj.0.LayerNorm.weight"].numel() - _count(options, "a_feat_dim") - 2
        text_dim = state_dict["input_txt_proj.0.LayerNorm.weight"].numel()
    except KeyError as error:
        raise ValueError(f"Not a released checkpoint: parameter {error} is missing.") from None
    fields = {}
    for modality, known, width in (("video", _VIDEO_SETS, video_dim), ("text", _TEXT_SETS, text_dim)):
        published = known.get(width, [["features", width]])
        folders = options.get("v_feat_dirs") if modality == "video" else None
        chosen: list[list[Any]] = given[modality] or _in_order_of(folders, published)
        if sum(dim for _, dim in chosen) != width:
            raise ValueError(f"The checkpoint takes {modality} features of width {width}, but {chosen} were named.")
        fields[f"{modality}_backbones"] = chosen
    return fields


def _in_order_of(folders: Any, backbones: list[list[Any]]) -> list[list[Any]]:
    """Backbones in the order of the folders that the checkpoint was trained on: Lighthouse has CLIP before SlowFast.

    Where the folders' names do not tell them apart, the order is that of the published runs.
    """
    if not isinstance(folders, (list, tuple)) or not all(isinstance(folder, str) for folder in folders):
        return backbones
    names = [folder.rstrip("/\\").replace("\\", "/").rpartition("/")[2].lower() for folder in folders]
    places = {
        backbone: [place for place, name in enumerate(names) if any(mark in name for mark in _FOLDER_MARKS[backbone])]
        for backbone, _ in backbones
        if backbone in _FOLDER_MARKS
    }
    found = [place for several in places.values() for place in several]
    if len(places) < len(backbones) or sorted(found) != list(range(len(backbones))):
        return backbones
    return sorted(backbones, key=lambda pair: places[pair[0]][0])


def _read_own_fields(
    family: str, options: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    """The fields of single detectors that no option holds."""
    fields: dict[str, Any] = {}
    if family in ("qd_detr", "tr_detr") and "enc_layers" in options:
        fields["num_fusion_layers"] = options["enc_layers"]
    if family == "tr_detr" and not any(key.startswith("fuser.") for key in state_dict):
        fields["refinement_order"] = "instead"
    if family != "videolights":
        return fields
    fields["cross_modal_fusion"] = next(
        (
            kind
            for kind, name in _FUSION_PARAMETERS.items()
            if f"transformer.t2v_encoder.layers.0.{name}" in state_dict
        ),
        "none",
    )
    fields["use_moment_to_highlight"] = "gru_extractor.gru.weight_ih_l0" in state_dict
    if not options.get("hard_pos_neg_loss", True):
        fields["hard_pos_neg_loss_coef"] = 0.0
    return fields


def _count(options: Mapping[str, Any], name: str) -> int:
    value = 0 if options.get(name) is None else options[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"The checkpoint's option {name} is {value!r}; it must be a number of layers or channels.")
    return value


def _check_layers(options: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> None:
    """Compare the declared numbers of layers with those that are there, before a model of that size is built."""
    for option, prefix in _LAYER_OPTIONS.items():
        found = {match[1] for key in state_dict if (match := re.match(rf"{re.escape(prefix)}\.(\d+)\.", key))}
        if option in options and found and _count(options, option) != len(found):
            raise ValueError(
                f"The checkpoint's option {option} is {options[option]}, but it holds {len(found)} layers {prefix}.*."
            )


def options_of_release(config: DetectorConfig) -> dict[str, Any]:
    """A configuration's fields under the release's names.

    Raises:
        ValueError: The configuration uses what the release does not have.
    """
    if config.use_feature_refinement and config.word_correlation != "constant":
        raise ValueError(f"The release has no counterpart of word_correlation={config.word_correlation!r}.")
    family = config.model_type
    own = [name for name, member in MEMBERS.items() if member.change != "none" and name != "use_text_positions"]
    for name in own if family == "videolights" else []:
        if getattr(config, name) not in (MEMBERS[name].released, "attended"):
            raise ValueError(f"The release has no counterpart of {name}={getattr(config, name)!r}.")
    options = {name: getattr(config, field) for name, field in (_OPTIONS | _OWN_OPTIONS[family]).items()}
    options |= _FIXED_OPTIONS
    options |= {
        "v_feat_dim": config.video_dim,
        "v_feat_dirs": [f"{name}_features" for name, _ in config.video_backbones],
        "t_feat_dim": config.text_dim,
        "dset_name": "tvsum" if config.highlight_only else "hl",
        "contrastive_align_loss": config.has_alignment_heads,
    }
    if family == "videolights":
        hard_losses, coupling = config.hard_pos_neg_loss_coef, config.use_moment_to_highlight
        options |= {"mr_to_hd_loss": coupling, "hard_pos_neg_loss": hard_losses > 0}
    elif getattr(config, "num_fusion_layers", config.num_encoder_layers) != config.num_encoder_layers:
        raise ValueError("The release has as many fusion layers as encoder layers.")
    return options
