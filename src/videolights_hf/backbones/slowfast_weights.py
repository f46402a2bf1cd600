"""Public weight files of SlowFast 8x8 R50 to `save_pretrained` folders that [`SlowFastBackbone`] loads.

Two files hold this model, each from its own training run on Kinetics-400: `SLOWFAST_8x8_R50.pkl`, with Caffe2's names,
and `SLOWFAST_8x8_R50.pyth`, from pytorchvideo.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..common.downloads import RemoteFile, cache_folder, check_reachable, download, is_offline
from ..common.files import folder_written_aside
from ..common.locks import locked_folder
from ..common.safe_loading import is_torch_file, load_numpy_pickle, load_torch_file
from .slowfast_configuration import VideoLightsSlowFastConfig
from .slowfast_network import VideoLightsSlowFastModel

# What SlowFast's own model zoo offers, and the published features were made with. Pytorchvideo's file is from another
# training run: its features differ.
PUBLIC_WEIGHTS = RemoteFile(
    url="https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400/SLOWFAST_8x8_R50.pkl",
    size=276_854_877,
    sha256="8988deb84b65226669eba1a5da6d14fd170dba374891b21439079c90dd80c026",
)

_NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class _Layout:
    """How a file names the tensors of a layer, and which tensors a feature extractor does not need."""

    convolution_suffix: str
    norm_suffixes: tuple[str, str, str, str]
    left_out: str


_LAYOUTS = {
    "caffe2": _Layout("_w", ("_s", "_b", "_rm", "_riv"), left_out=r"pred_[wb]|.+_momentum|lr|model_iter"),
    "pytorchvideo": _Layout(
        ".weight",
        (".weight", ".bias", ".running_mean", ".running_var"),
        left_out=r"blocks\.\d+\.proj\.(weight|bias)|.+\.num_batches_tracked",
    ),
}


def slowfast_tensor_names(config: VideoLightsSlowFastConfig, layout: str) -> dict[str, str]:
    """Map the tensor names of [`VideoLightsSlowFastModel`] to those of a public file.

    Args:
        config: The model's configuration.
        layout: `"caffe2"` or `"pytorchvideo"`.
    """
    suffixes = _LAYOUTS[layout]
    names = {}
    for layer, places in _layers(config):
        convolution, norm = places[layout]
        names[f"{layer}.convolution.weight"] = convolution + suffixes.convolution_suffix
        for tensor, suffix in zip(_NORM_TENSORS, suffixes.norm_suffixes, strict=True):
            names[f"{layer}.normalization.{tensor}"] = norm + suffix
    # The model decides which blocks have a shortcut of their own.
    return {name: names[name] for name in _expected_shapes(config)}


def _layers(config: VideoLightsSlowFastConfig) -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    """Each convolution with its normalization: its name here, and the names of both in each layout."""
    for path, prefix, pathway in (("slow", "", 0), ("fast", "t_", 1)):
        stem = f"blocks.0.multipathway_blocks.{pathway}"
        yield (
            f"{path}_stem.embedder",
            {
                "caffe2": (f"{prefix}conv1", f"{prefix}res_conv1_bn"),
                "pytorchvideo": (f"{stem}.conv", f"{stem}.norm"),
            },
        )
        for stage, depth in enumerate(config.depths):
            for index in range(depth):
                branch = f"{prefix}res{stage + 2}_{index}_branch"
                block = f"blocks.{stage + 1}.multipathway_blocks.{pathway}.res_blocks.{index}"
                for part, letter, theirs in (
                    ("shortcut", "1", "branch1_{}"),
                    ("reduce", "2a", "branch2.{}_a"),
                    ("spatial", "2b", "branch2.{}_b"),
                    ("expand", "2c", "branch2.{}_c"),
                ):
                    yield (
                        f"{path}_stages.{stage}.{index}.{part}",
                        {
                            "caffe2": (f"{branch}{letter}", f"{branch}{letter}_bn"),
                            "pytorchvideo": (f"{block}.{theirs.format('conv')}", f"{block}.{theirs.format('norm')}"),
                        },
                    )
    for stage in range(len(config.depths)):
        # Caffe2 names these layers after the fast path's layer that feeds them.
        source = f"t_res{stage + 1}_{config.depths[stage - 1] - 1}_branch2c_bn" if stage else "t_pool1"
        fusion = f"blocks.{stage}.multipathway_fusion"
        yield (
            f"fusions.{stage}",
            {
                "caffe2": (f"{source}_subsample", f"{source}_subsample_bn"),
                "pytorchvideo": (f"{fusion}.conv_fast_to_slow", f"{fusion}.norm"),
            },
        )


def read_slowfast_checkpoint(path: str | os.PathLike) -> tuple[dict[str, Any], str]:
    """Read a public weight file of SlowFast without running anything it holds.

    Args:
        path: A pickle with Caffe2's names in `blobs`, or a torch file with pytorchvideo's in `model_state`.

    Returns:
        The arrays or tensors by the file's names, and its layout: `"caffe2"` or `"pytorchvideo"`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged, holds objects other than tensors, arrays and plain values, or is not a weight
            file of SlowFast.
    """
    layout, field, load = (
        ("pytorchvideo", "model_state", load_torch_file)
        if is_torch_file(path)
        else ("caffe2", "blobs", load_numpy_pickle)
    )
    content = load(path)
    weights = content.get(field) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping):
        raise ValueError(f"{path} holds no `{field}`: it is not a public weight file of SlowFast.")
    return dict(weights), layout


def convert_slowfast_state_dict(
    weights: Mapping[str, Any], config: VideoLightsSlowFastConfig, layout: str
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Rename the tensors of a public weight file.

    Args:
        weights: Arrays or tensors by the file's names.
        config: Configuration of the model that they belong to.
        layout: `"caffe2"` or `"pytorchvideo"`.

    Returns:
        The state dict of [`VideoLightsSlowFastModel`] in single precision, and the names of the tensors that were left
        out: those of the classifier and of the training state.

    Raises:
        ValueError: Tensors are missing, unknown, not finite, or do not have the configuration's shapes.
    """
    names = slowfast_tensor_names(config, layout)
    unplaced = sorted(weights.keys() - set(names.values()))
    left_out = [name for name in unplaced if re.fullmatch(_LAYOUTS[layout].left_out, name)]
    problems = [f"unknown {name}" for name in unplaced if name not in left_out]
    state_dict = {}
    for name, shape in _expected_shapes(config).items():
        source = names[name]
        if source not in weights:
            problems.append(f"missing {source}")
        elif tuple(np.shape(weights[source])) != shape:
            problems.append(f"{source} has shape {tuple(np.shape(weights[source]))} instead of {shape}")
        else:
            state_dict[name] = _as_float_tensor(weights[source])
            if not torch.isfinite(state_dict[name]).all():
                problems.append(f"{source} holds NaN or infinite values")
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise ValueError(f"The weights do not fit this SlowFast: {shown}.")
    return state_dict, left_out


