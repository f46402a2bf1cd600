"""Uploading trained folders to the Hub: which files, and with which card."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi, ModelCard, create_branch, create_repo

from ..common.files import read_json_object
from ..common.loading import load_config
from .card import CardSettings, TrainingRecord, make_model_card
from .code import SUFFIX

# What users of the repository need; everything else that training leaves stays on the machine.
PUBLISHED_FILES = (
    "README.md",
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    f"*{SUFFIX}.py",
    "processor_config.json",
    "backbones/*",
    "recipe.yaml",
    "results.json",
    "training_record.json",
    "*_metrics.json",
    ".eval_results/*",
)
PREDICTION_FILES = ("*_predictions.jsonl",)
_UNFINISHED = ("checkpoint-*",)


def model_folders(folder: str | os.PathLike) -> dict[str, Path]:
    """The models of a folder by their subfolder: `{"": folder}`, or one per domain.

    Raises:
        FileNotFoundError: There is no model.
    """
    root = Path(folder)
    if (root / "config.json").is_file():
        return {"": root}
    found = {path.parent.name: path.parent for path in sorted(root.glob("*/config.json"))}
    found = {name: path for name, path in found.items() if not name.startswith("checkpoint-")}
    if not found:
        raise FileNotFoundError(f"{folder} holds no model: there is no config.json in it or one folder below.")
    return found


def hub_name(name: str) -> str:
    """A name as repositories may have it: other characters become hyphens."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"


def write_card(
    folder: str | os.PathLike,
    repo_id: str,
    record: TrainingRecord | None,
    settings: CardSettings | None = None,
) -> ModelCard:
    """Write the card of a model folder, and its results for the benchmark that `settings` names.

    Args:
        folder: The model's folder.
        repo_id: Where it will be.
        record: How it was trained, if that is known.
        settings: What only the model's owner can say.

    Raises:
        ValueError: The folder's config.json is damaged.
    """
    folder = Path(folder)
    settings = settings or CardSettings()
    config = load_config(folder)
    card = make_model_card(
        config, repo_id, record=record, backbone_checkpoints=_backbone_checkpoints(folder), settings=settings
    )
    card.save(folder / "README.md")
    if settings.benchmark_id and record and record.metrics:
        _write_eval_results(folder, settings.benchmark_id, record)
    return card


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    settings: CardSettings | None = None,
    records: Mapping[str, TrainingRecord] | None = None,
    with_predictions: bool = False,
    **upload: Any,
) -> CommitInfo:
    """Upload a trained folder in one commit: weights, code, processor, recipe, results and card.

    The local folder stays whole if the upload fails, and the same call repeats it. A folder with one model per domain
    goes to one repository, each model in a subfolder of its domain's name.

    Args:
        folder: What training, `save_pretrained` or `videolights convert` wrote.
        repo_id: The repository; it is made if it does not exist.
        settings: What only the model's owner can say.
        records: How each model was trained, by its subfolder (`""` for a single one).
        with_predictions: Also upload prediction files.
        **upload: `private`, `token`, `revision`, `create_pr`, `commit_message`.

    Raises:
        FileNotFoundError: There is no model in the folder.
    """
    api = HfApi(token=upload.pop("token", None))
    folders = model_folders(folder)
    private, revision = upload.pop("private", None), upload.pop("revision", None)
    repo_id = create_repo(repo_id, private=private, token=api.token, exist_ok=True).repo_id
    for name, path in folders.items():
        write_card(path, repo_id, (records or {}).get(name), settings)
    if "" not in folders:
        _write_overview(Path(folder), repo_id, list(folders), settings or CardSettings())
    if revision is not None and not upload.get("create_pr") and not revision.startswith("refs/"):
        create_branch(repo_id, branch=revision, token=api.token, exist_ok=True)
    published = [*PUBLISHED_FILES, *(PREDICTION_FILES if with_predictions else ())]
    patterns = [f"{name}/{pattern}" if name else pattern for name in folders for pattern in published]
    upload.setdefault("commit_message", f"Upload {Path(folder).absolute().name}")
    return api.upload_folder(
        repo_id=repo_id,
        folder_path=Path(folder),
        revision=revision,
        allow_patterns=[*patterns, "README.md", "results.json"],
        ignore_patterns=[*_UNFINISHED, *(f"{name}/{pattern}" for name in folders for pattern in _UNFINISHED)],
        # Code files of other versions go in the same commit.
        delete_patterns=[f"{name}/*{SUFFIX}.py" if name else f"*{SUFFIX}.py" for name in folders],
        **upload,
    )


def _backbone_checkpoints(folder: Path) -> dict[str, str] | None:
    return (read_json_object(folder / "processor_config.json") or {}).get("backbone_checkpoints")


def _write_eval_results(folder: Path, benchmark_id: str, record: TrainingRecord) -> None:
    # Transformers needs it, so it is there.
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(
            dataset_id=benchmark_id,
            task_id=f"{record.eval_split}/{metric.name}" if record.eval_split else metric.name,
            value=float(metric.value),
            date=record.date,
            notes=f"Recipe {record.recipe}, seed {record.seed}" if record.recipe else None,
        )
        for metric in record.metrics
    ]
    path = folder / ".eval_results" / f"{benchmark_id.replace('/', '--')}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False), encoding="utf-8")


def _write_overview(folder: Path, repo_id: str, domains: list[str], settings: CardSettings) -> None:
    """The card of a repository with one model per domain: those models' common facts, and where each is."""
    first = ModelCard.load(folder / domains[0] / "README.md")
    first.data.model_name, first.data.eval_results = None, None
    rows = "\n".join(
        f'| {name} | [`{name}/`](./{name}/README.md) | `from_pretrained("{repo_id}", subfolder="{name}")` |'
        for name in domains
    )
    title = repo_id.rpartition("/")[2]
    text = (
        f"# {title}\n\nOne model per domain, each in a folder of its own with its card:\n\n"
        f"| domain | folder | load it |\n|---|---|---|\n{rows}\n"
    )
    first.data.license = settings.weights_license
    ModelCard(f"---\n{first.data}\n---\n\n{text}").save(folder / "README.md")
