import json

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from tests.support.training import (
    end_weights,
    make_tables,
    small_arguments,
    small_config,
    small_trainer,
)
from videolights_hf import VideoLightsForMomentRetrieval
from videolights_hf.data import (
    BatchLengths,
    FeatureDataset,
    StreamingFeatureDataset,
    VideoLightsDataCollator,
    export_parquet,
)
from videolights_hf.metrics import evaluate_predictions, read_json_lines, selection_score
from videolights_hf.training import VideoLightsTrainer


class RecordEpochs(TrainerCallback):
    """Notes what the model, the dataset and the sampler are told in each forward pass."""

    def __init__(self, trainer):
        self.seen = []
        self.trainer = trainer
        trainer.model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, module, args, kwargs):
        if module.training:
            self.seen.append((kwargs["epoch"], self.trainer.train_dataset.epoch))


def logged(trainer, key):
    return [row[key] for row in trainer.state.log_history if key in row]


class TestEpoch:
    @pytest.mark.parametrize("accumulation", [1, 2, 3])
    def test_model_and_dataset_see_the_epoch_of_every_batch(self, tmp_path, accumulation):
        trainer = small_trainer(
            tmp_path,
            num_train_epochs=3,
            per_device_train_batch_size=3,
            gradient_accumulation_steps=accumulation,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
        )
        record = RecordEpochs(trainer)
        trainer.train()
        assert record.seen == [(epoch, epoch) for epoch in range(3) for _ in range(4)]

    def test_epoch_is_right_after_a_resume_within_an_epoch(self, tmp_path):
        settings = {"num_train_epochs": 3, "eval_strategy": "no", "save_strategy": "steps", "save_steps": 1}
        settings |= {"save_total_limit": None, "load_best_model_at_end": False}
        small_trainer(tmp_path, **settings).train()
        resumed = small_trainer(tmp_path, **settings)
        record = RecordEpochs(resumed)
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
        assert record.seen == [(1, 1), (1, 1), (2, 2), (2, 2), (2, 2)]

    def test_epochs_are_counted_where_the_data_has_no_length(self, tmp_path):
        tables = make_tables()
        config = small_config()
        export_parquet(tables, tmp_path / "parquet")

        class Endless(torch.utils.data.IterableDataset):
            def __init__(self, dataset):
                self.dataset = dataset
                self.epoch = 0

            def set_epoch(self, epoch):
                self.epoch = epoch
                self.dataset.set_epoch(epoch)

            def __iter__(self):
                return iter(self.dataset)

        stream = StreamingFeatureDataset.from_config(tmp_path / "parquet", "train", config, training=True)
        trainer = VideoLightsTrainer(
            VideoLightsForMomentRetrieval(config),
            small_arguments(
                tmp_path / "run", max_steps=7, eval_strategy="no", save_strategy="no", load_best_model_at_end=False
            ),
            train_dataset=Endless(stream),
        )
        record = RecordEpochs(trainer)
        trainer.train()
        assert [epoch for epoch, _ in record.seen] == [0, 0, 0, 1, 1, 1, 2]

    def test_adaptive_weight_grows_with_the_epoch(self, tmp_path):
        trainer = small_trainer(
            tmp_path, num_train_epochs=3, learning_rate=0.0, weight_decay=0.0, config=small_config(
                dropout=0.0, input_dropout=0.0, refinement_dropout=0.0
            ), per_device_train_batch_size=12,
        )  # fmt: skip
        trainer.train()
        hard = logged(trainer, "saliency_hard")
        assert hard[1] == pytest.approx(2 * hard[0], rel=1e-4)
        assert hard[2] == pytest.approx(3 * hard[0], rel=1e-4)


