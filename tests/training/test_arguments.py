import numpy as np
import pytest
from transformers import HfArgumentParser

from videolights_hf.inference.moments import MomentSelection
from videolights_hf.training import (
    SELECTION_WEIGHTS,
    VideoLightsTrainingArguments,
    selection_score,
    submission_rows,
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
        own = set(VideoLightsTrainingArguments.__annotations__)
        undocumented = [name for name in own if f"{name} (`" not in VideoLightsTrainingArguments.__doc__]
        assert not {"lr_drop", "ema_decay", "moment_bounds", "eval_epochs"} & set(undocumented)


class TestSelectionScore:
    def test_qvhighlights_weights_are_normalised(self):
        brief = dict.fromkeys(SELECTION_WEIGHTS["qvhighlights"], 10.0)
        assert selection_score(brief, "qvhighlights") == pytest.approx(10)
        brief["MR-full-mAP@0.75"] = 20.0
        total = 0.3 + 0.5 + 0.7 + 0.5 + 0.75 + 4 * 0.25
        assert selection_score(brief, "qvhighlights") == pytest.approx(10 + 10 * 0.75 / total)

    def test_other_moment_data_takes_recall_and_mean_iou(self):
        brief = {"MR-full-R1@0.3": 1.0, "MR-full-R1@0.5": 2.0, "MR-full-R1@0.7": 3.0, "MR-full-mIoU": 4.0}
        assert selection_score(brief, "moment_retrieval") == pytest.approx((0.3 + 1 + 2.1 + 2) / 2)

    def test_highlight_data_takes_mean_average_precision(self):
        assert selection_score({"HL-mAP": 0.5}, "tvsum") == 0.5

    def test_unknown_data_and_missing_metrics_are_refused(self):
        with pytest.raises(ValueError, match="Unknown dataset 'kinetics'"):
            selection_score({}, "kinetics")
        with pytest.raises(ValueError, match=r"lack MR-full-R1@0\.3"):
            selection_score({}, "moment_retrieval")


class TestSubmissionRows:
    annotation = {"qid": 7, "query": "a cat", "vid": "v", "duration": 10.0, "relevant_windows": [[0, 2]]}

    def rows(self, with_moments=True, **settings):
        return submission_rows(
            [self.annotation],
            scores=np.array([[0.2, 0.9]], dtype=np.float32),
            spans=np.array([[[0.5, 0.2], [0.9, 0.4]]], dtype=np.float32),
            saliency=np.array([[1.0, 0.1, 2.0, -100.0]], dtype=np.float32),
            num_clips=np.array([3]),
            clip_length=2.0,
            selection=MomentSelection(**{"bounds": None, **settings}) if with_moments else None,
        )

    def test_moments_are_seconds_of_the_annotated_duration_best_first(self):
        (row,) = self.rows()
        assert row["pred_relevant_windows"] == [[8.0, 12.0, 0.9], [4.0, 6.0, 0.2]]
        assert list(row) == ["qid", "query", "vid", "pred_relevant_windows", "pred_saliency_scores"]

    def test_unrounded_moments_keep_four_decimals(self):
        (row,) = self.rows(round_to_clips=False)
        assert row["pred_relevant_windows"][0] == [7.0, 11.0, 0.9]

    def test_bounds_clamp(self):
        (row,) = self.rows(bounds=(0, 10))
        assert row["pred_relevant_windows"][0] == [8.0, 10.0, 0.9]

    def test_saliency_is_float16_and_ends_with_the_video(self):
        (row,) = self.rows()
        assert row["pred_saliency_scores"] == [1.0, float(np.float16(0.1)), 2.0]

    def test_highlight_models_predict_no_moments(self):
        (row,) = self.rows(with_moments=False)
        assert "pred_relevant_windows" not in row

    def test_number_of_predictions_must_fit(self):
        with pytest.raises(ValueError, match="0 predictions for 1 queries"):
            submission_rows([self.annotation], np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros((0, 4)), np.zeros(0),
                            2.0, MomentSelection())  # fmt: skip
