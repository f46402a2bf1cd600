"""Training and evaluation on transformers' `Trainer`."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, Sampler
from transformers import EarlyStoppingCallback, IntervalStrategy, PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, has_length

from ..data.collator import BatchLengths, VideoLightsDataCollator
from ..models.detector import DetectorForMomentRetrieval
from .arguments import VideoLightsTrainingArguments
from .averaging import WeightAverage
from .callbacks import EpochCallback, EvaluationEpochsCallback, ReadableLogCallback, WeightAverageCallback
from .checkpoints import (
    check_same_settings,
    checkpoint_fault,
    clear_evaluation_due,
    find_resumable_checkpoint,
    is_evaluation_due,
    mark_evaluation_due,
    read_loss_totals,
    resuming_from,
    run_settings,
    save_loss_totals,
    save_settings,
    saving_to,
)
from .evaluating import EvaluatingTrainer, annotations_of, datasets_by_name
from .evaluation import DivergedError, EvaluationFailedError
from .loss_terms import LossTerms
from .sampling import EpochLengthGroupedSampler


class VideoLightsTrainer(EvaluatingTrainer):
    """Trains and evaluates VideoLights on feature datasets.

    Beyond transformers' `Trainer`:

    - the model is told the epoch, on which its adaptive losses depend (paper, eq. 9 and 10);
    - every loss term is logged by name, averaged over batches and processes since the last log;
    - evaluation gives predictions in the submission format, the published metrics and the release's selection score;
    - the learning rate drops per epoch, as published;
    - a run resumes from the newest checkpoint that is complete, and only with the settings that it began with;
    - evaluation splits are checked before training; if an evaluation fails all the same, the checkpoint is saved
      and a resume repeats the evaluation first.

    Args:
        model: The model to train.
        args: Arguments of the run.
        train_dataset: Items as `videolights_hf.data.FeatureDataset` has them.
        eval_dataset: Items of the same kind, with `annotations`: one row per item, in the items' order, with `qid`,
            `query`, `vid`, `duration` and, to be scored, its labels. Several in a dictionary are evaluated each.
        data_collator: Makes batches; `VideoLightsDataCollator` by default.
        callbacks: Further callbacks.
        **kwargs: Passed to `Trainer`.

    Raises:
        ValueError: An evaluation dataset has no annotations.

    Example:

    ```python
    >>> from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
    >>> from videolights_hf.data import FeatureDataset, load_feature_dataset, table_backbones
    >>> from videolights_hf.training import VideoLightsTrainer, VideoLightsTrainingArguments

    >>> tables = load_feature_dataset("data/qvhighlights")
    >>> video_backbones, text_backbones = table_backbones(tables)
    >>> config = VideoLightsConfig(video_backbones=video_backbones, text_backbones=text_backbones)
    >>> trainer = VideoLightsTrainer(
    ...     VideoLightsForMomentRetrieval(config),
    ...     VideoLightsTrainingArguments("runs/qvhighlights", moment_bounds=[0, 150], max_steps=1),
    ...     train_dataset=FeatureDataset.from_config(tables, "train", config, training=True),
    ...     eval_dataset=FeatureDataset.from_config(tables, "val", config),
    ... )
    >>> _ = trainer.train()
    epoch 1 ...
    >>> metrics = trainer.evaluate()
    >>> 0 <= metrics["eval_MR-full-mAP"] <= 100
    True
    ```
    """

    def __init__(
        self,
        model: DetectorForMomentRetrieval,
        args: VideoLightsTrainingArguments,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        data_collator: VideoLightsDataCollator | None = None,
        callbacks: Sequence[TrainerCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        self.current_epoch = 0
        self.train_sampler: Sampler | None = None
        self.weight_average = None
        self._train_terms = LossTerms()
        self._eval_term_names = []
        self._resumed_from: Path | None = None
        callbacks = [*(callbacks or []), EvaluationEpochsCallback()]
        if args.early_stopping_patience > 0:
            callbacks.append(EarlyStoppingCallback(args.early_stopping_patience))
        if args.torch_compile:
            # Else dynamo leaves the GRU of the task coupling to Python, and the step breaks in two there.
            torch._dynamo.config.allow_rnn = True
        data_collator = data_collator or VideoLightsDataCollator(seed=args.seed)
        is_ours = isinstance(data_collator, VideoLightsDataCollator)
        if args.fixed_shapes:
            if not is_ours:
                raise ValueError("`fixed_shapes` needs a VideoLightsDataCollator: another one pads as it likes.")
            data_collator = dataclasses.replace(data_collator, lengths=BatchLengths.of(model.config))
        elif args.torch_compile and is_ours and data_collator.lengths is None:
            # A graph serves one number of moments; further ones have no effect.
            data_collator = dataclasses.replace(data_collator, lengths=BatchLengths(clips=0, words=0))
        if args.resident_features:
            train_dataset, eval_dataset = self._keep_on_device(train_dataset, eval_dataset, args.device)
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            callbacks=callbacks,
            **kwargs,
        )
        self.add_callback(EpochCallback(self))
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)
        self.add_callback(ReadableLogCallback())
        for dataset in datasets_by_name(eval_dataset).values():
            annotations_of(dataset)

    # Training

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train, or continue an interrupted run.

        Args:
            resume_from_checkpoint: A checkpoint folder, or True for the newest complete one in `output_dir`. A resumed
                run ends with the weights of a run that was never interrupted.
            trial: Of a hyperparameter search, see `Trainer.train`.
            ignore_keys_for_eval: See `Trainer.train`.

        Raises:
            ValueError: There is no checkpoint to resume from, it belongs to a run with other settings, or an evaluation
                split cannot be scored.
            EvaluationFailedError: An evaluation failed; the run can be resumed from the checkpoint after it.
            DivergedError: The loss or the model's outputs are no longer finite.
        """
        self._resumed_from = None
        if resume_from_checkpoint:
            self._resumed_from = self._checkpoint_to_resume(resume_from_checkpoint)
            resume_from_checkpoint = str(self._resumed_from)
        if self.args.eval_strategy != IntervalStrategy.NO:
            self.check_evaluation()
        if self.args.ema_decay is None:
            return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

        self.weight_average = WeightAverage(cast(nn.Module, self.model), self.args.ema_decay)
        callback = WeightAverageCallback(self)
        self.add_callback(callback)
        try:
            output = super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)
            self.weight_average.copy_to_model()
        finally:
            # A second callback would average every step twice when the run goes on with this trainer.
            self.weight_average = None
            self.remove_callback(callback)
        return output

    def begin_training(self) -> None:
        """Restore what transformers does not, and repeat an evaluation that failed; called before the first step."""
        if self._resumed_from is None:
            return
        self._restore_loss_totals(self._resumed_from)
        if is_evaluation_due(self._resumed_from):
            # As in a run that was not interrupted: first evaluate, with the random numbers of that moment, then save.
            self._load_rng_state(str(self._resumed_from))
            metrics = self._evaluate(None, None)
            self._determine_best_metric(metrics=metrics, trial=None)
            clear_evaluation_due(self._resumed_from)
            self._save_checkpoint(self.model_wrapped, trial=None)
        stopped = [call for call in self.callback_handler.callbacks if isinstance(call, EarlyStoppingCallback)]
        if any(call.early_stopping_patience_counter >= call.early_stopping_patience for call in stopped):
            self.control.should_training_stop = True

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The composite loss in the current epoch, whose terms are kept for the log."""
        loss, outputs = super().compute_loss(
            model, {**inputs, "epoch": self._epoch()}, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        self._train_terms.add(outputs["loss_dict"])
        return (loss, outputs) if return_outputs else loss

    def _epoch(self) -> int | torch.Tensor:
        if not self.args.torch_compile or self.args.n_gpu > 1:
            # `DataParallel` does not compile, and cannot divide a number among devices.
            return self.current_epoch
        # A number would be a constant of the compiled step, and each epoch would compile it again.
        return torch.full((), self.current_epoch, dtype=torch.float32, device=self.args.device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, adding the loss terms wherever the training loss is logged.

        Raises:
            DivergedError: The training loss is not finite.
        """
        if "loss" in logs:
            logs = {**logs, **self._train_terms.pop(self.accelerator)}
            if not math.isfinite(logs["loss"]):
                raise DivergedError(
                    f"The training loss is {logs['loss']} after step {self.state.global_step}: training diverged. "
                    "Lower learning_rate, or use float32, and resume from an earlier checkpoint."
                )
        if "train_loss" in logs:
            # transformers counts the steps since a resume alone.
            logs = {**logs, "train_loss": self._total_loss_scalar / max(self.state.global_step, 1)}
        super().log(logs, start_time)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All parameters: the release decays biases and norms too."""
        return [name for name, _ in model.named_parameters()]

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The published schedule, a drop every `lr_drop` epochs, or the one of `lr_scheduler_type`."""
        if self.lr_scheduler is None and self.args.lr_drop:
            steps_per_epoch = num_training_steps
            if has_length(self.train_dataset):
                batches = math.ceil(len(self.train_dataset) / (self._train_batch_size * self.args.world_size))
                if self.args.dataloader_drop_last:
                    batches = len(self.train_dataset) // (self._train_batch_size * self.args.world_size)
                steps_per_epoch = max(1, math.ceil(batches / self.args.gradient_accumulation_steps))
            schedule: Any = torch.optim.lr_scheduler.StepLR(
                cast(torch.optim.Optimizer, optimizer or self.optimizer),
                self.args.lr_drop * steps_per_epoch,
                self.args.lr_drop_factor,
            )
            self.lr_scheduler = schedule
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        lengths = getattr(dataset, "lengths", None)
        if self.args.train_sampling_strategy == "group_by_length" and lengths is not None:
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            batch_size = self.args.train_batch_size * self.args.world_size
            self.train_sampler = EpochLengthGroupedSampler(lengths, batch_size, seed)
            return self.train_sampler
        return super()._get_train_sampler(train_dataset)

    # Checkpoints

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model so that `from_pretrained` loads it; a checkpoint also gets what resuming needs to check."""
        output_dir = output_dir or str(self._output_dir())
        with saving_to(output_dir):
            super().save_model(output_dir, _internal_call)
        if _internal_call and self.args.should_save:
            save_settings(output_dir, self._settings())
            if self.weight_average is not None:
                self.weight_average.save(output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        with resuming_from(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.weight_average is not None:
            self.weight_average.load(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.weight_average is not None:
            self.weight_average.load(cast(str, self.state.best_model_checkpoint))

    def check_same_settings(self, checkpoint: str | Path) -> None:
        """Check that a checkpoint belongs to a run with this one's settings.

        Raises:
            ValueError: It does not; every setting that differs is named.
        """
        check_same_settings(checkpoint, self._settings())

    def _checkpoint_to_resume(self, wanted: str | bool) -> Path:
        if wanted is True:
            checkpoint = find_resumable_checkpoint(self._output_dir())
            if checkpoint is None:
                raise ValueError(f"{self.args.output_dir} has no complete checkpoint to resume from.")
        else:
            checkpoint = Path(str(wanted))
            fault = checkpoint_fault(checkpoint)
            if fault:
                raise ValueError(f"Cannot resume from {checkpoint}: {fault}.")
        self.check_same_settings(checkpoint)
        return checkpoint

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # A resumed run whose patience is at its end would else take one more step.
        if not self.control.should_training_stop:
            super()._run_epoch(*args, **kwargs)

    def _evaluate(self, trial: Any, ignore_keys_for_eval: list[str] | None, skip_scheduler: bool = False) -> dict:
        """Evaluate during training; if that fails, save what was trained before the error is raised."""
        before = _random_state()
        try:
            return super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        except DivergedError:
            raise
        except Exception as error:
            if self.state.global_step == 0:
                raise
            checkpoint = self._output_dir() / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            # The run resumes from before the evaluation, which is then repeated.
            _set_random_state(before)
            if self.args.should_save:
                mark_evaluation_due(checkpoint)
            self._save_checkpoint(self.model_wrapped, trial)
            # The launcher ends all processes when the first one fails, also one that is still writing.
            self.accelerator.wait_for_everyone()
            raise EvaluationFailedError(
                f"The evaluation after step {self.state.global_step} failed: {error}. Nothing is lost: "
                f"{checkpoint} is complete, and a resume begins with this evaluation."
            ) from error

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        totals = {
            "total": self._total_loss_scalar,
            "since_last_log": self.accelerator.reduce(self._tr_loss.clone(), reduction="mean").item(),
            "last_logged_step": self._globalstep_last_logged,
            "terms": self._train_terms.state(self.accelerator),
        }
        folder = self._output_dir() / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            save_loss_totals(folder, totals)
        with saving_to(folder):
            super()._save_checkpoint(model, trial)

    def _restore_loss_totals(self, checkpoint: Path) -> None:
        totals = read_loss_totals(checkpoint)
        if totals is None:
            return
        self._total_loss_scalar = totals["total"]
        self._tr_loss += totals["since_last_log"]
        self._globalstep_last_logged = totals["last_logged_step"]
        with resuming_from(checkpoint):
            self._train_terms.restore(totals["terms"], self.args.device)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with resuming_from(str(checkpoint)):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with resuming_from(str(checkpoint)):
            super()._load_rng_state(checkpoint)

    def _settings(self) -> dict[str, Any]:
        num_queries = len(self.train_dataset) if has_length(self.train_dataset) else None
        return run_settings(self.args, self._model_config(), num_queries)


def _random_state() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _set_random_state(state: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = state
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
