import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.launching import launch_two
from tests.support.training import BRIEF, brief, make_tables, run_data
from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsProcessor
from videolights_hf.common.locks import FolderInUseError, locked_folder
from videolights_hf.data import FeatureDataset
from videolights_hf.metrics import read_json_lines
from videolights_hf.training import (
    RunData,
    VideoLightsTrainer,
    domain_table,
    evaluate_checkpoint,
    evaluate_domains,
    headline_metrics,
    recipe_of_checkpoint,
    train_domains,
    train_recipe,
)
from videolights_hf.training.domains import domain_folder
from videolights_hf.training.preparation import build_model, fit_config_to_data

ROOT = Path(__file__).parents[2]


class TestTraining:
    def test_leaves_a_model_a_processor_its_recipe_and_results(self, tmp_path):
        metrics = train_recipe(brief(), run_data(), tmp_path)
        model = VideoLightsForMomentRetrieval.from_pretrained(tmp_path)
        VideoLightsProcessor.from_pretrained(tmp_path).check_compatible(model.config)
        assert json.loads((tmp_path / "results.json").read_text()) == metrics
        saved = recipe_of_checkpoint(tmp_path)
        assert saved.training == {key: value for key, value in brief().training.items() if key != "report_to"}
        assert saved.model == dict(brief().model)
        assert saved.data == brief().data
        assert recipe_of_checkpoint(next(tmp_path.glob("checkpoint-*"))).training == saved.training

    def test_widths_come_from_the_data_and_order_from_the_recipe(self):
        config = fit_config_to_data(brief("qvhighlights/videolights-b"), make_tables())
        assert config.video_backbones == [["slowfast", 6], ["clip", 4], ["blip2", 5]]
        assert config.text_backbones == [["clip", 4], ["blip2", 5]]

    def test_backbone_that_the_data_lacks_is_named(self, tmp_path):
        tables = make_tables()
        tables["videos"] = tables["videos"].remove_columns("video_slowfast")
        with pytest.raises(ValueError, match=r"video_backbones slowfast; the data has clip, blip2, i3d"):
            train_recipe(brief(), RunData(tables), tmp_path)

    def test_same_seed_gives_the_same_model(self, tmp_path):
        for name in "ab":
            train_recipe(brief(), run_data(), tmp_path / name)
        first, second = (VideoLightsForMomentRetrieval.from_pretrained(tmp_path / name).state_dict() for name in "ab")
        assert all(torch.equal(value, second[name]) for name, value in first.items())

    def test_run_in_the_way_is_not_overwritten_and_can_be_resumed(self, tmp_path):
        train_recipe(brief(), run_data(), tmp_path)
        with pytest.raises(FileExistsError, match="resume it"):
            train_recipe(brief(), run_data(), tmp_path)
        train_recipe(brief(), run_data(), tmp_path, resume=True)
        with pytest.raises(ValueError, match=r"num_queries: 3 in the checkpoint, 5 now"):
            train_recipe(brief("qvhighlights/videolights", "num_queries=5"), run_data(), tmp_path, resume=True)

    def test_resume_without_a_run_starts_one(self, tmp_path):
        assert train_recipe(brief(), run_data(), tmp_path, resume=True)["epoch"] == 2

    def test_evaluation_may_be_on_another_dataset(self, tmp_path):
        train, evaluation = make_tables("window", {"train": 8}), make_tables("graded", {"val": 5}, seed=1)
        train_recipe(brief("pretraining/blip"), RunData(train, evaluation), tmp_path)
        assert len(read_json_lines(tmp_path / "eval_predictions.jsonl")) == 5

    def test_split_that_does_not_exist_is_answered_with_the_nearest(self, tmp_path):
        with pytest.raises(ValueError, match="Did you mean 'val'"):
            train_recipe(brief("qvhighlights/videolights", "eval_split=vall"), run_data(), tmp_path)

    def test_text_dropout_changes_the_run(self, tmp_path):
        for dropout in (0.0, 0.5):
            train_recipe(
                brief("qvhighlights/videolights", f"text_dropout={dropout}"), run_data(), tmp_path / str(dropout)
            )
        first, second = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("0.0", "0.5"))
        assert first["eval_loss"] != second["eval_loss"]

    def test_results_after_a_resume_are_those_of_an_uninterrupted_run(self, tmp_path, monkeypatch):
        train_recipe(brief(), run_data(), tmp_path / "whole")
        steps = iter(range(100))
        step = VideoLightsTrainer.training_step

        def fail_in_the_second_epoch(*arguments):
            if next(steps) == 4:
                raise KeyboardInterrupt
            return step(*arguments)

        with monkeypatch.context() as context:
            context.setattr(VideoLightsTrainer, "training_step", fail_in_the_second_epoch)
            with pytest.raises(KeyboardInterrupt):
                train_recipe(brief(), run_data(), tmp_path / "cut")
        for _ in range(2):  # the second time the run is finished
            train_recipe(brief(), run_data(), tmp_path / "cut", resume=True)
            assert (tmp_path / "cut" / "results.json").read_text() == (tmp_path / "whole" / "results.json").read_text()
            losses = [json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"][-2]["train_loss"]
                      for name in ("whole", "cut")]  # fmt: skip
            assert losses[0] == losses[1]

    def test_second_run_in_one_folder_is_refused(self, tmp_path):
        with locked_folder(tmp_path), pytest.raises(FolderInUseError, match="in use by process"):
            train_recipe(brief(), run_data(), tmp_path)

    @pytest.mark.parametrize(
        ("overrides", "data", "message"),
        [
            (["metric_for_best_model=evil"], run_data, "Unknown metric 'evil'"),
            (["metric_for_best_model=MR-full-mPA"], run_data, "Did you mean 'MR-full-mAP'"),
            (["eval_split=test"], lambda: RunData(make_tables(sizes={"train": 4}) | {
                "test": make_tables("none", {"test": 3})["test"]}), "without labels"),
            (["clip_length=1"], run_data, r"2 s.*1 s"),
        ],
    )  # fmt: skip
    def test_what_evaluation_would_refuse_is_found_before_the_training(
        self, tmp_path, monkeypatch, overrides, data, message
    ):
        monkeypatch.setattr(VideoLightsTrainer, "training_step", lambda *_: pytest.fail("it is too late"))
        data = data()
        if "eval_split=test" in overrides:
            data.tables["videos"] = make_tables(sizes={"train": 7})["videos"]
        with pytest.raises(ValueError, match=message):
            train_recipe(brief("qvhighlights/videolights", *overrides), data, tmp_path)


