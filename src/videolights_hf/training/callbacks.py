"""What [`VideoLightsTrainer`] does at certain points of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, has_length

from .arguments import VideoLightsTrainingArguments

if TYPE_CHECKING:
    from .trainer import VideoLightsTrainer


class EpochCallback(TrainerCallback):
    """Tells the trainer, its dataset and its sampler which epoch begins.

    The trainer of transformers does not tell the dataset after a resume within an epoch, nor with several processes.
    """

    def __init__(self, trainer: VideoLightsTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """Start before the first epoch."""
        self._begun = 0

    def on_epoch_begin(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """Take the epoch from the state, or count where data of unknown length leaves no notion of epochs."""
        self.trainer.current_epoch = int(state.epoch or 0) if has_length(self.trainer.train_dataset) else self._begun
        self._begun += 1
        for part in (self.trainer.train_dataset, self.trainer.train_sampler):
            if hasattr(part, "set_epoch"):
                part.set_epoch(self.trainer.current_epoch)


class EvaluationEpochsCallback(TrainerCallback):
    """Evaluates and saves after every so many epochs and after the last, instead of after each."""

    def on_epoch_end(
        self, args: VideoLightsTrainingArguments, state: TrainerState, control: TrainerControl, **kwargs
    ) -> TrainerControl:
        """Take back what is due after each epoch, where it is not this epoch's turn."""
        epoch = round(state.epoch)
        if epoch % args.eval_epochs and epoch < math.ceil(args.num_train_epochs) and not control.should_training_stop:
            if args.eval_strategy == IntervalStrategy.EPOCH:
                control.should_evaluate = False
            if args.save_strategy == SaveStrategy.EPOCH:
                control.should_save = False
        return control


class WeightAverageCallback(TrainerCallback):
    """Takes the weights into their moving average after each step."""

    def __init__(self, trainer: VideoLightsTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        """See the class."""
        self.trainer.weight_average.update()
