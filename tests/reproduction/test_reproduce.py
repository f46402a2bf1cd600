"""Tables from tiny runs."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.launching import launch_two
from tests.support.training import BRIEF, make_tables, run_data
from videolights_hf.cli.main import app
from videolights_hf.common.locks import locked_folder
from videolights_hf.reproduction import describe_plan, list_tables, load_data, load_table, make_plan, reproduce

ONE_EPOCH = [*BRIEF, "num_train_epochs=1"]


def plan_of(table, data=None, settings=ONE_EPOCH, **options):
    return make_plan(load_table(table), {"qvhighlights": data or run_data()}, settings=settings, **options)


def no_run(*args, **kwargs):
    raise AssertionError("the run was there already")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Table VI with two seeds; other tables have its runs in common."""
    output = tmp_path_factory.mktemp("reproduction")
    lines: list[str] = []
    path = reproduce(plan_of("vi", seeds=[1, 2]), output, lines.append)
    return output, path, lines


class TestPlan:
    def test_tables_share_runs(self):
        keys = {name: {run.key for run in plan_of(name).runs} for name in ("v", "vi", "viii")}
        assert len(keys["vi"] & keys["v"]) == 2
        assert len(keys["viii"] & keys["v"]) == 2
        assert len(keys["viii"] & keys["vi"]) == 1

    def test_seed_setting_data_and_number_of_processes_make_another_run(self):
        def key(**options):
            return plan_of("vi", rows=["bi-cmf"], **options).runs[0].key

        keys = [
            key(),
            key(seeds=[3]),
            key(settings=[*ONE_EPOCH, "learning_rate=2e-3"]),
            key(data=run_data("window")),
            key(processes=2),
        ]
        assert len(set(keys)) == len(keys)
        assert key() == keys[0]

    def test_seeds_come_one_after_the_other_and_pretraining_before_finetuning(self):
        plan = make_plan(
            load_table("v"),
            {"qvhighlights": run_data(), "blip": run_data("window")},
            rows=["6", "13"],
            seeds=[5, 6],
            settings=ONE_EPOCH,
        )
        names = [(run.recipe.name, run.seed) for run in plan.runs]
        recipes = ["ablations/full", "pretraining/blip-b", "ablations/full-pt"]
        assert names == [(name, seed) for seed in (5, 6) for name in recipes]
        assert plan.runs[2].after == plan.runs[1]
        assert plan.runs[2].after.key != plan.runs[5].after.key

    def test_split_of_captions_is_trained_on_where_there_are_labeled_ones_beside_it(self):
        corpus = run_data("window", {"pretrain": 4, "train": 3})
        plan = make_plan(
            load_table("v"), {"qvhighlights": run_data(), "blip": corpus}, rows=["13"], settings=ONE_EPOCH
        )
        assert plan.runs[0].recipe.data.train_split == "pretrain"
        assert plan.runs[1].recipe.data.train_split == "train"

    def test_changed_pretraining_makes_another_finetuning(self):
        keys = [
            make_plan(load_table("v"), {"qvhighlights": run_data(), "blip": corpus}, rows=["13"], settings=ONE_EPOCH)
            .runs[-1]
            .key
            for corpus in (run_data("window"), run_data("window", {"train": 5}))
        ]
        assert keys[0] != keys[1]

    def test_without_a_seed_each_recipe_has_its_own(self):
        plan = plan_of("vii", rows=["qd-detr", "tr-detr"])
        assert [run.seed for run in plan.runs] == [2018, 2017]

    def test_rows_without_their_data_are_left_out(self):
        plan = plan_of("v", rows=["6", "13", "pt-asr"])
        assert list(plan.runs_of) == ["6"]
        assert plan.left_out == {"13": "It needs --data blip=PATH.", "pt-asr": "It needs --data asr=PATH."}

    def test_rows_whose_features_are_missing_are_left_out(self):
        tables = make_tables()
        tables["videos"] = tables["videos"].remove_columns("video_blip2")
        plan = plan_of("viii", type(run_data())(tables))
        assert list(plan.runs_of) == ["sf-c"]
        assert "video_backbones blip2" in plan.left_out["sf-b"]

    def test_no_row_that_can_be_run(self):
        with pytest.raises(ValueError, match="No row of iii can be run: It needs --data tvsum=PATH"):
            plan_of("iii")

    def test_data_is_named(self, tmp_path):
        make_tables(sizes={"train": 3}).save_to_disk(tmp_path)
        assert list(load_data([str(tmp_path), f"blip={tmp_path}"], "tvsum")) == ["tvsum", "blip"]
        with pytest.raises(ValueError, match="Did you mean 'charades_sta'"):
            load_data([f"charades={tmp_path}"], "charades_sta")
        with pytest.raises(ValueError, match="tvsum is given twice"):
            load_data([str(tmp_path), f"tvsum={tmp_path}"], "tvsum")


