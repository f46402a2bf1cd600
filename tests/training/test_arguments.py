import dataclasses

import pytest
from transformers import HfArgumentParser

from videolights_hf.training import (
    VideoLightsTrainingArguments,
)


class TestArguments:
    def test_defaults_are_the_released_recipe(self, tmp_path):
        args = VideoLightsTrainingArguments(str(tmp_path))
        assert (args.learning_rate, args.weight_decay, args.max_grad_norm) == (1e-4, 1e-4, 0.1)
        assert (args.lr_drop, args.lr_drop_factor, args.seed) == (400, 0.1, 2018)
        assert args.metric_for_best_model == "score"
        assert args.greater_is_better

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"lr_drop": -1}, "lr_drop"),
            ({"lr_drop_factor": 0}, "lr_drop_factor"),
            ({"lr_scheduler_type": "cosine"}, "lr_drop=0"),
            ({"warmup_steps": 10}, "lr_drop=0"),
            ({"eval_epochs": 0}, "eval_epochs"),
            ({"early_stopping_patience": 0}, "early_stopping_patience"),
            ({"early_stopping_patience": 3, "eval_strategy": "no", "load_best_model_at_end": False}, "eval_strategy"),
            ({"ema_decay": 1.0}, "ema_decay"),
            ({"moment_bounds": [150, 0]}, "moment_bounds"),
            ({"moment_bounds": [1]}, "moment_bounds"),
            ({"nms_threshold": 2}, "nms_threshold"),
            ({"max_after_nms": 0}, "max_after_nms"),
        ],
    )
    def test_values_that_make_no_sense_are_refused(self, tmp_path, settings, message):
        with pytest.raises(ValueError, match=message):
            VideoLightsTrainingArguments(str(tmp_path), **settings)

    @pytest.mark.parametrize(("metric", "greater"), [("MR-full-mAP", True), ("loss", False), ("loss_span", False)])
    def test_losses_are_better_lower_and_metrics_higher(self, tmp_path, metric, greater):
        assert VideoLightsTrainingArguments(str(tmp_path), metric_for_best_model=metric).greater_is_better is greater

    def test_every_own_option_has_help_and_parses_from_the_command_line(self, tmp_path):
        parser = HfArgumentParser(VideoLightsTrainingArguments)
        (args,) = parser.parse_args_into_dataclasses(
            ["--output_dir", str(tmp_path), "--moment_bounds", "0", "150", "--ema_decay", "0.9", "--lr_drop", "7"]
        )
        assert (args.moment_bounds, args.ema_decay, args.lr_drop) == ([0, 150], 0.9, 7)
        own = VideoLightsTrainingArguments.__annotations__
        assert [name for name in own if f"    {name}: " not in VideoLightsTrainingArguments.__doc__] == []
        fields = {field.name: field for field in dataclasses.fields(VideoLightsTrainingArguments)}
        assert all(fields[name].metadata["help"] for name in own)


@pytest.mark.parametrize(
    ("has_accelerator", "use_cpu", "workers"), [(True, False, 2), (True, True, 0), (False, False, 0)]
)
def test_batches_are_read_in_the_background_where_there_is_an_accelerator(
    monkeypatch, tmp_path, has_accelerator, use_cpu, workers
):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: has_accelerator)
    chosen = VideoLightsTrainingArguments(output_dir=str(tmp_path), use_cpu=use_cpu)
    assert (chosen.dataloader_num_workers, chosen.dataloader_persistent_workers) == (workers, workers > 0)
    asked = VideoLightsTrainingArguments(output_dir=str(tmp_path), use_cpu=use_cpu, dataloader_num_workers=1)
    assert (asked.dataloader_num_workers, asked.dataloader_persistent_workers) == (1, False)
