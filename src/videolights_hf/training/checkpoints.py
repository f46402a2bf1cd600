"""Which checkpoint a run may resume from, and what it must do first."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_pt_utils import safe_globals
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..common.files import parse_json, read_json_object, write_json, write_text
from .arguments import VideoLightsTrainingArguments
from .averaging import EMA_FILE

logger = logging.getLogger(__name__)

SETTINGS_FILE = "run_settings.json"
LOSS_TOTALS_FILE = "loss_totals.json"
EVALUATION_DUE_FILE = "evaluation_due"

_STATE_KINDS: dict[str, type | tuple[type, ...]] = {
    "global_step": int,
    "epoch": (int, float),
    "max_steps": int,
    "train_batch_size": int,
    "log_history": list,
    "stateful_callbacks": dict,
}
# These, and the model's config, decide which weights a run ends with. The number of epochs is not among them: a
# finished run may be trained for longer.
_DECISIVE_ARGUMENTS = (
    "learning_rate",
    "weight_decay",
    "max_grad_norm",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "optim",
    "lr_scheduler_type",
    "warmup_steps",
    "lr_drop",
    "lr_drop_factor",
    "train_sampling_strategy",
    "gradient_accumulation_steps",
    "seed",
    "data_seed",
    "ema_decay",
    "bf16",
    "fp16",
)
# Config entries about the library and the place that the config was loaded from, not about the model.
_INCIDENTAL_CONFIG = {
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "transformers_version",
    "_name_or_path",
}


def checkpoint_fault(folder: str | Path) -> str | None:
    """Why a run cannot resume from a checkpoint, or `None` if it can.

    Every file is opened: a power cut may leave one that exists but is incomplete.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return "it is not a folder"
    irregular = [path.name for path in folder.iterdir() if not path.is_file() and not path.is_dir()]
    if irregular:
        return f"its {irregular[0]} is not a regular file"
    fault = _state_fault(folder / TRAINER_STATE_NAME) or _weights_fault(folder)
    if fault:
        return fault
    missing = [name for name in (OPTIMIZER_NAME, SCHEDULER_NAME) if not (folder / name).is_file()]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    saved_by_torch = [folder / OPTIMIZER_NAME, folder / SCHEDULER_NAME, *sorted(folder.glob("rng_state*.pth"))]
    return next(filter(None, map(_torch_fault, saved_by_torch)), None) or _json_fault(folder)


def find_resumable_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest complete checkpoint in a folder; those that a crash cut off are skipped, with a warning.

    Returns:
        The folder `checkpoint-{step}` with the highest step that can be resumed from, or `None`.
    """
    output_dir = Path(output_dir)
    if not output_dir.is_dir():
        return None
    steps = {}
    for path in output_dir.iterdir():
        match = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if match:
            steps[int(match[1])] = path
    for step in sorted(steps, reverse=True):
        fault = checkpoint_fault(steps[step])
        if fault is None:
            return steps[step]
        logger.warning("%s is skipped: %s.", steps[step], fault)
    return None


def mark_evaluation_due(folder: str | Path) -> None:
    """Note in a checkpoint, which need not be complete yet, that its evaluation failed and is to be repeated."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_text(Path(folder) / EVALUATION_DUE_FILE, "The evaluation of this checkpoint failed. A resume repeats it.\n")


def is_evaluation_due(folder: str | Path) -> bool:
    """Whether a run that resumes from a checkpoint must evaluate it first."""
    return (Path(folder) / EVALUATION_DUE_FILE).is_file()


def clear_evaluation_due(folder: str | Path) -> None:
    """Note that the failed evaluation of a checkpoint has been repeated."""
    (Path(folder) / EVALUATION_DUE_FILE).unlink(missing_ok=True)


def run_settings(
    args: VideoLightsTrainingArguments, config: PreTrainedConfig, num_queries: int | None
) -> dict[str, Any]:
    """Settings that must be the same when a run resumes, as plain values by dotted name."""
    model = {key: value for key, value in config.to_dict().items() if key not in _INCIDENTAL_CONFIG}
    training = {name: getattr(args, name) for name in _DECISIVE_ARGUMENTS}
    training["batch_size"] = args.per_device_train_batch_size
    training["num_processes"] = args.world_size
    if args.fixed_shapes:
        # Checkpoints from before this option do not name it.
        training["fixed_shapes"] = True
    settings = {f"model.{key}": value for key, value in model.items()}
    settings |= {f"training.{key}": value for key, value in training.items()}
    settings["data.num_queries"] = num_queries
    return json.loads(json.dumps(settings, default=str))