class TestTable:
    def test_has_mean_deviation_paper_and_distance(self, finished):
        output, path, _ = finished
        content = json.loads(path.with_suffix(".json").read_text())
        row = content["rows"][0]
        assert row["id"] == "bi-cmf"
        assert row["paper"]["R1@0.7"] == 55.35
        assert [run["seed"] for run in row["runs"]] == [1, 2]
        first, second = (
            json.loads(Path(output, run["folder"], "results.json").read_text())["eval_HL-min-VeryGood-mAP"]
            for run in row["runs"]
        )
        assert row["ours"]["HL mAP"]["mean"] == pytest.approx((first + second) / 2)
        assert row["ours"]["HL mAP"]["std"] == pytest.approx(abs(first - second) / 2**0.5)
        assert row["distance"]["HL mAP"] == pytest.approx((first + second) / 2 - 42.84)
        lines = path.read_text().splitlines()
        assert "| row |  | seeds | R1@0.5 | R1@0.7 | mAP | HL mAP | HIT@1 |" in lines
        assert "|  | paper |  | 70.06 | 55.35 | 48.44 | 42.84 | 70.71 |" in lines
        assert any(line.startswith("| Bi-CMF | ours | 2 | ") and " ± " in line for line in lines)
        assert any(line.startswith("|  | distance |  | -") for line in lines)

    def test_has_paired_differences(self, finished):
        _, path, _ = finished
        content = json.loads(path.with_suffix(".json").read_text())
        (difference,) = content["differences"]
        bi, uni = ([run["metrics"]["HL mAP"] for run in row["runs"]] for row in content["rows"])
        first, second = (mine - other for mine, other in zip(uni, bi))
        assert difference["seeds"] == 2
        assert difference["ours"]["HL mAP"]["mean"] == pytest.approx((first + second) / 2)
        # The standard deviation of two values is their distance over the root of two.
        assert difference["ours"]["HL mAP"]["standard_error"] == pytest.approx(abs(first - second) / 2)
        assert difference["paper"]["HIT@1"] == pytest.approx(68.77 - 70.71)
        assert "| Uni-CMF less Bi-CMF | ours | 2 | " in path.read_text()

    def test_finished_runs_are_kept(self, finished, monkeypatch):
        output, path, lines = finished
        assert [line.split(": ")[0] for line in lines] == [f"run {number} of 4" for number in range(1, 5)]
        before = path.read_text()
        monkeypatch.setattr("videolights_hf.reproduction.runs.run_recipe", no_run)
        reproduce(plan_of("vi", seeds=[1, 2]), output, lines.append)
        assert path.read_text() == before

    def test_other_tables_read_them(self, finished, monkeypatch):
        output, _, _ = finished
        monkeypatch.setattr("videolights_hf.reproduction.runs.run_recipe", no_run)
        content = reproduce(plan_of("viii", seeds=[1], rows=["sf-c-b"]), output, lambda _: None).read_text()
        assert "| SF + C + B | ours | 1 | " in content

    def test_run_that_was_interrupted_is_resumed(self, finished, monkeypatch):
        output, _, _ = finished
        plan = plan_of("vi", seeds=[2], rows=["uni-cmf"])
        (plan.runs[0].folder(output) / "run.json").unlink()
        seen = {}

        def resume(recipe, data, folder, **options):
            seen.update(options)
            raise KeyboardInterrupt

        monkeypatch.setattr("videolights_hf.reproduction.runs.run_recipe", resume)
        with pytest.raises(KeyboardInterrupt):
            reproduce(plan, output, lambda _: None)
        assert seen["resume"] is True
        monkeypatch.undo()
        reproduce(plan, output, lambda _: None)
        assert json.loads((plan.runs[0].folder(output) / "run.json").read_text())["inputs"] == plan.runs[0].inputs

    def test_run_of_another_process_is_left_to_it(self, tmp_path):
        plan, lines = plan_of("vi", rows=["bi-cmf"]), []
        with locked_folder(plan.runs[0].folder(tmp_path)):
            path = reproduce(plan, tmp_path, lines.append)
        assert "another process trains it" in lines[-1]
        assert "| Bi-CMF | ours | 0 |" in path.read_text()

    def test_damaged_result_is_named(self, finished, tmp_path):
        plan = plan_of("vi", rows=["bi-cmf"])
        folder = plan.runs[0].folder(tmp_path)
        folder.mkdir(parents=True)
        (folder / "run.json").write_text('{"metrics": 3}')
        with pytest.raises(ValueError, match=r"run\.json holds no metrics: remove it"):
            reproduce(plan, tmp_path, lambda _: None)