class TestFinetuning:
    def test_weights_come_from_the_checkpoint_and_the_optimizer_is_fresh(self, tmp_path):
        train_recipe(brief(), run_data(), tmp_path / "pretrained")
        config = fit_config_to_data(brief("tvsum/videolights-pt"), make_tables("annotators"))
        model = build_model(config, tmp_path / "pretrained")
        saved = VideoLightsForMomentRetrieval.from_pretrained(tmp_path / "pretrained").state_dict()
        assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
        assert model.config.highlight_only
        train_recipe(
            brief("qvhighlights/videolights-pt"), run_data(), tmp_path / "run", init_from=tmp_path / "pretrained"
        )
        state = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
        assert state["global_step"] == 6

    def test_recipe_that_finetunes_asks_for_a_checkpoint(self, tmp_path):
        with pytest.raises(ValueError, match="finetunes a pretrained checkpoint"):
            train_recipe(brief("qvhighlights/videolights-pt"), run_data(), tmp_path)

    @pytest.mark.parametrize("damage", ["none", "half", "nan", "cut"])
    def test_checkpoint_without_all_its_weights_is_refused(self, tmp_path, damage):
        folder = tmp_path / "pretrained"
        build_model(fit_config_to_data(brief(), make_tables())).save_pretrained(folder)
        path = folder / "model.safetensors"
        weights = load_file(path)
        if damage == "none":
            path.unlink()
        elif damage == "half":
            save_file(dict(list(weights.items())[::2]), path)
        elif damage == "nan":
            next(iter(weights.values())).fill_(float("nan"))
            save_file(weights, path)
        else:
            path.write_bytes(path.read_bytes()[:1000])
        for load in (lambda: train_recipe(brief(), run_data(), tmp_path / "run", init_from=folder),
                     lambda: evaluate_checkpoint(folder, make_tables(), "val", tmp_path / "out", brief())):  # fmt: skip
            with pytest.raises((ValueError, OSError), match=r"lacks|NaN|damaged|no weights"):
                load()

    def test_folder_that_is_no_model_is_refused(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"not a model folder: it has no config\.json"):
            train_recipe(brief(), run_data(), tmp_path / "run", init_from=tmp_path)

    def test_parts_that_the_checkpoint_does_not_have_are_new(self, tmp_path):
        plain = fit_config_to_data(brief("qvhighlights/videolights", "use_feature_refinement=false"), make_tables())
        build_model(plain).save_pretrained(tmp_path / "plain")
        refined = build_model(fit_config_to_data(brief(), make_tables()), tmp_path / "plain")
        saved = VideoLightsForMomentRetrieval.from_pretrained(tmp_path / "plain").state_dict()
        assert all(torch.equal(value, refined.state_dict()[name]) for name, value in saved.items())
        assert len(refined.state_dict()) > len(saved)
        with pytest.raises(ValueError, match="train with the sizes of the checkpoint"):
            build_model(fit_config_to_data(brief("qvhighlights/videolights", "hidden_size=16"), make_tables()),
                        tmp_path / "plain")  # fmt: skip

    def test_checkpoint_of_other_features_is_refused(self, tmp_path):
        build_model(fit_config_to_data(brief("qvhighlights/videolights-b"), make_tables())).save_pretrained(
            tmp_path / "b"
        )
        with pytest.raises(ValueError, match="features and their order"):
            train_recipe(brief("qvhighlights/videolights-pt"), run_data(), tmp_path / "run", init_from=tmp_path / "b")


