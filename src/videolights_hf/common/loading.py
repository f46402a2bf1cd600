"""Loading models whose weights must all be there: transformers makes up those that are missing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from logging import Filter, LogRecord
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging
from transformers.utils.hub import cached_file

from .downloads import is_offline
from .files import parse_json
from .ids import is_plain_name

Model = TypeVar("Model", bound=PreTrainedModel)

logger = logging.get_logger(__name__)

_LISTED = 3
_MAX_REASON = 300
_HUB_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
# Bytes; smaller downloads need no announcement.
_LARGE = 50_000_000
_MAX_LAYERS = 1_000
_MAX_SIZE = 10_000_000
_WEIGHT_FILES = ("*.safetensors", "*.bin", "*.index.json")


def load_complete_model(
    model_class: type[Model],
    name_or_path: str | os.PathLike,
    dtype: torch.dtype | str | None = None,
    **hub_kwargs: Any,
) -> Model:
    """Load a model from a folder or the Hub.

    Args:
        model_class: The model's class, or a transformers Auto class.
        name_or_path: Folder or Hub id.
        dtype: Floating-point type, or `"auto"` for that of the weights; float32 by default.
        **hub_kwargs: Passed to `from_pretrained`.

    Raises:
        OSError: The model does not exist, or its weights are incomplete, damaged, not finite, or have other shapes.
    """
    name = os.fspath(name_or_path)
    if os.path.isdir(name):
        find_model(name, **hub_kwargs)
    try:
        _check_declared_sizes(PreTrainedConfig.get_config_dict(name, **hub_kwargs)[0], name)
        _announce_download(name, hub_kwargs)
        with _without_report(), no_bars_in_logs():
            loaded = model_class.from_pretrained(
                name,
                dtype=dtype or torch.float32,
                output_loading_info=True,
                # What does not fit is named below.
                ignore_mismatched_sizes=True,
                **hub_kwargs,
            )
    except (OSError, ValueError, ImportError, torch.OutOfMemoryError):
        raise
    # What a damaged file raises depends on the libraries below.
    except Exception as error:
        reason = " ".join(str(error).split())[:_MAX_REASON]
        raise OSError(
            f"The files of {name} are damaged or cut short ({type(error).__name__}: {reason}). Download them again."
        ) from error
    # With `output_loading_info`, which its signature does not tell, `from_pretrained` gives a pair.
    model, info = cast("tuple[Model, dict[str, Any]]", loaded)
    check_weights(model, info, name)
    return model


def load_config(name_or_path: str | os.PathLike, **hub_kwargs: Any) -> PreTrainedConfig:
    """The configuration of a folder or Hub repository.

    Raises:
        OSError: There is no such model.
        ValueError: Its config.json is damaged, or of a kind that transformers does not know.
    """
    name = os.fspath(name_or_path)
    try:
        return AutoConfig.from_pretrained(name, **hub_kwargs)
    except (OSError, ValueError, ImportError):
        raise
    # What a damaged file raises depends on the libraries below.
    except Exception as error:
        raise ValueError(
            f"The config.json of {name} is damaged ({type(error).__name__}: {error}). Copy or download it again."
        ) from error


def find_model(name_or_path: str, **hub_kwargs: Any) -> None:
    """Check that a checkpoint is there, before its weights are loaded or downloaded.

    Args:
        name_or_path: Folder or Hub id.
        **hub_kwargs: Arguments of `from_pretrained` that say where files come from.

    Raises:
        OSError: The folder or repository does not exist, or holds no configuration or no weights.
    """
    if os.path.isdir(name_or_path):
        folder = Path(name_or_path, hub_kwargs.get("subfolder") or "")
        if not (folder / "config.json").is_file():
            raise OSError(f"{folder} holds no model: there is no config.json.")
        if not any(path for pattern in _WEIGHT_FILES for path in folder.glob(pattern)):
            raise OSError(f"{folder} holds no weights: there is no model.safetensors. Copy or download it again.")
        _check_weight_indices(folder)
    elif os.path.isabs(name_or_path) or name_or_path.startswith((".", "~")) or name_or_path.count("/") > 1:
        raise FileNotFoundError(f"There is no folder {name_or_path}.")
    elif not _is_cached(name_or_path, hub_kwargs):
        cached_file(name_or_path, "config.json", **hub_kwargs)
        if is_offline(hub_kwargs):
            raise FileNotFoundError(
                f"The weights of {name_or_path} are not in the cache, and nothing may be downloaded now."
            )


def _is_cached(name: str, hub_kwargs: dict[str, Any]) -> bool:
    return any(
        isinstance(
            try_to_load_from_cache(
                name,
                _in_subfolder(file, hub_kwargs),
                cache_dir=hub_kwargs.get("cache_dir"),
                revision=hub_kwargs.get("revision"),
            ),
            str,
        )
        for file in _HUB_FILES
    )


def _announce_download(name: str, hub_kwargs: dict[str, Any]) -> None:
    """Say what comes before weights are downloaded from the Hub, and how large they are."""
    if os.path.isdir(name) or is_offline(hub_kwargs) or _is_cached(name, hub_kwargs):
        return
    for file in _HUB_FILES:
        url = hf_hub_url(name, _in_subfolder(file, hub_kwargs), revision=hub_kwargs.get("revision"))
        # Whatever is wrong is told by the download itself.
        with contextlib.suppress(Exception):
            size = get_hf_file_metadata(url, token=hub_kwargs.get("token")).size or 0
            if size > _LARGE:
                logger.warning("Downloading %s (%.0f MB) to the cache, once.", name, size / 1e6)
            return


def _in_subfolder(file: str, hub_kwargs: dict[str, Any]) -> str:
    return "/".join(filter(None, [hub_kwargs.get("subfolder"), file]))


def _check_declared_sizes(content: Any, name: str, key: str = "") -> None:
    """Refuse a configuration that asks for more than any model needs, before it is believed."""
    if isinstance(content, dict):
        for key, value in content.items():
            _check_declared_sizes(value, name, str(key))
    elif isinstance(content, list):
        for value in content:
            _check_declared_sizes(value, name, key)
    elif isinstance(content, int):
        limit = _MAX_LAYERS if "layers" in key else _MAX_SIZE
        if content > limit:
            raise ValueError(
                f"The configuration of {name} declares {key} = {content:,}, more than the limit of {limit:,}."
            )


def _check_weight_indices(folder: Path) -> None:
    """Refuse an index of weights that names files outside its folder; links, as in the Hub's cache, may lead anywhere."""
    for path in folder.glob("*.index.json"):
        try:
            files = set(parse_json(path.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise OSError(f"{path} is damaged ({type(error).__name__}). Copy or download it again.") from error
        outside = [file for file in files if not isinstance(file, str) or not is_plain_name(file)]
        if outside:
            raise OSError(f"{path} names the weight file {outside[0]!r}: weight files lie beside their index.")


def check_weights(model: nn.Module, loading_info: dict[str, Any], name: str) -> None:
    """Check that a checkpoint held all weights of a model, and finite ones.

    Args:
        model: The model as loaded.
        loading_info: What `from_pretrained(output_loading_info=True)` tells about the weights.
        name: What errors call the checkpoint.

    Raises:
        OSError: Weights are missing, have other shapes, or hold NaN or infinity.
    """
    mismatched = [
        f"{key} {tuple(found)} instead of {tuple(expected)}"
        for key, found, expected in sorted(loading_info["mismatched_keys"])
    ]
    if mismatched:
        raise OSError(f"{name} does not fit {type(model).__name__} in {_count(mismatched)}. Correct its config.json.")
    missing = sorted(loading_info["missing_keys"])
    if missing:
        raise OSError(
            f"{name} lacks {_count(missing)} of {type(model).__name__}. Download it again, or name a checkpoint of "
            "this model."
        )
    damaged = not_finite(model.state_dict())
    if damaged:
        raise OSError(f"{name} holds NaN or infinity in {_count(damaged)}. Download it again, or use an earlier one.")


def not_finite(tensors: dict[str, torch.Tensor]) -> list[str]:
    """Names of the floating-point tensors that hold NaN or infinity."""
    # A sum in double precision is finite if and only if all it adds up is, and takes no memory.
    return [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not tensor.is_meta and not torch.isfinite(tensor.sum(dtype=torch.float64))
    ]


class _ErrorsOnly(Filter):
    def filter(self, record: LogRecord) -> bool:
        return record.levelno >= logging.ERROR


@contextlib.contextmanager
def no_bars_in_logs() -> Iterator[None]:
    """Keep the bars with which transformers loads and saves weights out of logs and pipes."""
    hide = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if hide:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hide:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _without_report() -> Iterator[None]:
    """Silence transformers' table of weights that do not fit, which the errors here replace."""
    logger = logging.get_logger("transformers.modeling_utils")

    # Not by its level: with one of its own, this logger lets transformers tell which layers "were not sharded".
    errors_only = _ErrorsOnly()
    logger.addFilter(errors_only)
    try:
        yield
    finally:
        logger.removeFilter(errors_only)


def _count(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    return f"{len(names)} weight{'s' if len(names) > 1 else ''} ({shown})"


__all__ = ["check_weights", "find_model", "load_complete_model", "load_config", "no_bars_in_logs", "not_finite"]