class TestKindsOfTables:
    def test_test_split_is_scored_here_and_can_be_submitted(self, finished, monkeypatch):
        output, _, _ = finished
        monkeypatch.setattr("videolights_hf.reproduction.runs.run_recipe", no_run)
        data = run_data()
        # A split that comes later makes no new runs.
        data.tables["test"] = data.tables["val"].select(range(4))
        plan = plan_of("ii", data, rows=["videolights-b"], seeds=[1])
        path = reproduce(plan, output, lambda _: None)
        folder = plan.runs[0].folder(output)
        scores = json.loads((folder / "test_scores.json").read_text())["metrics"]
        row = next(r for r in json.loads(path.with_suffix(".json").read_text())["rows"] if r["id"] == "videolights-b")
        assert row["ours"]["HL mAP"]["mean"] == scores["HL-min-VeryGood-mAP"]
        assert row["paper"]["R1@0.5"] == 68.29
        with zipfile.ZipFile(folder / "submission.zip") as archive:
            assert archive.namelist() == ["hl_val_submission.jsonl", "hl_test_submission.jsonl"]
            assert len(archive.read("hl_val_submission.jsonl").splitlines()) == 7
            assert len(archive.read("hl_test_submission.jsonl").splitlines()) == 4
        assert "| UMT (audio) | paper |  | 56.23 |" in path.read_text()

        def no_evaluation(*args):
            raise AssertionError("the split was scored already")

        monkeypatch.setattr("videolights_hf.reproduction.scoring.evaluate_run", no_evaluation)
        reproduce(plan, output, lambda _: None)

    def test_test_split_without_labels_gives_a_submission_and_no_row(self, finished, monkeypatch):
        output, _, _ = finished
        monkeypatch.setattr("videolights_hf.reproduction.runs.run_recipe", no_run)
        data = run_data()
        data.tables["test"] = make_tables("none", {"test": 2})["test"]
        plan = plan_of("ii", data, rows=["videolights-b"], seeds=[2])
        path = reproduce(plan, output, lambda _: None)
        assert "| VideoLights-B | ours | 0 |" in path.read_text()
        assert (plan.runs[0].folder(output) / "submission.zip").is_file()

    def test_domains_are_columns_and_pretraining_comes_first(self, tmp_path):
        # The small data has two of the ten domains.
        columns = {name: load_table("iii").columns[name] for name in ("BK", "DS", "Avg.")}
        table = replace(load_table("iii"), columns=columns)
        data = {
            "tvsum": run_data("annotators", {"train": 4, "val": 4}),
            "blip": run_data("window", {"train": 4}),
            "qvhighlights": run_data(),
        }
        plan = make_plan(table, data, rows=["videolights-pt"], settings=ONE_EPOCH)
        path = reproduce(plan, tmp_path, lambda _: None)
        row = next(r for r in json.loads(path.with_suffix(".json").read_text())["rows"] if r["id"] == "videolights-pt")
        results = json.loads((plan.runs[-1].folder(tmp_path) / "results.json").read_text())
        assert row["ours"]["BK"]["mean"] == pytest.approx(100 * results["domains"]["BK"]["HL-mAP"])
        assert row["ours"]["Avg."]["mean"] == pytest.approx(100 * results["mean"]["HL-mAP"])


