"""Arguments of a training run, with the released recipe's values as defaults."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field

import torch
from transformers import IntervalStrategy, SchedulerType, TrainingArguments

from ..inference.moments import MomentSelection

_BY_DEVICE = -1


@dataclass
class VideoLightsTrainingArguments(TrainingArguments):
    r"""Arguments of [`VideoLightsTrainer`]: those of [`~transformers.TrainingArguments`], and the ones below.

    The defaults are the released recipe on QVHighlights, apart from `output_dir`.

    Args:
        learning_rate: Of AdamW, for all parameters.
        weight_decay: Of AdamW. As in the release it applies to all parameters, biases and norms too.
        max_grad_norm: Gradients with a larger norm are scaled down to this one.
        num_train_epochs: Passes over the training split.
        per_device_train_batch_size: Queries per step in each process. Some loss terms are sums over the batch of one
            process (as released), so it also changes their weight; see `docs/training.md` on several processes.
        per_device_eval_batch_size: Queries per evaluation step in each process.
        seed: Seed of the order and of dropout; `train_recipe` also draws weights and labels from it.
        lr_drop: Epochs between two drops of the learning rate; 0 leaves the schedule to `lr_scheduler_type`.
        lr_drop_factor: What a drop multiplies the learning rate by.
        lr_scheduler_type: A schedule of transformers; needs `lr_drop=0`.
        eval_strategy: When to evaluate.
        save_strategy: When to save a checkpoint.
        logging_strategy: When to log.
        eval_epochs: With `eval_strategy="epoch"`, evaluate every this many epochs and after the last one; with
            `save_strategy="epoch"`, save then, too.
        save_total_limit: Keep this many of the newest checkpoints, and the best one.
        load_best_model_at_end: The trained model is the best checkpoint, not the last one.
        early_stopping_patience: Stop after this many evaluations in a row without a better `metric_for_best_model`;
            -1 never stops.
        metric_for_best_model: The metric that chooses the best checkpoint: `"score"`, the release's weighted score
            (see [`selection_score`]), or any metric that evaluation reports.
        ema_decay: Evaluate and keep the exponential moving average of the weights, with this decay per step, instead
            of the weights themselves. Checkpoints hold both; the trained model is the average.
        moment_bounds: Clamp predicted moments to these two times in seconds. The release uses 0 and 150 on
            QVHighlights and Charades-STA, and no bounds elsewhere.
        round_to_clips: Round predicted moments to multiples of the clip length.
        nms_threshold: Also report the metrics after temporal NMS with this IoU threshold. As in the release,
            checkpoints are always chosen by the metrics without it.
        max_after_nms: Keep at most this many moments after NMS.
        save_predictions: Write the predictions of each evaluation to `output_dir`, as a submission file.
        push_predictions: Upload these files too, where the trainer pushes to the Hub.
        logging_nan_inf_filter: Leave values that are not finite out of the logged loss. Off, because it waits for the
            device at every step, and because a loss that is not finite should stop the run.
        restore_callback_states_from_checkpoint: Resume with the remaining early-stopping patience.
        remove_unused_columns: Off, because the collator reads fields that the model does not take.
        resident_features: Keep all features on the device, if they fit, instead of reading them for each step: 10 GiB for
            QVHighlights' three backbones. Only for a [`~data.FeatureDataset`].
        fixed_shapes: Pad every batch to the model's maximal lengths and not to those of its longest items, so that a
            compiled step has one shape, as CUDA graphs need. Padded clips and words count in some released losses, so that
            training is another one than without.
        dataloader_num_workers: Processes that read and pad the next batches. By default two, which live on from epoch
            to epoch, where there is an accelerator, and none elsewhere: on a CPU they would take it from the model.

    Raises:
        ValueError: A value is out of range, or two contradict each other.
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "Learning rate of AdamW."})
    weight_decay: float = field(default=1e-4, metadata={"help": "Weight decay of AdamW, on all parameters."})
    max_grad_norm: float = field(default=0.1, metadata={"help": "Scale larger gradients down to this norm."})
    num_train_epochs: float = field(default=200, metadata={"help": "Passes over the training split."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Queries per step in each process."})
    per_device_eval_batch_size: int = field(default=100, metadata={"help": "Queries per evaluation step and process."})
    seed: int = field(default=2018, metadata={"help": "Seed of weights, order, dropout and label draws."})
    lr_scheduler_type: SchedulerType | str = field(
        default="constant", metadata={"help": "Schedule of transformers; needs lr_drop=0."}
    )
    lr_drop: int = field(
        default=400, metadata={"help": "Epochs between drops of the learning rate; 0: use lr_scheduler_type."}
    )
    lr_drop_factor: float = field(default=0.1, metadata={"help": "What a drop multiplies the learning rate by."})

    eval_strategy: IntervalStrategy | str = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: IntervalStrategy | str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    logging_strategy: IntervalStrategy | str = field(default="epoch", metadata={"help": "When to log."})
    eval_epochs: int = field(default=1, metadata={"help": "Evaluate (and save) every this many epochs."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Keep the newest checkpoints, and the best."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "The trained model is the best checkpoint."})
    metric_for_best_model: str | None = field(
        default="score", metadata={"help": "'score', the release's weighted score, or any reported metric."}
    )
    early_stopping_patience: int = field(
        default=-1, metadata={"help": "Stop after this many evaluations without a better one; -1: never."}
    )
    ema_decay: float | None = field(
        default=None, metadata={"help": "Evaluate and keep the moving average of the weights, with this decay."}
    )

    moment_bounds: list[float] | None = field(
        default=None, metadata={"help": "Clamp predicted moments to these two times in seconds."}
    )
    round_to_clips: bool = field(default=True, metadata={"help": "Round predicted moments to clips."})
    nms_threshold: float | None = field(
        default=None, metadata={"help": "Also report metrics after temporal NMS with this IoU threshold."}
    )
    max_after_nms: int = field(default=10, metadata={"help": "Keep at most this many moments after NMS."})
    save_predictions: bool = field(default=True, metadata={"help": "Write a submission file at each evaluation."})
    push_predictions: bool = field(default=False, metadata={"help": "Push the submission files too."})

    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave values that are not finite out of the logged loss."}
    )
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Resume with the remaining early-stopping patience."}
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Hide from the collator what the model does not take."}
    )

    resident_features: bool = field(
        default=False, metadata={"help": "Keep all features on the device instead of reading them for each step."}
    )
    fixed_shapes: bool = field(
        default=False, metadata={"help": "Pad every batch to the model's lengths, as CUDA graphs need."}
    )
    dataloader_num_workers: int = field(
        default=_BY_DEVICE,
        metadata={"help": "Processes that read the next batches; by default 2 with an accelerator, else 0."},
    )

    def __post_init__(self) -> None:
        self._check()
        if self.disable_tqdm is None:
            # A progress bar would fill a log file with thousands of lines.
            self.disable_tqdm = not sys.stderr.isatty()
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            # Names of loss terms begin with `loss`; transformers looks at the end of the name.
            self.greater_is_better = not any(word in self.metric_for_best_model for word in ("loss", "error"))
        if not torch.accelerator.is_available():
            # Pinned memory serves copies to a device; without one torch warns at every loader.
            self.dataloader_pin_memory = False
        if self.dataloader_num_workers == _BY_DEVICE:
            self.dataloader_num_workers = 2 if torch.accelerator.is_available() and not self.use_cpu else 0
            # Starting them takes longer than many an epoch.
            self.dataloader_persistent_workers = self.dataloader_num_workers > 0
        super().__post_init__()

    @property
    def moment_selection(self) -> MomentSelection:
        """Which predicted moments are scored and by which checkpoints are chosen: all of them, without NMS."""
        bounds = None if self.moment_bounds is None else (self.moment_bounds[0], self.moment_bounds[1])
        return MomentSelection(round_to_clips=self.round_to_clips, bounds=bounds)

    @property
    def moment_selection_after_nms(self) -> MomentSelection | None:
        """The same after temporal NMS; `None` without `nms_threshold`."""
        if self.nms_threshold is None:
            return None
        return dataclasses.replace(
            self.moment_selection, nms_threshold=self.nms_threshold, max_after_nms=self.max_after_nms
        )

    def _check(self) -> None:
        self._check_schedule()
        if self.eval_epochs < 1:
            raise ValueError(f"`eval_epochs` must be at least 1, got {self.eval_epochs}.")
        if self.early_stopping_patience != -1 and self.early_stopping_patience < 1:
            raise ValueError(
                f"`early_stopping_patience` must be at least 1, or -1 for never, got {self.early_stopping_patience}."
            )
        if self.early_stopping_patience > 0 and IntervalStrategy(self.eval_strategy) == IntervalStrategy.NO:
            raise ValueError("`early_stopping_patience` needs evaluations: set `eval_strategy`.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"`ema_decay` must be in (0, 1), got {self.ema_decay}.")
        if self.moment_bounds is not None:
            if len(self.moment_bounds) != 2 or not 0 <= self.moment_bounds[0] < self.moment_bounds[1]:
                raise ValueError(f"`moment_bounds` are two times in seconds, low and high, got {self.moment_bounds}.")
            self.moment_bounds = [float(bound) for bound in self.moment_bounds]
        # Checks the other settings of the selection.
        _ = MomentSelection(nms_threshold=self.nms_threshold, max_after_nms=self.max_after_nms)

    def _check_schedule(self) -> None:
        if self.lr_drop < 0 or not 0 < self.lr_drop_factor <= 1:
            raise ValueError(
                "`lr_drop` is a number of epochs (0: no drops) and `lr_drop_factor` lies in (0, 1], "
                f"got {self.lr_drop} and {self.lr_drop_factor}."
            )
        scheduled = SchedulerType(self.lr_scheduler_type) != SchedulerType.CONSTANT or self.warmup_steps
        if self.lr_drop and scheduled:
            raise ValueError("`lr_scheduler_type` and `warmup_steps` have no effect with `lr_drop`: set `lr_drop=0`.")
