"""Arguments of a training run, with the released recipe's values as defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import IntervalStrategy, SchedulerType, TrainingArguments

from ..inference.moments import MomentSelection


@dataclass
class VideoLightsTrainingArguments(TrainingArguments):
    r"""Arguments of [`VideoLightsTrainer`]: those of [`~transformers.TrainingArguments`], and the ones below.

    The defaults are the released recipe on QVHighlights, apart from `output_dir`.

    Args:
        learning_rate (`float`): of AdamW, for all parameters.
        weight_decay (`float`): of AdamW; as in the release it applies to all parameters, biases and norms too.
        max_grad_norm (`float`): the gradient is scaled down to this norm.
        num_train_epochs (`float`): passes over the training split.
        per_device_train_batch_size (`int`): queries a step in each process. Some loss terms are sums over the batch of
            one process (as released), so this number weighs them; see `docs/training.md` on several processes.
        per_device_eval_batch_size (`int`): queries a step of evaluation in each process.
        seed (`int`): of weights, order, dropout and, in `run_recipe`, of the random draws in the labels.
        lr_drop (`int`): epochs between two drops of the learning rate; 0 leaves the schedule to `lr_scheduler_type`.
        lr_drop_factor (`float`): what a drop multiplies the learning rate by.
        lr_scheduler_type (`str`): a schedule of transformers, with `lr_drop=0`.
        eval_epochs (`int`): with `eval_strategy="epoch"`, evaluate after every so many epochs and after the last;
            with `save_strategy="epoch"`, save then too.
        early_stopping_patience (`int`): stop after so many evaluations in a row without a better
            `metric_for_best_model`; -1 never stops.
        metric_for_best_model (`str`): by what the best checkpoint is chosen: `"score"`, the release's weighted score
            (see [`selection_score`]), or any metric that evaluation reports.
        ema_decay (`float`, *optional*): evaluate and keep the exponential moving average of the weights, with this
            decay per step, instead of the weights themselves. Checkpoints hold both; the trained model is the average.
        moment_bounds (`list[float]`, *optional*): seconds between which predicted moments are clamped. The release
            takes 0 and 150 on QVHighlights and Charades-STA, and no bounds elsewhere.
        round_to_clips (`bool`): round predicted moments to multiples of the clip length.
        nms_threshold (`float`, *optional*): temporal IoU above which the worse of two predicted moments is removed.
        max_after_nms (`int`): at most so many moments are left by `nms_threshold`.
        save_predictions (`bool`): write the predictions of each evaluation as a submission file to `output_dir`.
        logging_nan_inf_filter (`bool`): leave out of the logged loss what is not finite; waits for the device at every
            step, which is why it is off.
        restore_callback_states_from_checkpoint (`bool`): resume with the patience that was left.
        remove_unused_columns (`bool`): the collator reads fields that the model does not.

    Raises:
        ValueError: for values that contradict each other or make no sense.
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "Learning rate of AdamW."})
    weight_decay: float = field(default=1e-4, metadata={"help": "Weight decay of AdamW, on all parameters."})
    max_grad_norm: float = field(default=0.1, metadata={"help": "Scale the gradient down to this norm."})
    num_train_epochs: float = field(default=200, metadata={"help": "Passes over the training split."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Queries a step in each process."})
    per_device_eval_batch_size: int = field(default=100, metadata={"help": "Queries an evaluation step and process."})
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
    eval_epochs: int = field(default=1, metadata={"help": "Evaluate (and save) after every so many epochs."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Keep the newest checkpoints, and the best."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "The trained model is the best checkpoint."})
    metric_for_best_model: str | None = field(
        default="score", metadata={"help": "'score', the release's weighted score, or any reported metric."}
    )
    early_stopping_patience: int = field(
        default=-1, metadata={"help": "Stop after so many evaluations without a better one; -1: never."}
    )
    ema_decay: float | None = field(
        default=None, metadata={"help": "Evaluate and keep the moving average of the weights, with this decay."}
    )

    moment_bounds: list[float] | None = field(
        default=None, metadata={"help": "Seconds between which predicted moments are clamped."}
    )
    round_to_clips: bool = field(default=True, metadata={"help": "Round predicted moments to clips."})
    nms_threshold: float | None = field(
        default=None, metadata={"help": "Temporal IoU above which the worse of two predicted moments is removed."}
    )
    max_after_nms: int = field(default=10, metadata={"help": "At most so many moments are left by nms_threshold."})
    save_predictions: bool = field(default=True, metadata={"help": "Write a submission file at each evaluation."})

    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave what is not finite out of the logged loss; waits at every step."}
    )
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Resume with the early-stopping patience that was left."}
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Hide from the collator what the model does not take."}
    )

    def __post_init__(self):
        self._check()
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            # Names of loss terms begin with `loss`, where transformers looks at the end.
            self.greater_is_better = not any(word in self.metric_for_best_model for word in ("loss", "error"))
        super().__post_init__()

    def _check(self) -> None:
        if self.lr_drop < 0 or not 0 < self.lr_drop_factor <= 1:
            raise ValueError(
                "`lr_drop` counts epochs (0: no drops) and `lr_drop_factor` lies in (0, 1], "
                f"got {self.lr_drop} and {self.lr_drop_factor}."
            )
        scheduled = SchedulerType(self.lr_scheduler_type) != SchedulerType.CONSTANT or self.warmup_steps
        if self.lr_drop and scheduled:
            raise ValueError("`lr_scheduler_type` and `warmup_steps` have no effect with `lr_drop`: set `lr_drop=0`.")
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
        _ = self.moment_selection

    @property
    def moment_selection(self) -> MomentSelection:
        """Which of the predicted moments evaluation keeps."""
        return MomentSelection(
            bounds=None if self.moment_bounds is None else (self.moment_bounds[0], self.moment_bounds[1]),
            round_to_clips=self.round_to_clips,
            nms_threshold=self.nms_threshold,
            max_after_nms=self.max_after_nms,
        )