class TestLossTerms:
    def test_logged_terms_are_means_since_the_last_log_and_weigh_up_to_the_loss(self, tmp_path):
        trainer = small_trainer(tmp_path, num_train_epochs=1)
        terms = []
        trainer.model.register_forward_hook(
            lambda module, args, output: terms.append(output.loss_dict) if module.training else None
        )
        trainer.train()
        log = next(row for row in trainer.state.log_history if "loss" in row)
        assert len(terms) == 3
        for name in terms[0]:
            assert log[name] == pytest.approx(sum(float(batch[name]) for batch in terms) / 3, rel=1e-5), name
        config = trainer.model.config
        weights = {"loss_span": 10, "loss_giou": 1, "loss_label": 4, "loss_contrastive_align": 0.2, "loss_saliency": 1}
        assert config.contrastive_align_loss_coef == 0.2
        total = sum(
            weight * value
            for name, value in log.items()
            for prefix, weight in weights.items()
            if name == prefix or name[: -len("_0")] == prefix
        )
        assert log["loss"] == pytest.approx(total, rel=1e-5)

    def test_terms_are_averaged_over_accumulated_batches_too(self, tmp_path):
        still = {"learning_rate": 0.0, "weight_decay": 0.0, "num_train_epochs": 1}
        config = small_config(dropout=0.0, input_dropout=0.0, refinement_dropout=0.0)
        plain = small_trainer(tmp_path / "a", config=config, per_device_train_batch_size=3, **still)
        accumulated = small_trainer(
            tmp_path / "b", config=config, per_device_train_batch_size=3, gradient_accumulation_steps=4, **still
        )
        plain.train()
        accumulated.train()
        for name in ("loss", "loss_span", "saliency_margin"):
            assert logged(accumulated, name) == pytest.approx(logged(plain, name), rel=1e-5)

    def test_evaluation_reports_the_terms_of_the_whole_split(self, tmp_path):
        trainer = small_trainer(tmp_path)
        metrics = trainer.evaluate()
        trainer.model.eval()
        batches = [
            (len(batch["video_features"]), trainer.model(**batch).loss_dict["loss_label"].item())
            for batch in DataLoader(trainer.eval_dataset, 3, collate_fn=VideoLightsDataCollator())
        ]
        mean = sum(count * value for count, value in batches) / 7
        assert metrics["eval_loss_label"] == pytest.approx(mean, rel=1e-5)

    def test_logging_waits_for_the_device_once_a_window(self, tmp_path, monkeypatch):
        from videolights_hf.training.loss_terms import LossTerms

        pops = []
        original = LossTerms.pop
        monkeypatch.setattr(LossTerms, "pop", lambda self, accelerator: pops.append(1) or original(self, accelerator))
        trainer = small_trainer(tmp_path, num_train_epochs=2)
        trainer.train()
        assert len(pops) == 2