class TestCommand:
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})

    def run(self, *arguments):
        settings = [word for setting in ONE_EPOCH for word in ("--set", setting)]
        return self.runner.invoke(app, ["reproduce", *map(str, arguments), *settings])

    def test_plan_is_printed_with_its_time_and_nothing_is_written(self, tmp_path):
        make_tables().save_to_disk(tmp_path / "data")
        done = self.run("VI", "--data", tmp_path / "data", "--output", tmp_path / "out", "--seed", 1, "--dry-run")
        assert done.exit_code == 0, done.output
        lines = done.stdout.splitlines()
        assert "ablations/full, seed 1: 00:0" in lines[0]
        assert lines[-1].startswith("2 runs, 2 to train, about 00:0")
        assert not (tmp_path / "out").exists()

    def test_table_is_printed(self, tmp_path, finished, monkeypatch):
        output, _, _ = finished
        monkeypatch.setattr("videolights_hf.reproduction.runs.run_recipe", no_run)
        # Equal data elsewhere has the same runs.
        make_tables().save_to_disk(tmp_path / "data")
        data = ["--data", f"qvhighlights={tmp_path / 'data'}"]
        done = self.run("viii", *data, "--output", output, "--row", "sf-c-b", "--seed", 2)
        assert done.exit_code == 0, done.output
        assert (output / "viii.md").read_text() in done.stdout
        assert "| SF + C + B | ours | 1 |" in done.stdout

    def test_tables_and_rows_are_listed(self):
        listed = self.runner.invoke(app, ["reproduce", "--list"])
        assert listed.exit_code == 0
        assert all(name in listed.stdout for name in list_tables())
        assert "rows: bi-cmf, uni-cmf" in listed.stdout


def test_plan_says_what_is_there_and_what_is_left_out(finished):
    output, _, _ = finished
    lines = list(describe_plan(plan_of("viii", seeds=[1], rows=["sf-c-b"]), output))
    assert lines[0].endswith("ablations/full, seed 1: there")
    assert lines[-1].startswith("1 runs, 0 to train")
    plan = plan_of("v", seeds=[1], rows=["6", "13"])
    assert "left out: 13. It needs --data blip=PATH." in list(describe_plan(plan, output))


@pytest.mark.slow
def test_two_processes_train_a_run_together(tmp_path):
    make_tables().save_to_disk(tmp_path / "data")
    settings = [word for setting in ONE_EPOCH for word in ("--set", setting)]
    command = ["-m", "videolights_hf", "reproduce", "vi", "--row", "bi-cmf", "--output", tmp_path / "out"]
    output = launch_two(*command, "--data", tmp_path / "data", *settings)
    (run,) = json.loads((tmp_path / "out" / "vi.json").read_text())["rows"][0]["runs"]
    assert json.loads(Path(tmp_path, "out", run["folder"], "run.json").read_text())["inputs"]["processes"] == 2
    assert output.count("| Bi-CMF | ours | 1 |") == 1
