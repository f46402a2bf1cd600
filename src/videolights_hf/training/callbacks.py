"""What [`VideoLightsTrainer`] does at certain points of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, has_length

from .arguments import VideoLightsTrainingArguments
from .report import evaluation_table, training_line

if TYPE_CHECKING:
    from .trainer import VideoLightsTrainer


class EpochCallback(TrainerCallback):
    """Tells the trainer, its dataset and its sampler which epoch begins.

    The trainer of transformers does not tell the dataset after a resume within an epoch or with several processes.
    """

    def __init__(self, trainer: VideoLightsTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """Start before the first epoch."""
        self._begun = 0
        self.trainer.begin_training()

    def on_epoch_begin(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """Take the epoch from the state, or count epochs where the data has no length."""
        self.trainer.current_epoch = int(state.epoch or 0) if has_length(self.trainer.train_dataset) else self._begun
        self._begun += 1
        for part in (self.trainer.train_dataset, self.trainer.train_sampler):
            set_epoch = getattr(part, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(self.trainer.current_epoch)


class EvaluationEpochsCallback(TrainerCallback):
    """Evaluates and saves every `eval_epochs` epochs and after the last one, instead of after each."""

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs
    ) -> TrainerControl:
        """Cancel evaluating and saving after an epoch whose turn it is not."""
        assert isinstance(args, VideoLightsTrainingArguments)
        epoch = round(state.epoch or 0)
        if epoch % args.eval_epochs and epoch < math.ceil(args.num_train_epochs) and not control.should_training_stop:
            if args.eval_strategy == IntervalStrategy.EPOCH:
                control.should_evaluate = False
            if args.save_strategy == SaveStrategy.EPOCH:
                control.should_save = False
        return control


class WeightAverageCallback(TrainerCallback):
    """Updates the moving average of the weights after each step."""

    def __init__(self, trainer: VideoLightsTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """See the class."""
        if self.trainer.weight_average is not None:
            self.trainer.weight_average.update()


class ReadableLogCallback(ProgressCallback):
    """Prints a line for each training log and a table for each evaluation; progress bars on terminals alone."""

    def __init__(self) -> None:
        super().__init__()
        self._training: dict[str, float] = {}
        self._is_training = False

    def on_train_begin(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """Show the bar of the run, on a terminal."""
        self._is_training = True
        if not args.disable_tqdm:
            super().on_train_begin(args, state, control, **kwargs)

    def on_step_end(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """Move the bar."""
        if self.training_bar is not None:
            super().on_step_end(args, state, control, **kwargs)

    def on_prediction_step(
        self, args, state: TrainerState, control: TrainerControl, eval_dataloader=None, **kwargs
    ) -> None:
        """Move the bar of an evaluation."""
        if not args.disable_tqdm:
            super().on_prediction_step(args, state, control, eval_dataloader, **kwargs)

    def on_train_end(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """Close the bar. Evaluations after the training return their metrics, and are not printed."""
        self._is_training = False
        if self.training_bar is not None:
            super().on_train_end(args, state, control, **kwargs)

    def on_log(self, args, state: TrainerState, control: TrainerControl, logs=None, **kwargs) -> None:
        """Print what was logged."""
        if not self._is_training or not state.is_world_process_zero or not logs:
            return
        if "loss" in logs:
            self._training = dict(logs)
            self._print(training_line(state.epoch or 0, state.global_step, logs))
        elif any(name.startswith("eval_") for name in logs):
            self._print(f"evaluation after step {state.global_step}\n{evaluation_table(self._training, logs)}")

    def _print(self, text: str) -> None:
        if self.training_bar is not None:
            self.training_bar.write(text)
        else:
            print(text, flush=True)