class TestOptimization:
    def test_learning_rate_drops_every_lr_drop_epochs(self, tmp_path):
        trainer = small_trainer(tmp_path, num_train_epochs=5, lr_drop=2, learning_rate=1e-2, logging_strategy="steps",
                                logging_steps=1, save_strategy="no", eval_strategy="no",
                                load_best_model_at_end=False)  # fmt: skip
        trainer.train()
        assert logged(trainer, "learning_rate") == pytest.approx([1e-2] * 6 + [1e-3] * 6 + [1e-4] * 3)

    def test_drop_counts_epochs_under_gradient_accumulation(self, tmp_path):
        trainer = small_trainer(
            tmp_path, num_train_epochs=3, lr_drop=1, learning_rate=1e-2, gradient_accumulation_steps=2
        )
        trainer.train()
        assert logged(trainer, "learning_rate") == pytest.approx([1e-2, 1e-3, 1e-4])

    def test_drop_last_shortens_the_epoch_of_the_schedule(self, tmp_path):
        trainer = small_trainer(
            tmp_path,
            num_train_epochs=3,
            lr_drop=1,
            learning_rate=1e-2,
            per_device_train_batch_size=5,
            dataloader_drop_last=True,
        )
        trainer.train()
        assert logged(trainer, "learning_rate") == pytest.approx([1e-2, 1e-3, 1e-4])

    def test_other_schedules_are_those_of_transformers(self, tmp_path):
        trainer = small_trainer(tmp_path, lr_drop=0, lr_scheduler_type="linear", learning_rate=1e-2)
        trainer.train()
        rates = logged(trainer, "learning_rate")
        assert rates[1] < rates[0]

    def test_weight_decay_applies_to_all_parameters(self, tmp_path):
        trainer = small_trainer(tmp_path)
        trainer.create_optimizer()
        decayed = [group for group in trainer.optimizer.param_groups if group["params"]]
        assert [group["weight_decay"] for group in decayed] == [1e-4]
        assert sum(p.numel() for p in decayed[0]["params"]) == trainer.model.num_parameters()

    def test_gradient_norm_is_clipped_at_the_published_value(self, tmp_path):
        assert small_arguments(tmp_path).max_grad_norm == 0.1

    def test_bf16_trains(self, tmp_path):
        trainer = small_trainer(tmp_path, bf16=True, num_train_epochs=1)
        trainer.train()
        assert all(torch.isfinite(value).all() for value in end_weights(trainer).values())
        assert logged(trainer, "eval_score")

    def test_resident_features_train_and_evaluate_to_the_bit(self, tmp_path):
        trainers = []
        for kept in (False, True):
            # Each begins with the same random numbers.
            trainers.append(small_trainer(tmp_path / str(kept), resident_features=kept))
            trainers[-1].train()
        weights = [end_weights(trainer) for trainer in trainers]
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
        assert logged(trainers[1], "eval_score") == logged(trainers[0], "eval_score")
        # A dataset that came later is read.
        other = FeatureDataset.from_config(make_tables(), "val", trainers[1].model.config)
        predictions = [trainer.predict(other).predictions for trainer in trainers]
        assert predictions[0] == predictions[1]

    def test_fixed_shapes_pad_every_batch_to_the_models_lengths(self, tmp_path):
        config = small_config(max_video_length=9, max_text_length=6)
        trainer = small_trainer(tmp_path, config=config, fixed_shapes=True)
        shapes = {
            tuple(value.shape)
            for batch in trainer.get_train_dataloader()
            for value in (batch["video_features"], batch["text_features"], batch["labels"]["spans"])
        }
        assert shapes == {(4, 9, config.video_dim), (4, 6, config.text_dim), (4, 5, 2)}

    def test_a_collator_keeps_its_lengths_and_another_kind_is_left_alone(self, tmp_path):
        lengths = BatchLengths(clips=7, words=5, moments=3)
        options = {"data_collator": VideoLightsDataCollator(lengths=lengths)}
        compiled = {"torch_compile": True, "torch_compile_backend": "eager"}
        assert small_trainer(tmp_path, trainer_options=options, **compiled).data_collator.lengths == lengths
        assert small_trainer(tmp_path, **compiled).data_collator.lengths == BatchLengths(clips=0, words=0)
        other = {"data_collator": lambda items: VideoLightsDataCollator()(items)}
        assert small_trainer(tmp_path, trainer_options=other, **compiled).data_collator is other["data_collator"]
        with pytest.raises(ValueError, match="`fixed_shapes` needs a VideoLightsDataCollator"):
            small_trainer(tmp_path, trainer_options=other, fixed_shapes=True)

    @pytest.mark.slow
    def test_a_compiled_step_is_one_graph_for_all_epochs(self, tmp_path):
        brief = {
            "num_train_epochs": 4,
            "per_device_train_batch_size": 12,
            "eval_strategy": "no",
            "save_strategy": "no",
        }
        compiled = {"torch_compile": True, "torch_compile_backend": "eager", "fixed_shapes": True}
        torch.compiler.reset()
        torch._dynamo.utils.counters.clear()
        small_trainer(tmp_path, load_best_model_at_end=False, **brief, **compiled).train()
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1

    @pytest.mark.slow
    def test_compiled_model_trains_to_the_same_loss(self, tmp_path):
        config = small_config(dropout=0.0, input_dropout=0.0, refinement_dropout=0.0)
        runs = []
        torch._dynamo.utils.counters.clear()
        for name, compiled in (("eager", {}), ("compiled", {"torch_compile": True, "torch_compile_backend": "eager"})):
            # Every new shape is traced anew, which takes many seconds: one batch holds the whole split.
            brief = {
                "max_steps": 2,
                "per_device_train_batch_size": 12,
                "logging_strategy": "steps",
                "logging_steps": 1,
            }
            brief |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
            trainer = small_trainer(tmp_path / name, config=config, **brief, **compiled)
            trainer.train()
            runs.append(logged(trainer, "loss"))
        assert runs[1] == pytest.approx(runs[0], rel=1e-4)
        # Loss and matching are in the one graph, too.
        assert not torch._dynamo.utils.counters["graph_break"]

    def test_tensorboard_gets_loss_terms_and_metrics(self, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        small_trainer(tmp_path, report_to="tensorboard").train()
        folder = next(tmp_path.rglob("events.out.tfevents*")).parent
        events = EventAccumulator(str(folder)).Reload()
        assert {"train/loss_span", "train/saliency_hard", "eval/MR-full-mAP"} <= set(events.Tags()["scalars"])


class TestEvaluation:
    def test_predictions_metrics_and_submission_file_agree(self, tmp_path):
        trainer = small_trainer(tmp_path, moment_bounds=[0, 150])
        metrics = trainer.evaluate()
        rows = read_json_lines(tmp_path / "eval_predictions.jsonl")
        truth = trainer.eval_dataset.annotations
        assert [row["qid"] for row in rows] == [row["qid"] for row in truth]
        assert all(len(row["pred_relevant_windows"]) == 3 for row in rows)
        assert [len(row["pred_saliency_scores"]) for row in rows] == [int(row["duration"] / 2) for row in truth]
        expected = evaluate_predictions(rows, truth)
        assert json.loads((tmp_path / "eval_metrics.json").read_text()) == json.loads(json.dumps(expected))
        for name, value in expected["brief"].items():
            assert metrics[f"eval_{name}"] == value
        assert metrics["eval_score"] == pytest.approx(selection_score(expected["brief"], "qvhighlights"))

    def test_predictions_do_not_depend_on_batch_size_or_grouping(self, tmp_path):
        files = []
        for name, settings in (
            ("a", {}),
            ("b", {"per_device_eval_batch_size": 1}),
            ("c", {"train_sampling_strategy": "group_by_length"}),
        ):
            small_trainer(tmp_path / name, **settings).evaluate()
            files.append(read_json_lines(tmp_path / name / "eval_predictions.jsonl"))
        for other in files[1:]:
            for row, expected in zip(other, files[0], strict=True):
                assert row["qid"] == expected["qid"]
                assert row["pred_saliency_scores"] == pytest.approx(expected["pred_saliency_scores"], abs=2e-3)

    def test_loss_is_that_of_the_first_epoch_as_released(self, tmp_path):
        trainer = small_trainer(tmp_path)
        first = trainer.evaluate()
        trainer.current_epoch = 50
        assert trainer.evaluate()["eval_loss"] == first["eval_loss"]

    def test_logs_are_lines_and_tables_without_bars(self, tmp_path, capfd):
        trainer = small_trainer(tmp_path, disable_tqdm=None, num_train_epochs=1)
        assert trainer.args.disable_tqdm  # standard error is no terminal here
        trainer.train()
        output, errors = capfd.readouterr()
        lines = output.splitlines()
        assert lines[0].startswith("epoch 1  step 3  loss ")
        assert any(line.split()[0] == "loss_span" and len(line.split()) == 3 for line in lines)
        assert any(line.split()[0] == "MR-full-mAP" for line in lines)
        assert max(map(len, lines)) < 100
        assert "{" not in output
        assert "/3 [" not in errors  # the bar of three steps

    def test_moments_are_rounded_and_bounded_as_asked(self, tmp_path):
        small_trainer(tmp_path / "free", round_to_clips=False).evaluate()
        small_trainer(tmp_path / "bounded", moment_bounds=[2, 4]).evaluate()
        free, bounded = (
            [time for row in read_json_lines(tmp_path / name / "eval_predictions.jsonl")
             for window in row["pred_relevant_windows"] for time in window[:2]]
            for name in ("free", "bounded")
        )  # fmt: skip
        assert any(time % 2 for time in free)
        assert set(bounded) <= {2.0, 4.0}

    def test_metrics_after_nms_are_reported_beside_those_without(self, tmp_path):
        plain = small_trainer(tmp_path / "plain").evaluate()
        both = small_trainer(tmp_path / "both", nms_threshold=0.0, max_after_nms=1).evaluate()
        without, after = (
            read_json_lines(tmp_path / "both" / f"eval_predictions{suffix}.jsonl") for suffix in ("", "_nms_thd_0")
        )
        assert without == read_json_lines(tmp_path / "plain" / "eval_predictions.jsonl")
        assert all(len(row["pred_relevant_windows"]) == 3 for row in without)
        assert [row["pred_relevant_windows"] for row in after] == [row["pred_relevant_windows"][:1] for row in without]
        assert {name: both[name] for name in plain if name.startswith(("eval_MR-", "eval_HL-", "eval_score"))} == {
            name: value for name, value in plain.items() if name.startswith(("eval_MR-", "eval_HL-", "eval_score"))
        }
        details = json.loads((tmp_path / "both" / "eval_metrics_nms_thd_0.json").read_text())
        assert both["eval_nms_MR-full-mAP"] == details["brief"]["MR-full-mAP"]
        assert "eval_nms_score" not in both

    def test_split_without_labels_is_predicted_and_not_scored(self, tmp_path):
        trainer = small_trainer(tmp_path)
        tables = make_tables("none", {"test": 5})
        test = FeatureDataset.from_config(tables, "test", trainer.model.config)
        output = trainer.predict(test)
        assert len(output.predictions) == len(read_json_lines(tmp_path / "test_predictions.jsonl")) == 5
        assert not any("MR-" in name or name.endswith("score") for name in output.metrics)
        assert not (tmp_path / "test_metrics.json").exists()

    def test_highlight_only_models_predict_saliency_alone(self, tmp_path):
        tables = make_tables("annotators")
        trainer = small_trainer(tmp_path, tables=tables, config=small_config(highlight_only=True), num_train_epochs=1)
        trainer.train()
        rows = read_json_lines(tmp_path / "eval_predictions.jsonl")
        assert all("pred_relevant_windows" not in row for row in rows)
        (score,) = logged(trainer, "eval_score")
        assert score == logged(trainer, "eval_HL-mAP")[0]

    def test_files_are_only_written_if_asked_for(self, tmp_path):
        small_trainer(tmp_path, save_predictions=False).evaluate()
        assert not (tmp_path / "eval_predictions.jsonl").exists()

    def test_several_evaluation_sets_are_evaluated_each(self, tmp_path):
        trainer = small_trainer(tmp_path)
        sets = {"a": trainer.eval_dataset, "b": trainer.eval_dataset}
        metrics = trainer.evaluate(sets)
        assert metrics["eval_a_MR-full-mAP"] == metrics["eval_b_MR-full-mAP"]
        assert (tmp_path / "eval_b_predictions.jsonl").is_file()

    def test_sets_without_annotations_are_refused_when_the_trainer_is_made(self, tmp_path):
        config = small_config()
        with pytest.raises(ValueError, match="annotations"):
            VideoLightsTrainer(
                VideoLightsForMomentRetrieval(config), small_arguments(tmp_path), eval_dataset=[{"qid": 1}]
            )

    def test_evaluation_happens_every_eval_epochs_and_after_the_last(self, tmp_path):
        trainer = small_trainer(tmp_path, num_train_epochs=5, eval_epochs=2, save_total_limit=None)
        trainer.train()
        assert [row["epoch"] for row in trainer.state.log_history if "eval_loss" in row] == [2, 4, 5]
        assert len(logged(trainer, "loss")) == 5
        steps = sorted(int(path.name.split("-")[1]) for path in tmp_path.glob("checkpoint-*"))
        assert steps == [6, 12, 15]


class TestModelSelection:
    def train_with_scores(self, tmp_path, monkeypatch, scores, **settings):
        queue = iter(scores)
        monkeypatch.setattr(
            VideoLightsTrainer, "_score_on_main_process", lambda *args: {"score": next(queue), "other": 1.0}
        )
        trainer = small_trainer(tmp_path, **settings)
        trainer.train()
        return trainer

    def test_best_checkpoint_by_score_is_the_trained_model(self, tmp_path, monkeypatch):
        trainer = self.train_with_scores(tmp_path, monkeypatch, [1, 3, 2, 2], num_train_epochs=4)
        assert trainer.state.best_model_checkpoint.endswith("checkpoint-6")
        saved = VideoLightsForMomentRetrieval.from_pretrained(tmp_path / "checkpoint-6").state_dict()
        assert all(torch.equal(value, saved[name]) for name, value in trainer.model.state_dict().items())

    def test_any_metric_chooses(self, tmp_path, monkeypatch):
        trainer = self.train_with_scores(
            tmp_path, monkeypatch, [1, 2, 3], num_train_epochs=3, metric_for_best_model="loss_span"
        )
        losses = logged(trainer, "eval_loss_span")
        best = min(range(3), key=losses.__getitem__)
        assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{3 * (best + 1)}")

    def test_training_stops_when_the_patience_is_used_up(self, tmp_path, monkeypatch):
        trainer = self.train_with_scores(
            tmp_path, monkeypatch, [1, 3, 2, 2, 9, 9], num_train_epochs=6, early_stopping_patience=2
        )
        assert trainer.state.epoch == 4

    def test_patience_survives_a_resume(self, tmp_path, monkeypatch):
        self.train_with_scores(tmp_path, monkeypatch, [3, 2, 1], num_train_epochs=3, early_stopping_patience=3)
        queue = iter([1, 9, 9])
        monkeypatch.setattr(VideoLightsTrainer, "_score_on_main_process", lambda *args: {"score": next(queue)})
        trainer = small_trainer(tmp_path, num_train_epochs=6, early_stopping_patience=3)
        trainer.train(resume_from_checkpoint=True)
        assert trainer.state.epoch == 4


class TestWeightAverage:
    def test_average_is_evaluated_and_kept(self, tmp_path):
        trainer = small_trainer(tmp_path, ema_decay=0.5, num_train_epochs=2, load_best_model_at_end=False)
        start = end_weights(trainer)
        history = []

        class Record(TrainerCallback):
            def on_step_end(self, args, state, control, model, **kwargs):
                history.append({name: value.clone() for name, value in model.state_dict().items()})

        trainer.add_callback(Record())
        trainer.train()
        average = start
        for weights in history:
            average = {name: 0.5 * average[name] + 0.5 * weights[name] for name in average}
        end = end_weights(trainer)
        assert all(torch.allclose(end[name], average[name], atol=1e-6) for name in average)
        assert any(not torch.allclose(end[name], history[-1][name], atol=1e-6) for name in average)
        evaluated = logged(trainer, "eval_loss")[-1]
        assert trainer.evaluate()["eval_loss"] == pytest.approx(evaluated, rel=1e-5)

    def test_best_average_is_loaded_at_the_end(self, tmp_path):
        trainer = small_trainer(
            tmp_path, ema_decay=0.5, num_train_epochs=3, metric_for_best_model="loss_label", save_total_limit=None
        )
        trainer.train()
        assert (
            logged(trainer, "eval_loss_label")[-1] != trainer.state.best_metric or trainer.state.best_global_step == 9
        )
        assert trainer.evaluate()["eval_loss_label"] == pytest.approx(trainer.state.best_metric, rel=1e-5)

    def test_trainer_whose_run_failed_averages_once_when_it_goes_on(self, tmp_path):
        settings = {"ema_decay": 0.5, "num_train_epochs": 2}
        whole = small_trainer(tmp_path / "whole", **settings)
        whole.train()
        trainer = small_trainer(tmp_path / "cut", **settings)
        step, steps = trainer.training_step, iter(range(100))

        def fail_once(*arguments):
            if next(steps) == 4:
                raise KeyboardInterrupt
            return step(*arguments)

        trainer.training_step = fail_once
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        trainer.train(resume_from_checkpoint=True)
        assert all(torch.equal(value, end_weights(trainer)[name]) for name, value in end_weights(whole).items())

    def test_checkpoint_without_average_cannot_continue_one(self, tmp_path):
        from videolights_hf.training import WeightAverage

        trainer = small_trainer(tmp_path)
        with pytest.raises(FileNotFoundError, match="ema_decay"):
            WeightAverage(trainer.model, 0.9).load(tmp_path)

    def test_average_of_another_model_is_refused(self, tmp_path):
        from videolights_hf.training import WeightAverage

        WeightAverage(torch.nn.Linear(2, 2), 0.9).save(tmp_path)
        with pytest.raises(ValueError, match="another model"):
            WeightAverage(torch.nn.Bilinear(2, 2, 2, bias=False), 0.9).load(tmp_path)


class TestLengthGrouping:
    def test_batches_hold_similar_lengths_and_change_by_epoch(self, tmp_path):
        from videolights_hf.training import EpochLengthGroupedSampler

        lengths = list(range(40)) * 2
        sampler = EpochLengthGroupedSampler(lengths, 4, seed=0)
        first = list(sampler)
        assert list(sampler) == first
        sampler.set_epoch(1)
        second = list(sampler)
        assert sorted(first) == sorted(second) == list(range(80))
        assert first != second
        assert len(sampler) == 80
        spread = [max(lengths[i] for i in first[k : k + 4]) - min(lengths[i] for i in first[k : k + 4])
                  for k in range(4, 80, 4)]  # fmt: skip
        assert sum(spread) / len(spread) < 10

    def test_trainer_uses_it(self, tmp_path):
        trainer = small_trainer(tmp_path, train_sampling_strategy="group_by_length", data_seed=5, num_train_epochs=2)
        trainer.train()
        assert trainer.train_sampler.seed == 5
        assert trainer.train_sampler.epoch == 1


class TestPlainTrainer:
    def test_transformers_own_trainer_trains_and_evaluates(self, tmp_path):
        tables, config = make_tables(), small_config()
        torch.manual_seed(0)
        trainer = Trainer(
            VideoLightsForMomentRetrieval(config),
            TrainingArguments(
                str(tmp_path), num_train_epochs=2, eval_strategy="epoch", use_cpu=True, report_to="none",
                gradient_accumulation_steps=2, per_device_eval_batch_size=3, disable_tqdm=True,
            ),
            train_dataset=FeatureDataset.from_config(tables, "train", config, training=True),
            eval_dataset=FeatureDataset.from_config(tables, "val", config),
            data_collator=VideoLightsDataCollator(),
        )  # fmt: skip
        before = end_weights(trainer)
        trainer.train()
        assert any(not torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
        output = trainer.predict(trainer.eval_dataset)
        logits, spans, saliency = output.predictions
        assert len(logits) == len(spans) == len(saliency) == 7
        assert len(logged(trainer, "eval_loss")) == 2