def convert_slowfast_checkpoint(
    checkpoint: str | os.PathLike, output_dir: str | os.PathLike, config: VideoLightsSlowFastConfig | None = None
) -> list[str]:
    """Convert a public weight file of SlowFast to a folder that [`SlowFastBackbone`] loads.

    Args:
        checkpoint: `SLOWFAST_8x8_R50.pkl` (Caffe2's names) or `SLOWFAST_8x8_R50.pyth` (pytorchvideo's).
        output_dir: The folder to write.
        config: Configuration of the model in the file; SlowFast 8x8 R50 by default.

    Returns:
        Names of the file's tensors that were left out: those of the classifier and of the training state.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged or unsafe, or its tensors do not fit the model; nothing is written then.
        OSError: The folder cannot be written; what it held before is unchanged then.
    """
    model, left_out = load_slowfast_weights(checkpoint, config)
    with folder_written_aside(output_dir) as folder:
        model.save_pretrained(folder)
    return left_out


def load_slowfast_weights(
    checkpoint: str | os.PathLike, config: VideoLightsSlowFastConfig | None = None
) -> tuple[VideoLightsSlowFastModel, list[str]]:
    """Load a public weight file of SlowFast.

    Args:
        checkpoint: See `convert_slowfast_checkpoint`.
        config: Configuration of the model in the file; SlowFast 8x8 R50 by default.

    Returns:
        The model, and the names of the file's tensors that were left out.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged or unsafe, or its tensors do not fit the model.
    """
    weights, layout = read_slowfast_checkpoint(checkpoint)
    model = VideoLightsSlowFastModel(config or VideoLightsSlowFastConfig()).eval()
    state_dict, left_out = convert_slowfast_state_dict(weights, model.config, layout)
    model.load_state_dict(state_dict)
    return model, left_out


def find_public_weights(**hub_kwargs: Any) -> None:
    """Check that `PUBLIC_WEIGHTS` are in the cache or can be downloaded.

    Args:
        **hub_kwargs: `cache_dir` and `local_files_only`, as for models of the Hub; others are ignored.

    Raises:
        OSError: They are not in the cache, and there is no connection, or none is allowed.
    """
    folder = _public_folder(hub_kwargs)
    if _is_complete(folder):
        return
    if is_offline(hub_kwargs):
        raise FileNotFoundError(
            f"The weights of SlowFast 8x8 R50 are not in the cache ({folder}), and nothing may be downloaded now. Go "
            "online once, or download SLOWFAST_8x8_R50.pkl elsewhere and name it (--backbone "
            "slowfast=SLOWFAST_8x8_R50.pkl)."
        )
    check_reachable(PUBLIC_WEIGHTS)


def fetch_public_weights(**hub_kwargs: Any) -> Path:
    """The folder of the model of `PUBLIC_WEIGHTS`, downloaded and converted at first use.

    Args:
        **hub_kwargs: See `find_public_weights`.

    Raises:
        OSError: They are not in the cache and cannot be downloaded.
    """
    folder = _public_folder(hub_kwargs)
    if _is_complete(folder):
        return folder
    if is_offline(hub_kwargs):
        find_public_weights(**hub_kwargs)
    with locked_folder(folder.parent / "downloads", wait=True):
        # Another process may have been quicker.
        if not _is_complete(folder):
            path = download(PUBLIC_WEIGHTS, folder.parent / "downloads", "SlowFast 8x8 R50")
            convert_slowfast_checkpoint(path, folder)
            path.unlink()
    return folder


def _public_folder(hub_kwargs: Mapping[str, Any]) -> Path:
    return cache_folder(hub_kwargs) / f"slowfast_8x8_r50_{PUBLIC_WEIGHTS.sha256[:12]}"


def _is_complete(folder: Path) -> bool:
    # Files are moved in complete, in alphabetical order.
    return (folder / "model.safetensors").is_file()


def _as_float_tensor(weights: Any) -> torch.Tensor:
    return weights.float() if isinstance(weights, torch.Tensor) else torch.from_numpy(np.array(weights, np.float32))


def _expected_shapes(config: VideoLightsSlowFastConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state_dict = VideoLightsSlowFastModel(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