class TestDomains:
    def test_each_domain_gets_a_model_of_its_own(self, tmp_path):
        tables = make_tables("annotators", {"train": 6, "val": 4})
        by_domain = train_domains(brief("tvsum/videolights"), RunData(tables), tmp_path)
        assert list(by_domain) == ["BK", "DS"]
        for domain in by_domain:
            model = VideoLightsForMomentRetrieval.from_pretrained(tmp_path / domain)
            dataset = FeatureDataset.from_config(tables, "val", model.config, domain=domain)
            rows = read_json_lines(tmp_path / domain / "eval_predictions.jsonl")
            assert [row["qid"] for row in rows] == [row["qid"] for row in dataset.annotations]
        again = evaluate_domains(tmp_path, tables, "val", tmp_path / "again", recipe_of_checkpoint(tmp_path))
        assert {name: row["val_HL-mAP"] for name, row in again.items()} == {
            name: row["eval_HL-mAP"] for name, row in by_domain.items()
        }

    def test_table_of_all_finished_domains_and_their_mean_is_saved(self, tmp_path, capsys):
        data = run_data("annotators", {"train": 6, "val": 4})
        train_domains(brief("tvsum/videolights"), data, tmp_path, ["BK"])
        by_domain = train_domains(brief("tvsum/videolights"), data, tmp_path, ["DS"])
        assert "domain DS (1 of 1)" in capsys.readouterr().out
        saved = json.loads((tmp_path / "results.json").read_text())
        assert set(saved["domains"]) == {"BK", "DS"}
        assert saved["domains"]["DS"]["HL-mAP"] == by_domain["DS"]["eval_HL-mAP"]
        values = [row["HL-mAP"] for row in saved["domains"].values()]
        assert saved["mean"]["HL-mAP"] == pytest.approx(sum(values) / 2)

    def test_finished_domains_are_passed_over_on_resume(self, tmp_path):
        tables = make_tables("annotators", {"train": 6, "val": 4})
        first = train_domains(brief("tvsum/videolights"), RunData(tables), tmp_path, ["BK"])
        written = (tmp_path / "BK" / "model.safetensors").stat().st_mtime_ns
        both = train_domains(brief("tvsum/videolights"), RunData(tables), tmp_path, resume=True)
        assert both["BK"] == first["BK"]
        assert set(both) == {"BK", "DS"}
        assert (tmp_path / "BK" / "model.safetensors").stat().st_mtime_ns == written

    def test_unknown_domain_and_data_without_domains_are_refused(self, tmp_path):
        tables = make_tables("annotators")
        with pytest.raises(ValueError, match="Did you mean 'BK'"):
            train_domains(brief("tvsum/videolights"), RunData(tables), tmp_path, ["BKK"])
        with pytest.raises(ValueError, match="no domains"):
            train_domains(brief("tvsum/videolights"), run_data(), tmp_path)
        with pytest.raises(ValueError, match="split 'trial'"):
            evaluate_domains(tmp_path, tables, "trial", tmp_path, brief("tvsum/videolights"))

    def test_domain_cannot_lead_out_of_the_folder(self, tmp_path):
        assert domain_folder(tmp_path, "dog") == tmp_path / "dog"
        with pytest.raises(ValueError, match="cannot be the name of a folder"):
            domain_folder(tmp_path, "../dog")

    def test_table_has_every_domain_and_their_mean(self):
        from rich.console import Console

        console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        console.print(domain_table({"BK": {"HL-mAP": 0.5}, "DS": {"HL-mAP": 0.75}}, "tvsum"))
        lines = console.export_text().splitlines()
        assert any("BK" in line and "50.00" in line for line in lines)
        assert any("mean" in line and "62.50" in line for line in lines)


