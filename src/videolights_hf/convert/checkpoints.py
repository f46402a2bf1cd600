"""Released checkpoints to `save_pretrained` folders, and back."""

from __future__ import annotations

import argparse
import io
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from ..common.files import folder_written_aside, written_aside
from ..common.loading import load_complete_model, load_config
from ..common.safe_loading import load_torch_file
from ..hub.card import TrainingRecord
from ..hub.code import delete_stale_code
from ..hub.publish import write_card
from ..hub.records import write_record
from ..inference.processing import VideoLightsProcessor
from ..models.configuration import DetectorConfig
from ..models.detector import DetectorForMomentRetrieval
from ..models.families import CONFIGS, model_class
from ..models.videolights.formulation import MEMBERS
from .published import download_checkpoint, get_published_checkpoint, unpacked_checkpoint
from .release_names import convert_state_dict, family_of_release, revert_state_dict, strip_wrappers

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
        chosen: list[list[Any]] = given[modality] or known.get(width, [["features", width]])
        if sum(dim for _, dim in chosen) != width:
            raise ValueError(f"The checkpoint takes {modality} features of width {width}, but {chosen} were named.")
        fields[f"{modality}_backbones"] = chosen
    return fields


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


def read_release_checkpoint(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a released `.ckpt` without running anything it holds.

    Tensors, plain values, `argparse.Namespace` and `easydict.EasyDict` are read; prefixes of wrappers are removed.

    Returns:
        The state dict and the options, both under the release's names.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged, holds other objects or values that are not finite, or is not a released
            checkpoint.
    """
    # Lighthouse's options are of a dictionary class whose package need not be there: its name stands for a plain one.
    checkpoint = load_torch_file(path, [argparse.Namespace, (OrderedDict, "easydict.EasyDict")])
    weights = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    options = checkpoint.get("opt") if isinstance(checkpoint, dict) else None
    options = vars(options) if isinstance(options, argparse.Namespace) else options
    if not isinstance(weights, dict) or not isinstance(options, dict):
        raise ValueError(
            f"{path} is not a released checkpoint: it must hold parameters as `model` and options as `opt`."
        )
    for key, tensor in weights.items():
        _check_weight(path, key, tensor)
    return strip_wrappers(weights), dict(options)


def _check_weight(path: str | Path, key: Any, tensor: Any) -> None:
    is_weight = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.is_floating_point()
    if not isinstance(key, str) or not is_weight:
        kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise ValueError(f"{path}: the parameter {key!r} holds {kind}; parameters are dense floating-point tensors.")
    # After the cast that loading makes: double precision may lie beyond it.
    if not torch.isfinite(tensor.float()).all():
        raise ValueError(
            f"{path}: the parameter {key} holds NaN or infinite values. Its training diverged, or the file is damaged: "
            "take another checkpoint."
        )


def convert_checkpoint(
    checkpoint: str | Path,
    output_dir: str | Path,
    video_backbones: list | None = None,
    text_backbones: list | None = None,
    backbone_checkpoints: Mapping[str, str] | None = None,
) -> DetectorForMomentRetrieval:
    """Convert a released `.ckpt` to a `save_pretrained` folder with model, configuration, processor and card.

    Args:
        checkpoint: The released file, or an archive that holds it.
        output_dir: The folder to write.
        video_backbones: See [`config_from_release`].
        text_backbones: See [`config_from_release`].
        backbone_checkpoints: Where backbones are loaded from, instead of their default checkpoints.

    Returns:
        The saved model, in evaluation mode.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged or unsafe, or a key is missing or has no place; nothing is written then.
        OSError: The folder cannot be written; what it held before is unchanged then.
    """
    with unpacked_checkpoint(checkpoint) as path:
        model = load_release(path, video_backbones, text_backbones)
    _save(model, output_dir, TrainingRecord(), backbone_checkpoints)
    return model


def convert_published_checkpoint(
    name: str,
    output_dir: str | Path,
    file: str | Path | None = None,
    backbone_checkpoints: Mapping[str, str] | None = None,
) -> DetectorForMomentRetrieval:
    """Convert a checkpoint that the authors published: see [`convert_checkpoint`].

    Args:
        name: Its name, such as `qvhighlights/videolights-b-pt`.
        output_dir: The folder to write.
        file: The downloaded file; by default it is fetched, or taken from the cache.
        backbone_checkpoints: Where backbones are loaded from, instead of their default checkpoints.

    Raises:
        ValueError: Unknown name, or the file is not this checkpoint.
        OSError: The file cannot be fetched, or the folder cannot be written.
    """
    entry = get_published_checkpoint(name)
    with unpacked_checkpoint(file or download_checkpoint(entry)) as path:
        model = load_release(path)
    entry.check(model.config)
    _save(model, output_dir, entry.record, backbone_checkpoints)
    return model


def load_release(
    checkpoint: str | Path, video_backbones: list | None = None, text_backbones: list | None = None
) -> DetectorForMomentRetrieval:
    """The model of a released `.ckpt`, in evaluation mode: arguments and errors as in [`convert_checkpoint`]."""
    state_dict, options = read_release_checkpoint(checkpoint)
    config = config_from_release(options, state_dict, video_backbones, text_backbones)
    converted = convert_state_dict(state_dict, config)
    # Sizes that the options declare are compared before memory is taken for them.
    try:
        with torch.device("meta"):
            declared = model_class(config)(config)
    except (RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0].partition(" Exception raised from ")[0]
        raise ValueError(f"The checkpoint's options declare sizes that no model has ({reason}).") from error
    _check_keys(converted, declared)
    model = model_class(config)(config).eval()
    model.load_state_dict(converted)
    return model


def _save(
    model: DetectorForMomentRetrieval,
    output_dir: str | Path,
    record: TrainingRecord,
    backbone_checkpoints: Mapping[str, str] | None,
) -> None:
    processor = VideoLightsProcessor.from_config(model.config)
    if backbone_checkpoints:
        checkpoints = {**processor.backbone_checkpoints, **backbone_checkpoints}
        processor = VideoLightsProcessor.from_config(model.config, checkpoints)
    with folder_written_aside(output_dir) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        if record.metrics:
            # So that a push writes the same card.
            write_record(folder, record)
        write_card(folder, Path(output_dir).absolute().name, record)
    delete_stale_code(Path(output_dir), model.config.model_type)


def convert_to_release(model_dir: str | Path, output_file: str | Path) -> None:
    """Write a `save_pretrained` folder as a released `.ckpt`: `model` and `opt` under the release's names.

    Raises:
        FileNotFoundError: The folder holds no configuration.
        ValueError: The model uses what the release does not have, or its configuration is damaged.
        OSError: Weights are missing, damaged or not finite, or the file cannot be written; what it held before is
            unchanged then.
    """
    if not (Path(model_dir) / "config.json").is_file():
        raise FileNotFoundError(f"{model_dir} holds no config.json: give a folder that `save_pretrained` wrote.")
    config = load_config(model_dir)
    if not isinstance(config, DetectorConfig):
        raise ValueError(f"{model_dir} holds a {config.model_type!r} model, which has no released counterpart.")
    model = load_complete_model(model_class(config), model_dir)
    options = _release_options(config)
    state_dict = {key: tensor.contiguous() for key, tensor in revert_state_dict(model.state_dict(), config).items()}
    buffer = io.BytesIO()
    torch.save({"model": state_dict, "opt": argparse.Namespace(**options)}, buffer)
    output_file = Path(output_file)
    output_file.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(output_file) as partial:
        partial.write_bytes(buffer.getbuffer())


def _release_options(config: DetectorConfig) -> dict[str, Any]:
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


def _check_keys(converted: dict[str, torch.Tensor], model: DetectorForMomentRetrieval) -> None:
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
