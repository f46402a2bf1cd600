"""Which checkpoint a run may resume from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from .arguments import VideoLightsTrainingArguments

SETTINGS_FILE = "run_settings.json"

# What decides which weights a run ends with, beside the model's config. The number of epochs is not among them: a
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
# What a config holds of the library and the place it was loaded from, not of the model.
_INCIDENTAL_CONFIG = {
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "transformers_version",
    "_name_or_path",
}


def checkpoint_fault(folder: str | Path) -> str | None:
    """Why a run cannot resume from a checkpoint, or `None` if it can."""
    folder = Path(folder)
    if not folder.is_dir():
        return "it is no folder"
    try:
        # Written last: where it can be read, the rest of the checkpoint was complete.
        state = json.loads((folder / TRAINER_STATE_NAME).read_text())
    except FileNotFoundError:
        return f"it has no {TRAINER_STATE_NAME}"
    except ValueError:
        return f"its {TRAINER_STATE_NAME} is cut off"
    if not isinstance(state, dict) or "global_step" not in state:
        return f"its {TRAINER_STATE_NAME} is not that of a trainer"
    if not any((folder / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        return f"it has no {SAFE_WEIGHTS_NAME}"
    missing = [name for name in (OPTIMIZER_NAME, SCHEDULER_NAME) if not (folder / name).is_file()]
    return f"it has no {' and no '.join(missing)}" if missing else None


def find_resumable_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest complete checkpoint in a folder; those cut off by a crash are passed over.

    Returns:
        The folder `checkpoint-{step}` with the highest step that can be resumed from, or `None`.
    """
    output_dir = Path(output_dir)
    if not output_dir.is_dir():
        return None
    steps = {}
    for path in output_dir.iterdir():
        match = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if match and checkpoint_fault(path) is None:
            steps[int(match[1])] = path
    return steps[max(steps)] if steps else None


def run_settings(
    args: VideoLightsTrainingArguments, config: PreTrainedConfig, num_queries: int | None
) -> dict[str, Any]:
    """What must be the same when a run resumes, as plain values by dotted name."""
    model = {key: value for key, value in config.to_dict().items() if key not in _INCIDENTAL_CONFIG}
    training = {name: getattr(args, name) for name in _DECISIVE_ARGUMENTS}
    training["batch_size"] = args.per_device_train_batch_size
    training["num_processes"] = args.world_size
    settings = {f"model.{key}": value for key, value in model.items()}
    settings |= {f"training.{key}": value for key, value in training.items()}
    settings["data.num_queries"] = num_queries
    return json.loads(json.dumps(settings, default=str))


def save_settings(folder: str | Path, settings: Mapping[str, Any]) -> None:
    """Write `run_settings` to a checkpoint."""
    (Path(folder) / SETTINGS_FILE).write_text(json.dumps(settings, indent=1, sort_keys=True))


def check_same_settings(checkpoint: str | Path, settings: Mapping[str, Any]) -> None:
    """Check that a run resumes with the settings that it began with.

    Args:
        checkpoint: A checkpoint folder; one without settings, of another trainer, passes.
        settings: `run_settings` of the run that wants to resume.

    Raises:
        ValueError: Naming every setting that differs, with both values.
    """
    path = Path(checkpoint) / SETTINGS_FILE
    if not path.is_file():
        return
    saved = json.loads(path.read_text())
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
