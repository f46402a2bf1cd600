"""Train and evaluate by recipe: what the example scripts call."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from transformers import set_seed

from ..common.messages import unknown_name
from ..data.annotations import domains_of
from ..data.collator import VideoLightsDataCollator
from ..data.dataset import FeatureDataset, table_backbones
from ..data.tables import AUDIO, VIDEO_PREFIX, VIDEOS
from ..inference.processing import VideoLightsProcessor
from ..models.videolights.configuration import VideoLightsConfig
from ..models.videolights.modeling import VideoLightsForMomentRetrieval
from .checkpoints import find_resumable_checkpoint
from .recipes import Recipe, load_recipe
from .trainer import VideoLightsTrainer

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

RECIPE_FILE = "recipe.yaml"
RESULTS_FILE = "results.json"


def fit_config_to_data(recipe: Recipe, tables: Mapping[str, Dataset]) -> VideoLightsConfig:
    """The recipe's model, with the widths that the backbones, and the audio that it may use, have in the data.

    Raises:
        ValueError: If the data lacks a backbone of the recipe, or the audio.
    """
    config = recipe.model_config()
    fitted = {}
    for field, there in zip(("video_backbones", "text_backbones"), table_backbones(tables)):
        widths = dict(there)
        wanted = getattr(config, field)
        missing = [name for name, _ in wanted if name not in widths]
        if missing:
            raise ValueError(
                f"Recipe {recipe.name} needs the {field} {', '.join(missing)}, the data has {', '.join(widths)}."
            )
        fitted[field] = [[name, widths[name]] for name, _ in wanted]
        if fitted[field] != wanted:
            logger.warning("The data has other widths than the recipe's %s: %s is used.", field, fitted[field])
    fitted["audio_dim"] = _fit_audio_dim(recipe.name, config.audio_dim, tables)
    return recipe.model_config(**fitted)


def _fit_audio_dim(recipe_name: str, wanted: int, tables: Mapping[str, Dataset]) -> int:
    """Width of the data's audio features if the recipe wants any, else 0."""
    column = f"{VIDEO_PREFIX}{AUDIO}"
    there = tables[VIDEOS][0][column]["shape"][1] if column in tables[VIDEOS].column_names else 0
    if wanted and not there:
        raise ValueError(
            f"Recipe {recipe_name} needs audio features (audio_dim={wanted}), the data has none: build it with an "
            "audio folder."
        )
    if there and not wanted:
        logger.warning("The data has audio features, which the recipe leaves out: audio_dim=%d uses them.", there)
        return 0
    if there != wanted:
        logger.warning("The data has another width than the recipe's audio_dim: %d is used.", there)
    return there


def build_model(config: VideoLightsConfig, init_from: str | Path | None = None) -> VideoLightsForMomentRetrieval:
    """A new model, or one with the weights of a checkpoint.

    Args:
        config: The model's configuration; that of the checkpoint gives way to it.
        init_from: Folder or Hub repository of a checkpoint, such as one of a pretraining recipe.

    Raises:
        ValueError: If the checkpoint was trained on other features.
    """
    if init_from is None:
        return VideoLightsForMomentRetrieval(config)
    theirs = VideoLightsConfig.from_pretrained(init_from)
    for field in ("video_backbones", "text_backbones", "audio_dim"):
        if getattr(theirs, field) != getattr(config, field):
            raise ValueError(
                f"{init_from} was trained with the {field} {getattr(theirs, field)}, this run has "
                f"{getattr(config, field)}: features and their order must be the same."
            )
    return VideoLightsForMomentRetrieval.from_pretrained(init_from, config=config)


