"""`videolights train` and `videolights evaluate` of models, on small feature datasets."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.support.training import SMALL, make_tables
from videolights_hf import VideoLightsForMomentRetrieval
from videolights_hf.cli.main import app

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
SETTINGS = [
    *(f"model.{key}={value}" for key, value in SMALL.items()),
    "num_train_epochs=1",
    "per_device_train_batch_size=4",
    "eval_epochs=1",
    "use_cpu=true",
    "disable_tqdm=true",
    "report_to=none",
]


def run(command, *arguments, settings=SETTINGS):
    changes = [word for setting in settings for word in ("--set", setting)]
    return runner.invoke(app, [command, *map(str, arguments), *changes])


@pytest.fixture
def data(tmp_path):
    make_tables().save_to_disk(tmp_path / "data")
    return tmp_path / "data"


def test_train_then_evaluate(tmp_path, data):
    recipe = ["--recipe", "qvhighlights/videolights", "--data", data]
    trained = run("train", *recipe, "--output", tmp_path / "run")
    assert trained.exit_code == 0, trained.output
    assert "MR-full-mAP" in trained.stdout
    assert VideoLightsForMomentRetrieval.from_pretrained(tmp_path / "run").config.hidden_size == SMALL["hidden_size"]

    again = run("train", *recipe, "--output", tmp_path / "run")
    assert again.exit_code == 1
    assert again.stderr.splitlines()[-1].startswith("Error: ")

    evaluated = run("evaluate", tmp_path / "run", "--data", data, "--output", tmp_path / "out", settings=[])
    assert evaluated.exit_code == 0, evaluated.output
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    metrics = json.loads((tmp_path / "out" / "val_metrics.json").read_text())
    assert metrics["full"]["MR-mAP"]["average"] == pytest.approx(results["eval_MR-full-mAP"], abs=0.01)
    assert len((tmp_path / "out" / "val_predictions.jsonl").read_text().splitlines()) == 7


def test_each_domain_has_a_row(tmp_path):
    make_tables("binary", {"train": 6, "val": 4}, clip_length=1.0).save_to_disk(tmp_path / "data")
    data = ["--data", tmp_path / "data"]
    trained = run("train", "--recipe", "youtube_highlights/videolights", "--output", tmp_path / "run", *data)
    assert trained.exit_code == 0, trained.output
    assert all(word in trained.stdout for word in ("dog", "skiing", "mean", "HL-mAP"))
    # The model of one domain knows which it is.
    for model, chosen in ((tmp_path / "run", ["--domain", "dog"]), (tmp_path / "run" / "dog", [])):
        evaluated = run("evaluate", model, *chosen, *data, "--output", tmp_path / "out", settings=[])
        assert evaluated.exit_code == 0, evaluated.output
        assert "dog" in evaluated.stdout
        assert "skiing" not in evaluated.stdout
    wrong = run("evaluate", tmp_path / "run" / "dog", "--domain", "skiing", *data, settings=[])
    assert wrong.exit_code == 1
    assert "It was trained on dog." in wrong.stderr


def test_recipes_are_listed():
    listed = runner.invoke(app, ["train", "--list"])
    assert listed.exit_code == 0
    assert "tvsum/videolights-i3d" in listed.stdout


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--recipe", "qvhighlight/videolights"], "Did you mean 'qvhighlights/videolights'", 1),
        (["--recipe", "tvsum/videolights"], "no domains", 1),
        (["--recipe", "qvhighlights/videolights", "--backbone", "clip"], "'clip' is not NAME=PATH_OR_ID", 2),
        (["--recipe", "qvhighlights/videolights", "--set", "learning_rat=1"], "Did you mean 'learning_rate'", 1),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, data, options, message, code):
    result = run("train", *options, "--data", data, "--output", tmp_path / "run")
    assert result.exit_code == code
    assert message in result.stderr
    assert code == 2 or len([line for line in result.stderr.splitlines() if line.startswith("Error: ")]) == 1


def test_a_checkpoint_without_its_recipe_asks_for_one(tmp_path, data):
    result = run("evaluate", tmp_path, "--data", data, settings=[])
    assert result.exit_code == 1
    assert "recipe" in result.stderr
