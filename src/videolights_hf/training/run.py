"""Train and evaluate one model by a recipe."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate.utils import broadcast_object_list
from transformers import set_seed

from ..common.files import check_holds_regular_files, write_json
from ..common.locks import FolderInUseError, locked_folder
from ..data.collator import VideoLightsDataCollator
from ..data.dataset import FeatureDataset
from ..hub.publish import hub_name, write_card
from ..hub.records import write_record
from .arguments import VideoLightsTrainingArguments
from .checkpoints import find_resumable_checkpoint
from .preparation import RunData, build_model, fit_config_to_data, load_model, make_processor
from .recipes import RECIPE_FILE, Recipe, save_recipe
from .record import make_record
from .trainer import VideoLightsTrainer

if TYPE_CHECKING:
    from datasets import Dataset

RESULTS_FILE = "results.json"

# The duration of an evaluation is not a property of the model, and differs after a resume.
_TIMINGS = re.compile(r".*_(runtime|per_second|preparation_time)")


def train_recipe(
    recipe: Recipe,
    data: RunData,
    output_dir: str | Path,
    *,
    domain: str | None = None,
    init_from: str | Path | None = None,
    resume: bool = False,
) -> dict[str, float]:
    """Train one model, evaluate the best checkpoint, and save it.

    Args:
        recipe: From `load_recipe`.
        data: What to train and evaluate on.
        output_dir: Folder for checkpoints, logs, predictions and, in the end, the model.
        domain: Train and evaluate on this domain alone.
        init_from: Checkpoint to start from, with a fresh optimizer.
        resume: Continue the run in `output_dir` from its newest complete checkpoint; start one if there is none.

    Returns:
        The metrics of the saved model, which are also in `results.json`.

    Raises:
        ValueError: The recipe needs a pretrained checkpoint and there is none, the data does not fit the recipe, the run
            in `output_dir` had other settings, or a backbone's features have another width than the data's; or
            `output_dir` holds a named pipe.
        FileExistsError: `output_dir` holds a run, and `resume` is False.
        OSError: A backbone's checkpoint does not exist, or another process trains in `output_dir`.
    """
    args = recipe.training_arguments(output_dir)
    if domain is not None and args.push_to_hub:
        # Models of several domains do not overwrite each other.
        args.hub_model_id = f"{args.hub_model_id or Path(output_dir).absolute().parent.name}-{hub_name(domain)}"
    started = time.monotonic()
    check_holds_regular_files(output_dir)
    with _sole_run(args):
        checkpoint = _checkpoint_to_resume(Path(output_dir), resume)
        if recipe.pretrained and init_from is None and checkpoint is None:
            raise ValueError(f"Recipe {recipe.name} finetunes a pretrained checkpoint: name the one to start from.")
        config = fit_config_to_data(recipe, data.tables)
        set_seed(args.seed)
        trainer = VideoLightsTrainer(
            build_model(config, None if checkpoint else init_from),
            args,
            train_dataset=FeatureDataset.from_config(
                data.tables, recipe.data.train_split, config, True, args.seed, domain, recipe.data.windows
            ),
            eval_dataset=FeatureDataset.from_config(
                data.evaluated, recipe.data.eval_split, config, False, args.seed, domain, recipe.data.windows
            ),
            data_collator=VideoLightsDataCollator(recipe.data.text_dropout, args.seed),
        )
        if checkpoint is not None:
            trainer.check_same_settings(checkpoint)
        if trainer.is_world_process_zero():
            # A pipeline needs the processor beside the model. It comes first, so that backbones that do not fit are
            # found before the training and not after it.
            make_processor(config, data.backbone_checkpoints).save_pretrained(output_dir)
            save_recipe(recipe, Path(output_dir, RECIPE_FILE))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        metrics = without_timings(trainer.evaluate())
        if trainer.is_world_process_zero():
            # Before the last push, which uploads them.
            trainer.save_state()
            write_json(Path(output_dir, RESULTS_FILE), metrics)
            record = make_record(
                recipe,
                data,
                args,
                metrics,
                domain=domain,
                init_from=init_from,
                seconds=None if checkpoint else round(time.monotonic() - started, 1),
            )
            write_record(output_dir, record)
        trainer.save_model()
        if trainer.is_world_process_zero():
            # A push writes a card of its own. This one is about the configuration that now lies there.
            write_card(output_dir, Path(output_dir).absolute().name, record)
        trainer.accelerator.wait_for_everyone()
    return metrics


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
        output_dir: Folder for `{split}_predictions.jsonl` and `{split}_metrics.json`.
        recipe: Sets post-processing and batch size.
        domain: Evaluate on this domain alone.

    Returns:
        Metrics whose names begin with `{split}_`; none without labels.

    Raises:
        ValueError: The checkpoint's weights are incomplete or not finite, or the data does not fit it.
        OSError: The checkpoint does not exist, or the files cannot be written.
    """
    args = recipe.training_arguments(
        output_dir,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        early_stopping_patience=-1,
        report_to="none",
    )
    model = load_model(checkpoint)
    dataset = FeatureDataset.from_config(tables, split, model.config, domain=domain, windows=recipe.data.windows)
    metrics = VideoLightsTrainer(model, args).predict(dataset, metric_key_prefix=split).metrics or {}
    return without_timings(metrics)


def without_timings(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that a repetition of the evaluation gives again."""
    return {name: value for name, value in metrics.items() if not _TIMINGS.fullmatch(name)}


@contextlib.contextmanager
def _sole_run(args: VideoLightsTrainingArguments) -> Iterator[None]:
    """Keep other trainings out of the output folder; all processes of this one learn whether that worked."""
    with contextlib.ExitStack() as stack:
        refusal = [""]
        if args.process_index == 0:
            try:
                stack.enter_context(locked_folder(str(args.output_dir)))
            except FolderInUseError as error:
                refusal = [str(error)]
        if args.world_size > 1:
            broadcast_object_list(refusal)
        if refusal[0]:
            raise FolderInUseError(refusal[0])
        yield


def _checkpoint_to_resume(output_dir: Path, resume: bool) -> Path | None:
    checkpoint = find_resumable_checkpoint(output_dir)
    if not resume and (checkpoint or Path(output_dir, RESULTS_FILE).is_file()):
        there = checkpoint.name if checkpoint else RESULTS_FILE
        raise FileExistsError(f"{output_dir} holds a run ({there}): resume it, or choose another folder.")
    return checkpoint