def train_recipe(
    recipe: Recipe,
    tables: Mapping[str, Dataset],
    output_dir: str | Path,
    *,
    eval_tables: Mapping[str, Dataset] | None = None,
    init_from: str | Path | None = None,
    domain: str | None = None,
    resume: bool = False,
    backbone_checkpoints: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Train one model, evaluate the best checkpoint, and save it.

    Args:
        recipe: From `load_recipe`.
        tables: Feature dataset, from `load_feature_dataset`.
        output_dir: Where checkpoints, logs, predictions and in the end the model go.
        eval_tables: Feature dataset to evaluate on, if another (pretraining is evaluated on QVHighlights).
        init_from: Checkpoint to start from, with a fresh optimiser.
        domain: Train and evaluate on this domain alone.
        resume: Go on with the run in `output_dir` if there is one, from its newest complete checkpoint.
        backbone_checkpoints: Where the backbones are that computed the features (`read_backbone_checkpoints`), for
            the trained model to run on raw videos; those in folders are copied beside it. By default the public ones.

    Returns:
        The metrics of the model that was saved; they are also in `results.json`.

    Raises:
        ValueError: If the recipe wants a pretrained checkpoint and there is none, the data lacks what the recipe
            needs, the run in `output_dir` had other settings, or a backbone's features are not as wide as the data's.
        OSError: If a backbone's checkpoint does not exist.
        FileExistsError: If `output_dir` holds a run and `resume` is False.
    """
    output_dir = Path(output_dir)
    checkpoint = find_resumable_checkpoint(output_dir)
    if checkpoint and not resume:
        raise FileExistsError(f"{output_dir} holds a run ({checkpoint.name}): resume it, or choose another folder.")
    if recipe.pretrained and init_from is None:
        raise ValueError(
            f"Recipe {recipe.name} finetunes a pretrained checkpoint: name one to start from (init_from)."
        )
    args = recipe.training_arguments(output_dir)
    config = fit_config_to_data(recipe, tables)
    set_seed(args.seed)
    model = build_model(config, init_from)
    trainer = VideoLightsTrainer(
        model,
        args,
        train_dataset=FeatureDataset.from_config(
            tables, recipe.data.train_split, config, training=True, seed=args.seed, domain=domain
        ),
        eval_dataset=FeatureDataset.from_config(
            eval_tables or tables, recipe.data.eval_split, config, seed=args.seed, domain=domain
        ),
        data_collator=VideoLightsDataCollator(recipe.data.text_dropout, args.seed),
    )
    if trainer.is_world_process_zero():
        # With the processor beside it, the folder is all that a pipeline needs where the backbones can be run. It comes
        # first, so that backbones that do not fit are found before the training and not after it.
        make_processor(config, backbone_checkpoints).save_pretrained(output_dir)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics = trainer.evaluate()
    trainer.save_model()
    if trainer.is_world_process_zero():
        save_recipe(recipe, output_dir / RECIPE_FILE)
        trainer.save_state()
        (output_dir / RESULTS_FILE).write_text(json.dumps(metrics, indent=1))
    trainer.accelerator.wait_for_everyone()
    return metrics


def make_processor(
    config: VideoLightsConfig, backbone_checkpoints: Mapping[str, str] | None = None
) -> VideoLightsProcessor:
    """The processor of a model, with the backbones that computed its training features.

    Args:
        config: The model's configuration.
        backbone_checkpoints: Backbone name to folder or Hub id; those that the model does not use are left out. Empty
            or `None`: the public ones.

    Raises:
        FileNotFoundError: A checkpoint is an absolute path of no folder.
    """
    used = {name for name, _ in [*config.video_backbones, *config.text_backbones]}
    checkpoints = {name: path for name, path in (backbone_checkpoints or {}).items() if name in used}
    for name, path in checkpoints.items():
        if os.path.isabs(path) and not os.path.isdir(path):
            raise FileNotFoundError(
                f"The backbone {name!r} that computed the features is no longer in {path}: say where it is "
                f"(--backbone {name}=PATH_OR_ID in examples/train.py)."
            )
    return VideoLightsProcessor.from_config(config, checkpoints or None)


def evaluate_checkpoint(
    checkpoint: str | Path,
    tables: Mapping[str, Dataset],
    split: str,
    output_dir: str | Path,
    recipe: Recipe,
    domain: str | None = None,
) -> dict[str, float]:
    """Predict a split with a trained model and write the submission file; score it if it has labels.

    Args:
        checkpoint: Folder or Hub repository.
        tables: Feature dataset.
        split: Name of the split; the files are named after it.
        output_dir: Where `{split}_predictions.jsonl` and `{split}_metrics.json` go.
        recipe: Whose post-processing and batch size are used.
        domain: Evaluate on this domain alone.

    Returns:
        Metrics with names that begin with `{split}_`; without labels, nothing but times.
    """
    args = recipe.training_arguments(
        output_dir,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        early_stopping_patience=-1,
        report_to="none",
    )
    model = VideoLightsForMomentRetrieval.from_pretrained(checkpoint)
    dataset = FeatureDataset.from_config(tables, split, model.config, domain=domain)
    return VideoLightsTrainer(model, args).predict(dataset, metric_key_prefix=split).metrics


def for_each_domain(
    run: Callable[[str], Mapping[str, float]],
    tables: Mapping[str, Dataset],
    split: str,
    domains: Sequence[str] | None = None,
) -> dict[str, dict[str, float]]:
    """Do something for each domain of a split.

    Args:
        run: Takes a domain, returns its metrics.
        tables: Feature dataset.
        split: Split whose domains are meant.
        domains: Some of them; all by default.

    Returns:
        The metrics by domain.

    Raises:
        ValueError: For a split without domains, or a domain that it does not have (with the nearest one).
    """
    if split not in tables:
        raise ValueError(unknown_name("split", split, [name for name in tables if name != "videos"]))
    known = domains_of(tables[split].select_columns(["domain"]))
    if not known:
        raise ValueError(f"The queries of split {split!r} have no domains.")
    for domain in domains or ():
        if domain not in known:
            raise ValueError(unknown_name("domain", domain, known))
    return {domain: dict(run(domain)) for domain in domains or known}


def train_domains(
    recipe: Recipe,
    tables: Mapping[str, Dataset],
    output_dir: str | Path,
    domains: Sequence[str] | None = None,
    resume: bool = False,
    **kwargs: Any,
) -> dict[str, dict[str, float]]:
    """Train a model for each domain, in folders of their own (TVSum, YouTube Highlights).

    Args:
        recipe: From `load_recipe`.
        tables: Feature dataset.
        output_dir: Holds a folder for each domain.
        domains: Some of the domains; all by default.
        resume: Pass over domains that are finished, and go on with the one that was interrupted.
        **kwargs: Passed to `train_recipe`.

    Returns:
        The metrics by domain.
    """

    def train(domain: str) -> dict[str, float]:
        results = domain_folder(output_dir, domain) / RESULTS_FILE
        if resume and results.is_file():
            return json.loads(results.read_text())
        return train_recipe(recipe, tables, results.parent, domain=domain, resume=resume, **kwargs)

    return for_each_domain(train, tables, recipe.data.train_split, domains)


def evaluate_domains(
    checkpoint: str | Path,
    tables: Mapping[str, Dataset],
    split: str,
    output_dir: str | Path,
    recipe: Recipe,
    domains: Sequence[str] | None = None,
) -> dict[str, dict[str, float]]:
    """Evaluate the models that `train_domains` trained, each on its domain.

    Args:
        checkpoint: The folder that holds a folder for each domain.
        tables: Feature dataset.
        split: Name of the split.
        output_dir: Holds a folder for each domain, with its files.
        recipe: Whose post-processing and batch size are used.
        domains: Some of the domains; all by default.

    Returns:
        The metrics by domain.
    """

    def evaluate(domain: str) -> dict[str, float]:
        folder = domain_folder(checkpoint, domain)
        return evaluate_checkpoint(folder, tables, split, domain_folder(output_dir, domain), recipe, domain)

    return for_each_domain(evaluate, tables, split, domains)


def domain_folder(parent: str | Path, domain: str) -> Path:
    """Folder of a domain's model.

    Raises:
        ValueError: If the domain's name could lead out of `parent`.
    """
    if not re.fullmatch(r"\w[\w -]*", domain):
        raise ValueError(f"The domain {domain!r} cannot be the name of a folder.")
    return Path(parent, domain)


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe with all that it inherited and that was set on top; `load_recipe` reads it."""
    content = {key: value for key, value in asdict(recipe).items() if key != "name"}
    Path(path).write_text(f"# From {recipe.name}\n{yaml.safe_dump(content, sort_keys=False)}")


def recipe_of_checkpoint(checkpoint: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that `train_recipe` or `train_domains` trained a checkpoint with.

    Args:
        checkpoint: The folder that was trained to, or a checkpoint in it.
        overrides: Settings on top, see `load_recipe`.

    Raises:
        FileNotFoundError: If it was not saved with one.
    """
    folder = Path(checkpoint)
    candidates = [folder / RECIPE_FILE, folder.parent / RECIPE_FILE, *sorted(folder.glob(f"*/{RECIPE_FILE}"))]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{checkpoint} was saved without {RECIPE_FILE}: name the recipe to evaluate it by.")
    return load_recipe(str(found), overrides)
