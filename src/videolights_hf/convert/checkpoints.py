"""Released checkpoints to `save_pretrained` folders, and back."""

from __future__ import annotations

import argparse
import io
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

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
from ..models.families import model_class
from .published import download_checkpoint, get_published_checkpoint, unpacked_checkpoint
from .release_names import convert_state_dict, revert_state_dict, strip_wrappers
from .release_options import config_from_release, options_of_release


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
    options = options_of_release(config)
    state_dict = {key: tensor.contiguous() for key, tensor in revert_state_dict(model.state_dict(), config).items()}
    buffer = io.BytesIO()
    torch.save({"model": state_dict, "opt": argparse.Namespace(**options)}, buffer)
    output_file = Path(output_file)
    output_file.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(output_file) as partial:
        partial.write_bytes(buffer.getbuffer())


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