def save_settings(folder: str | Path, settings: Mapping[str, Any]) -> None:
    """Write `run_settings` to a checkpoint."""
    write_json(Path(folder) / SETTINGS_FILE, dict(sorted(settings.items())))


def check_same_settings(checkpoint: str | Path, settings: Mapping[str, Any]) -> None:
    """Check that a run resumes with the settings that it began with.

    Args:
        checkpoint: A checkpoint folder. One without settings, from another trainer, passes.
        settings: `run_settings` of the run that wants to resume.

    Raises:
        ValueError: A setting differs; all that differ are named, with both values.
    """
    saved = read_json_object(Path(checkpoint) / SETTINGS_FILE)
    if saved is None:
        return
    differing = [
        f"  {name}: {saved.get(name)!r} in the checkpoint, {settings.get(name)!r} now"
        for name in sorted(saved.keys() | settings.keys())
        if saved.get(name) != settings.get(name)
    ]
    if differing:
        raise ValueError(
            f"{checkpoint} belongs to a run with other settings:\n"
            + "\n".join(differing)
            + "\nResume with the same settings, or start a new run in another output_dir."
        )


def _state_fault(path: Path) -> str | None:
    try:
        # Written last: where it can be read, everything else had been written.
        state = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"it has no {path.name}"
    except ValueError:
        return f"its {path.name} is cut off"
    if not isinstance(state, dict) or not all(isinstance(state.get(key), kind) for key, kind in _STATE_KINDS.items()):
        return f"its {path.name} is not that of a trainer"
    return None


def _weights_fault(folder: Path) -> str | None:
    names = [SAFE_WEIGHTS_NAME]
    if (folder / SAFE_WEIGHTS_INDEX_NAME).is_file():
        try:
            index = parse_json((folder / SAFE_WEIGHTS_INDEX_NAME).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"its {SAFE_WEIGHTS_INDEX_NAME} is damaged"
    for name in [*names, EMA_FILE]:
        if not (folder / name).is_file():
            if name == EMA_FILE:
                continue
            return f"it has no {name}"
        try:
            with safe_open(folder / name, "pt"):
                pass
        except (SafetensorError, OSError):
            return f"its {name} is cut off or damaged"
    return None


def _torch_fault(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() is not None
        if not damaged:
            with safe_globals():
                torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whatever a damaged or hostile pickle leads to
        damaged = True
    return f"its {path.name} is cut off or damaged" if damaged else None


def _json_fault(folder: Path) -> str | None:
    for name, keys in ((SETTINGS_FILE, ()), (LOSS_TOTALS_FILE, ("total", "since_last_log", "last_logged_step"))):
        if not (folder / name).is_file():
            continue
        try:
            content = parse_json((folder / name).read_text(encoding="utf-8"))
        except ValueError:
            content = None
        if not isinstance(content, dict) or not all(isinstance(content.get(key), (int, float)) for key in keys):
            return f"its {name} is cut off or damaged"
    return None


def save_loss_totals(folder: str | Path, totals: Mapping[str, Any]) -> None:
    """Write to a checkpoint, which need not exist yet, what training losses add up to so far."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_json(Path(folder) / LOSS_TOTALS_FILE, totals)


def read_loss_totals(folder: str | Path) -> dict[str, Any] | None:
    """What `save_loss_totals` wrote; `None` in a checkpoint of another trainer."""
    return read_json_object(Path(folder) / LOSS_TOTALS_FILE)


@contextlib.contextmanager
def saving_to(folder: str | Path) -> Iterator[None]:
    """Name the folder and the remedy where saving fails, whatever library fails.

    Raises:
        OSError: Saving failed.
    """
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise OSError(f"{folder} cannot be written ({line}). Make room or choose another disk, and resume.") from error


@contextlib.contextmanager
def resuming_from(folder: str | Path) -> Iterator[None]:
    """Name the checkpoint and the remedy where its content does not fit the run.

    Raises:
        ValueError: The content does not fit.
    """
    try:
        yield
    except (SafetensorError, RuntimeError, KeyError, TypeError, AttributeError, IndexError) as error:
        line = " ".join(str(error).split())
        raise ValueError(
            f"Cannot resume from {folder}: its content does not fit this run ({line}). Remove the folder to resume from an "
            "older one."
        ) from error
