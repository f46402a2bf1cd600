"""Backbones for extraction: where they come from, and what tells one from another."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from .base import FeatureBackbone
from .registry import default_checkpoints, get_backbone_class


def complete_checkpoints(names: Sequence[str], checkpoints: Mapping[str, str] | None = None) -> dict[str, str]:
    """Complete the checkpoints of the named backbones by the default ones.

    Args:
        names: Names of backbones.
        checkpoints: For some of them a folder or the id of a Hub repository.

    Returns:
        Name to folder (absolute) or Hub id, in the order of the names.

    Raises:
        ValueError: No backbone is named, or one twice; a name is unknown (the nearest is given); a checkpoint is for a
            backbone that is not named; a backbone has no default checkpoint and none is given.
    """
    checkpoints = dict(checkpoints or {})
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Name at least one backbone, and each once; got {', '.join(names) or 'none'}.")
    for name in [*names, *checkpoints]:
        get_backbone_class(name)
    unused = [name for name in checkpoints if name not in names]
    if unused:
        raise ValueError(f"A checkpoint is given for {', '.join(unused)}, which is not among {', '.join(names)}.")
    checkpoints = default_checkpoints(list(names)) | checkpoints
    for name in names:
        if name not in checkpoints:
            raise ValueError(
                f"The backbone {name!r} has no default checkpoint: name its folder or Hub id (--backbone "
                f"{name}=PATH_OR_ID)."
            )
    return {
        name: os.path.abspath(checkpoints[name]) if os.path.exists(checkpoints[name]) else checkpoints[name]
        for name in names
    }


def load_backbones(
    checkpoints: Mapping[str, str],
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> list[FeatureBackbone]:
    """Load backbones.

    Args:
        checkpoints: Name to folder or Hub id, as `complete_checkpoints` gives it.
        device: Where they run; the CPU by default.
        dtype: Floating-point type they compute in; float32 by default.

    Raises:
        ValueError: A name is unknown, or the device is not there.
        OSError: A checkpoint cannot be loaded: it does not exist, is damaged, or its download was interrupted.
    """
    for name, checkpoint in checkpoints.items():
        find_backbone(name, checkpoint)
    return [load_backbone(name, checkpoint, device, dtype) for name, checkpoint in checkpoints.items()]


def find_backbone(name: str, checkpoint: str, **hub_kwargs: Any) -> None:
    """Check that a checkpoint exists, before anything is loaded or downloaded.

    Raises:
        ValueError: The name is unknown.
        OSError: The checkpoint does not exist or has no weights.
    """
    backbone_class = get_backbone_class(name)
    with _as_one_line(name, checkpoint):
        backbone_class.find(checkpoint, **hub_kwargs)


def load_backbone(
    name: str,
    checkpoint: str,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **hub_kwargs: Any,
) -> FeatureBackbone:
    """Load one backbone; see `load_backbones`.

    Args:
        name: Its name.
        checkpoint: Folder or Hub id.
        device: Where it runs; the CPU by default.
        dtype: Floating-point type it computes in; float32 by default.
        **hub_kwargs: Passed to its `from_pretrained`.

    Raises:
        ValueError: The name is unknown, or the device is not there.
        OSError: The checkpoint cannot be loaded.
        ImportError: A library that it needs is not installed.
    """
    backbone_class = get_backbone_class(name)
    with _as_one_line(name, checkpoint):
        backbone = backbone_class.from_pretrained(checkpoint, dtype=dtype, **hub_kwargs)
    try:
        return backbone.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"Cannot run on the device {str(device)!r}: {error}") from error


@contextlib.contextmanager
def _as_one_line(name: str, checkpoint: str) -> Iterator[None]:
    """Word whatever goes wrong with a checkpoint as one line that names it."""
    try:
        yield
    except ImportError:
        raise
    # What a broken connection or a damaged file raises depends on the libraries below.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].removesuffix(".")
        is_of_hub = not os.path.isabs(checkpoint) and "://" not in checkpoint
        hint = (
            " If a download was interrupted, repeat the command: it continues where it stopped." if is_of_hub else ""
        )
        raise OSError(f"The backbone {name!r} cannot be loaded from {checkpoint}: {reason}.{hint}") from error


def backbone_settings(backbone: FeatureBackbone, checkpoint: str | None) -> dict[str, Any]:
    """What identifies a backbone, as `extraction.json` keeps it.

    `checkpoint` tells people where it came from. `weights` tells whether two backbones are the same: it is a digest of
    all weights that does not depend on where they are stored.
    """
    modules = [value for value in vars(backbone).values() if isinstance(value, torch.nn.Module)]
    tensors = [tensor for module in modules for tensor in module.state_dict().values()]
    types = sorted({str(t.dtype).removeprefix("torch.") for t in tensors if t.is_floating_point()})
    return {
        "backbone": backbone.name,
        "checkpoint": checkpoint,
        "weights": weights_digest(tensors) if tensors else None,
        "compute_dtype": ", ".join(types) or None,
    }


def weights_digest(tensors: Iterable[torch.Tensor]) -> str:
    """A digest of tensors in any order, since libraries name and order the same weights differently."""
    digests = []
    for tensor in tensors:
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digests.append(hashlib.blake2b(content.data, digest_size=16, person=b"videolights").digest())
    return hashlib.blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest()