class TestEvaluating:
    def test_split_is_scored_as_in_training(self, tmp_path):
        tables = make_tables()
        trained = train_recipe(brief(), RunData(tables), tmp_path / "run")
        metrics = evaluate_checkpoint(
            tmp_path / "run", tables, "val", tmp_path / "out", recipe_of_checkpoint(tmp_path / "run")
        )
        assert headline_metrics(metrics, "val") == headline_metrics(trained, "eval")
        assert (tmp_path / "out" / "val_predictions.jsonl").is_file()

    def test_test_split_without_labels_becomes_a_submission(self, tmp_path):
        train_recipe(brief(), run_data(), tmp_path)
        tables = make_tables("none", {"test": 5})
        metrics = evaluate_checkpoint(tmp_path, tables, "test", tmp_path, recipe_of_checkpoint(tmp_path))
        assert headline_metrics(metrics, "test") == {}
        assert len(read_json_lines(tmp_path / "test_predictions.jsonl")) == 5

    def test_checkpoint_without_recipe_asks_for_one(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="name the recipe"):
            recipe_of_checkpoint(tmp_path)


@pytest.mark.slow
class TestScripts:
    settings = [part for setting in BRIEF for part in ("--set", setting)]

    def test_train_then_evaluate_by_domain(self, python, tmp_path):
        make_tables("binary", {"train": 6, "val": 4}, clip_length=1.0).save_to_disk(tmp_path / "data")
        recipe, data = ["--recipe", "youtube_highlights/videolights"], ["--data", tmp_path / "data"]
        trained = python.run(
            ROOT / "examples" / "train.py", *recipe, *data, "--output", tmp_path / "run", *self.settings
        )
        assert trained.returncode == 0, trained.stderr
        evaluated = python.run(ROOT / "examples" / "evaluate.py", tmp_path / "run", *data)
        assert evaluated.returncode == 0, evaluated.stderr
        for output in (trained.stdout, evaluated.stdout):
            assert all(word in output for word in ("dog", "skiing", "mean", "HL-mAP"))
        again = python.run(
            ROOT / "examples" / "train.py", *recipe, *data, "--output", tmp_path / "run", *self.settings
        )
        assert again.returncode == 1
        assert len(again.stderr.splitlines()) == 1
        assert "holds a run" in again.stderr

    def test_train_runs_in_two_processes(self, tmp_path):
        make_tables().save_to_disk(tmp_path / "data")
        command = [str(ROOT / "examples" / "train.py"), "--recipe", "qvhighlights/videolights"]
        output = launch_two(*command, "--data", tmp_path / "data", "--output", tmp_path / "run", *self.settings)
        assert output.count("│ score") == 1
        settings = json.loads(next((tmp_path / "run").glob("checkpoint-*/run_settings.json")).read_text())
        assert settings["training.num_processes"] == 2
