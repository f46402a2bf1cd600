"""The half of the trainer that predicts and scores a split."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler
from transformers.trainer_utils import EvalLoopOutput

from ..common.time_axis import QueryWindow
from ..data.dataset import FeatureDataset
from ..data.resident import ResidentFeatures
from ..inference.moments import MomentSelection
from ..metrics import SplitOutputs, submission_rows
from ..models.configuration import DetectorConfig
from .arguments import VideoLightsTrainingArguments
from .averaging import WeightAverage
from .evaluation import DivergedError, check_metric, check_scorable, write_and_score
from .publishing import PublishingTrainer

logger = logging.getLogger(__name__)

# The release evaluates its losses without telling them the epoch.
_EVALUATION_EPOCH = 0


class EvaluatingTrainer(PublishingTrainer):
    """Evaluation with predictions in the submission format and the published metrics."""

    args: VideoLightsTrainingArguments
    weight_average: WeightAverage | None = None
    resident: ResidentFeatures | None = None
    _eval_term_names: list[str]

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader:
        """Batches of the whole split, whatever training does with the last batch."""
        with self._keeping_last_batch():
            return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Dataset) -> DataLoader:
        """Batches of the whole split, whatever training does with the last batch."""
        with self._keeping_last_batch():
            return super().get_test_dataloader(test_dataset)

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
            `predictions` in the submission format, in the order of the dataset. `metrics` with the loss and its terms
            and the headline metrics, if the split has labels; with `nms_threshold` also the headline metrics after
            NMS, whose names begin with `nms_`. The main process writes `{metric_key_prefix}_predictions.jsonl` and
            `{metric_key_prefix}_metrics.json` (all details) to `output_dir`, with `nms_threshold` also the same two
            after NMS.

        Raises:
            DivergedError: The model's outputs are not finite.
            ValueError: The predictions cannot be scored.
        """
        annotations = annotations_of(dataloader.dataset)
        with self.weight_average.applied() if self.weight_average else contextlib.nullcontext():
            output = super().evaluation_loop(
                dataloader,
                description,
                prediction_loss_only=False,
                ignore_keys=ignore_keys,
                metric_key_prefix=metric_key_prefix,
            )
        # What `prediction_step` returned, gathered over batches and processes.
        scores, spans, saliency, num_clips, *terms = cast("tuple[np.ndarray, ...]", output.predictions)
        outputs = SplitOutputs(scores, spans, saliency, num_clips)
        if not outputs.are_finite():
            raise DivergedError(
                "The model's outputs are not finite numbers: its weights are damaged, its training diverged, or the "
                "precision is not enough. Use another checkpoint, a lower learning rate, or float32."
            )
        metrics = dict(output.metrics or {})
        if terms:
            means = terms[0].astype(np.float64).mean(axis=0)
            metrics |= {f"{metric_key_prefix}_{name}": float(v) for name, v in zip(self._eval_term_names, means)}
        windows = getattr(dataloader.dataset, "windows", None)
        rows = self._submission_rows(annotations, outputs, self.args.moment_selection, windows)
        scored = self._score_on_main_process(rows, annotations, metric_key_prefix)
        after_nms = self.args.moment_selection_after_nms
        if after_nms is not None and not self._model_config().highlight_only:
            suffix = f"_nms_thd_{after_nms.nms_threshold:g}"
            nms_rows = self._submission_rows(annotations, outputs, after_nms, windows)
            nms_metrics = self._score_on_main_process(nms_rows, annotations, metric_key_prefix, suffix)
            scored = {**scored, **{f"nms_{name}": value for name, value in nms_metrics.items() if name != "score"}}
        metrics |= {f"{metric_key_prefix}_{name}": value for name, value in scored.items()}
        # Rows of a submission instead of arrays.
        predictions: Any = rows
        return EvalLoopOutput(predictions=predictions, label_ids=None, metrics=metrics, num_samples=len(rows))

    def prediction_step(  # type: ignore[override]  # several tensors, as `Trainer` itself returns for such outputs
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
            if inputs.get("labels") is None or not getattr(self.model, "takes_labels", True):
                outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
            else:
                outputs = model(**inputs, epoch=_EVALUATION_EPOCH)
                loss = outputs["loss"].detach().clone()
        # Copies: a CUDA graph writes the next batch's outputs to the same memory.
        predictions: tuple[torch.Tensor, ...] = (
            outputs["logits"].float().softmax(-1)[..., 0],
            outputs["pred_spans"].to(torch.float32, copy=True),
            outputs["saliency_scores"].to(torch.float32, copy=True),
            inputs["video_attention_mask"].sum(-1),
        )
        if loss is not None:
            terms = outputs["loss_dict"]
            self._eval_term_names = sorted(terms)
            # A row for each sample: those that several processes see twice are then cut like the predictions.
            stacked = torch.stack([terms[name].float() for name in self._eval_term_names])
            predictions += (stacked.expand(len(predictions[0]), -1).contiguous(),)
        return loss, predictions, None

    def _keep_on_device(
        self, train: Dataset | None, evaluated: Dataset | dict[str, Dataset] | None, device: torch.device
    ) -> tuple[Dataset | None, Dataset | dict[str, Dataset] | None]:
        """The same datasets, whose features lie on the device."""
        by_name = datasets_by_name(evaluated)
        datasets = [*([] if train is None else [train]), *by_name.values()]
        self.resident = ResidentFeatures(cast("list[FeatureDataset]", datasets), device)
        kept = iter(self.resident.datasets)
        train = None if train is None else next(kept)
        named: dict[str, Dataset] = dict(zip(by_name, kept, strict=True))
        return train, named if isinstance(evaluated, Mapping) else named.get("")

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        return inputs if self.resident is None else self.resident.look_up(inputs)

    def check_evaluation(self) -> None:
        """Check that every evaluation split can be scored, before hours of training.

        Raises:
            ValueError: A split has no labels or labels that cannot be scored, or evaluation will not report the
                metric by which checkpoints are chosen.
        """
        config = self._model_config()
        known = set()
        for name, dataset in datasets_by_name(self.eval_dataset).items():
            annotations = annotations_of(dataset)
            lengths = _clips_of_queries(dataset) or [1] * len(annotations)
            metrics = check_scorable(annotations, lengths, config.clip_length, not config.highlight_only)
            known |= {f"{name}_{metric}" if name else metric for metric in metrics}
        chooses = self.args.load_best_model_at_end or self.args.early_stopping_patience > 0
        if chooses and known and self.args.metric_for_best_model:
            check_metric(self.args.metric_for_best_model, known)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        # Never grouped by length: predictions are matched with annotations by their order.
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None  # type: ignore[arg-type]

    @contextlib.contextmanager
    def _keeping_last_batch(self) -> Iterator[None]:
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            yield
        finally:
            self.args.dataloader_drop_last = drop_last

    def _submission_rows(
        self,
        annotations: list[Mapping[str, Any]],
        outputs: SplitOutputs,
        selection: MomentSelection,
        windows: Sequence[QueryWindow] | None,
    ) -> list[dict[str, Any]]:
        config = self._model_config()
        chosen = None if config.highlight_only else selection
        return submission_rows(annotations, outputs, config.clip_length, chosen, windows)

    def _score_on_main_process(
        self, rows: list[dict], annotations: list[Mapping[str, Any]], prefix: str, suffix: str = ""
    ) -> dict[str, float]:
        """Write the predictions and score them, once; all processes learn the headline metrics and the score."""
        stem = self._output_dir() / prefix
        clip_length = self._model_config().clip_length
        save = self.args.save_predictions
        return self._on_main_process(lambda: write_and_score(rows, annotations, clip_length, stem, suffix, save))

    def _on_main_process(self, work: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Do something once; its result, or its error, reaches every process, so that none waits for the others."""
        result: dict[str, float] = {}
        error: Exception | None = None
        if self.is_world_process_zero():
            try:
                result = work()
            except Exception as raised:
                error = raised
        if self.args.world_size > 1:
            shared: list[Any] = [result, None if error is None else str(error)]
            broadcast_object_list(shared)
            result = shared[0]
            if error is None and shared[1] is not None:
                error = ValueError(shared[1])
        if error is not None:
            raise error
        return result

    def _output_dir(self) -> Path:
        if self.args.output_dir is None:
            raise ValueError("`output_dir` is not set.")
        return Path(self.args.output_dir)

    def _model_config(self) -> DetectorConfig:
        return self.accelerator.unwrap_model(self.model).config


def _clips_of_queries(dataset: Dataset) -> list[int]:
    """How many clips of each query's video the model sees, in one or several windows; empty if that is not known."""
    windows: Sequence[QueryWindow] | None = getattr(dataset, "windows", None)
    if windows is None:
        return getattr(dataset, "lengths", [])
    # The last window of a query ends with its video.
    return list({window.row: window.first_clip + window.num_clips for window in windows}.values())


def datasets_by_name(dataset: Dataset | Mapping[str, Dataset] | None) -> dict[str, Dataset]:
    """Evaluation datasets by their names; a single one has an empty name."""
    if dataset is None:
        return {}
    return dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}


def annotations_of(dataset: Dataset) -> list[Mapping[str, Any]]:
    """The annotations of a dataset's items, in their order.

    Raises:
        ValueError: The dataset has none.
    """
    annotations = getattr(dataset, "annotations", None)
    if annotations is None or not hasattr(dataset, "__getitem__"):
        raise ValueError(
            f"{type(dataset).__name__} cannot be evaluated on: predictions are matched with `annotations`, one row for "
            "each item in order, as `FeatureDataset` has them."
        )
    return annotations
