"""Training and evaluation on transformers' `Trainer`."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, TrainOutput, has_length

from ..data.annotations import is_labeled
from ..data.collator import VideoLightsDataCollator
from ..metrics import evaluate_predictions, infer_dataset, write_predictions
from ..models.videolights.modeling import VideoLightsForMomentRetrieval
from .arguments import VideoLightsTrainingArguments
from .averaging import WeightAverage
from .callbacks import EpochCallback, EvaluationEpochsCallback, WeightAverageCallback
from .checkpoints import (
    check_same_settings,
    checkpoint_fault,
    find_resumable_checkpoint,
    run_settings,
    save_settings,
)
from .loss_terms import LossTerms
from .predictions import submission_rows
from .sampling import EpochLengthGroupedSampler
from .selection import selection_score


class VideoLightsTrainer(Trainer):
    """Trains and evaluates VideoLights on feature datasets.

    Beyond transformers' `Trainer`: the model is told the epoch, on which its adaptive losses depend (paper, eq. 9 and
    10); every term of the loss is logged by its name, averaged over batches and processes since the last log;
    evaluation yields predictions in the submission format, the published metrics and the release's selection score;
    the learning rate drops per epoch as published; resuming takes the newest checkpoint that is complete, and only
    with the settings that the run began with.

    Args:
        model: The model to train.
        args: Arguments of the run.
        train_dataset: Items as of `videolights_hf.data.FeatureDataset`.
        eval_dataset: Items of the same kind, with `annotations`: a row for each item, in the items' order, with `qid`,
            `query`, `vid`, `duration` and, to be scored, its labels. A dictionary of several evaluates on each.
        data_collator: Makes batches; `VideoLightsDataCollator` by default.
        callbacks: Further callbacks.
        **kwargs: Passed to `Trainer`.

    Example:

    ```python
    >>> from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
    >>> from videolights_hf.data import FeatureDataset, load_feature_dataset, table_backbones
    >>> from videolights_hf.training import VideoLightsTrainer, VideoLightsTrainingArguments

    >>> tables = load_feature_dataset("qvhighlights_features")
    >>> video_backbones, text_backbones = table_backbones(tables)
    >>> config = VideoLightsConfig(video_backbones=video_backbones, text_backbones=text_backbones)
    >>> trainer = VideoLightsTrainer(
    ...     VideoLightsForMomentRetrieval(config),
    ...     VideoLightsTrainingArguments("runs/qvhighlights", moment_bounds=[0, 150], max_steps=1),
    ...     train_dataset=FeatureDataset.from_config(tables, "train", config, training=True),
    ...     eval_dataset=FeatureDataset.from_config(tables, "val", config),
    ... )
    >>> _ = trainer.train()
    {...}
    >>> metrics = trainer.evaluate()
    >>> 0 <= metrics["eval_MR-full-mAP"] <= 100
    True
    ```
    """

    def __init__(
        self,
        model: VideoLightsForMomentRetrieval,
        args: VideoLightsTrainingArguments,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        data_collator: VideoLightsDataCollator | None = None,
        callbacks: Sequence[TrainerCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        self.current_epoch = 0
        self.train_sampler: Sampler | None = None
        self.weight_average: WeightAverage | None = None
        self._train_terms = LossTerms()
        self._eval_term_names: list[str] = []
        callbacks = [*(callbacks or []), EvaluationEpochsCallback()]
        if args.early_stopping_patience > 0:
            callbacks.append(EarlyStoppingCallback(args.early_stopping_patience))
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator or VideoLightsDataCollator(seed=args.seed),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            callbacks=callbacks,
            **kwargs,
        )
        self.add_callback(EpochCallback(self))
        for dataset in self._datasets(eval_dataset):
            self._check_eval_dataset(dataset)

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """Train, or go on with a run that was interrupted.

        Args:
            resume_from_checkpoint: A checkpoint folder, or True for the newest complete one in `output_dir`. A run
                that resumes ends with the weights of one that was never interrupted.
            **kwargs: Passed to `Trainer.train`.

        Raises:
            ValueError: If there is no checkpoint to resume from, or it belongs to a run with other settings.
        """
        if resume_from_checkpoint:
            resume_from_checkpoint = self._checkpoint_to_resume(resume_from_checkpoint)
        if self.args.ema_decay is None:
            return super().train(resume_from_checkpoint, **kwargs)

        self.weight_average = WeightAverage(self.model, self.args.ema_decay)
        callback = WeightAverageCallback(self)
        self.add_callback(callback)
        output = super().train(resume_from_checkpoint, **kwargs)
        self.weight_average.copy_to_model()
        self.weight_average = None
        self.remove_callback(callback)
        return output

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The composite loss in the current epoch; in training its terms are kept for the log."""
        loss, outputs = super().compute_loss(
            model, {**inputs, "epoch": self.current_epoch}, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        if model.training:
            self._train_terms.add(outputs["loss_dict"])
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, adding the loss terms wherever the training loss is logged."""
        if "loss" in logs:
            logs = {**logs, **self._train_terms.pop(self.accelerator)}
        super().log(logs, start_time)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All parameters: the release decays biases and norms too."""
        return [name for name, _ in model.named_parameters()]

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The published schedule, a drop after every `lr_drop` epochs, or the one of `lr_scheduler_type`."""
        if self.lr_scheduler is None and self.args.lr_drop:
            steps_per_epoch = num_training_steps
            if has_length(self.train_dataset):
                batches = math.ceil(len(self.train_dataset) / (self._train_batch_size * self.args.world_size))
                if self.args.dataloader_drop_last:
                    batches = len(self.train_dataset) // (self._train_batch_size * self.args.world_size)
                steps_per_epoch = max(1, math.ceil(batches / self.args.gradient_accumulation_steps))
            self.lr_scheduler = torch.optim.lr_scheduler.StepLR(
                optimizer or self.optimizer, self.args.lr_drop * steps_per_epoch, self.args.lr_drop_factor
            )
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy == "group_by_length" and hasattr(dataset, "lengths"):
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            batch_size = self.args.train_batch_size * self.args.world_size
            self.train_sampler = EpochLengthGroupedSampler(dataset.lengths, batch_size, seed)
            return self.train_sampler
        return super()._get_train_sampler(train_dataset)

    # Evaluation

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        # Never grouped by length: predictions are matched with annotations by their order.
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader:
        """Batches of the whole split, whatever is done with the last batch in training."""
        with self._keeping_last_batch():
            return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Dataset) -> DataLoader:
        """Batches of the whole split, whatever is done with the last batch in training."""
        with self._keeping_last_batch():
            return super().get_test_dataloader(test_dataset)

    @contextlib.contextmanager
    def _keeping_last_batch(self) -> Iterator[None]:
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            yield
        finally:
            self.args.dataloader_drop_last = drop_last

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Predict a whole split, and score and write the predictions.

        Returns:
            `predictions` in the submission format, in the order of the dataset; `metrics` with the loss and its terms
            and the headline metrics, if the split is labelled. The main process writes
            `{metric_key_prefix}_predictions.jsonl` and `{metric_key_prefix}_metrics.json` (all details) to
            `output_dir`.
        """
        annotations = self._check_eval_dataset(dataloader.dataset)
        with self.weight_average.applied() if self.weight_average else contextlib.nullcontext():
            output = super().evaluation_loop(
                dataloader,
                description,
                prediction_loss_only=False,
                ignore_keys=ignore_keys,
                metric_key_prefix=metric_key_prefix,
            )
        scores, spans, saliency, num_clips, *terms = output.predictions
        config = self._model_config()
        rows = submission_rows(
            annotations,
            scores,
            spans,
            saliency,
            num_clips,
            config.clip_length,
            None if config.highlight_only else self.args.moment_selection,
        )
        metrics = output.metrics
        if terms:
            means = terms[0].astype(np.float64).mean(axis=0)
            metrics |= {f"{metric_key_prefix}_{name}": float(v) for name, v in zip(self._eval_term_names, means)}
        metrics |= {
            f"{metric_key_prefix}_{name}": value
            for name, value in self._score_on_main_process(rows, annotations, metric_key_prefix).items()
        }
        return EvalLoopOutput(predictions=rows, label_ids=None, metrics=metrics, num_samples=len(rows))

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...], None]:
        """Loss, and what `evaluation_loop` needs of a batch: foreground scores, spans, saliency, clips, loss terms."""
        inputs = self._prepare_inputs(inputs)
        loss = None
        with torch.no_grad(), self.compute_loss_context_manager():
            if inputs.get("labels") is None:
                outputs = model(**inputs)
            else:
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        predictions = (
            outputs["logits"].float().softmax(-1)[..., 0],
            outputs["pred_spans"].float(),
            outputs["saliency_scores"].float(),
            inputs["video_attention_mask"].sum(-1),
        )
        if loss is not None:
            terms = outputs["loss_dict"]
            self._eval_term_names = sorted(terms)
            # A row for each sample: those that several processes see twice are then cut like the predictions.
            stacked = torch.stack([terms[name].float() for name in self._eval_term_names])
            predictions += (stacked.expand(len(predictions[0]), -1).contiguous(),)
        return loss, predictions, None

    def _score_on_main_process(
        self, rows: list[dict], annotations: list[Mapping[str, Any]], prefix: str
    ) -> dict[str, float]:
        """Write the predictions and score them, once; all processes learn the headline metrics and the score."""
        results: list[dict[str, float]] = [{}]
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            if self.args.save_predictions:
                write_predictions(folder / f"{prefix}_predictions.jsonl", rows)
            if all(is_labeled(row) for row in annotations):
                dataset = infer_dataset(annotations)
                details = evaluate_predictions(rows, annotations, clip_length=self._model_config().clip_length)
                (folder / f"{prefix}_metrics.json").write_text(json.dumps(details, indent=1))
                results = [{**details["brief"], "score": selection_score(details["brief"], dataset)}]
        if self.args.world_size > 1:
            broadcast_object_list(results)
        return results[0]

    # Checkpoints

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model so that `from_pretrained` loads it; a checkpoint also gets what resuming needs to check."""
        output_dir = output_dir or self.args.output_dir
        super().save_model(output_dir, _internal_call)
        if _internal_call and self.args.should_save:
            save_settings(output_dir, self._settings())
            if self.weight_average is not None:
                self.weight_average.save(output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.weight_average is not None:
            self.weight_average.load(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.weight_average is not None:
            self.weight_average.load(self.state.best_model_checkpoint)

    def _checkpoint_to_resume(self, wanted: str | bool) -> str:
        if wanted is True:
            checkpoint = find_resumable_checkpoint(self.args.output_dir)
            if checkpoint is None:
                raise ValueError(f"{self.args.output_dir} has no complete checkpoint to resume from.")
        else:
            checkpoint = Path(wanted)
            fault = checkpoint_fault(checkpoint)
            if fault:
                raise ValueError(f"Cannot resume from {checkpoint}: {fault}.")
        check_same_settings(checkpoint, self._settings())
        return str(checkpoint)

    def _settings(self) -> dict[str, Any]:
        num_queries = len(self.train_dataset) if has_length(self.train_dataset) else None
        return run_settings(self.args, self._model_config(), num_queries)

    def _model_config(self) -> Any:
        return self.accelerator.unwrap_model(self.model).config

    @staticmethod
    def _datasets(dataset: Dataset | dict[str, Dataset] | None) -> list[Dataset]:
        if dataset is None:
            return []
        return list(dataset.values()) if isinstance(dataset, dict) else [dataset]

    @staticmethod
    def _check_eval_dataset(dataset: Dataset) -> list[Mapping[str, Any]]:
        annotations = getattr(dataset, "annotations", None)
        if annotations is None or not hasattr(dataset, "__getitem__"):
            raise ValueError(
                f"{type(dataset).__name__} cannot be evaluated on: predictions are matched with `annotations`, a row for "
                "each item in order, as `FeatureDataset` has them."
            )
        return annotations
