import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from videolights_hf.cli.main import app

TRUTH = [
    {
        "qid": qid,
        "duration": 8,
        "relevant_windows": [[0, 4]],
        "relevant_clip_ids": [0, 1],
        "saliency_scores": [[4, 4, 4], [2, 2, 2]],
    }
    for qid in (1, 2)
]
PREDICTIONS = [
    {"qid": qid, "pred_relevant_windows": [[0, 4, 0.9]], "pred_saliency_scores": [1, 0, 0.5, 0]} for qid in (1, 2)
]
DOMAIN_TRUTH = [
    {"qid": "a", "domain": "dog", "label": [[1], [0]]},
    {"qid": "b", "domain": "surfing", "label": [[0], [1]]},
]
DOMAIN_PREDICTIONS = [{"qid": qid, "pred_saliency_scores": [1, 0]} for qid in "ab"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Write the rows to files, run the command on them, and return its result."""
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(predictions, truth, *options):
        paths = [tmp_path / "predictions.jsonl", tmp_path / "truth.jsonl"]
        for path, rows in zip(paths, (predictions, truth)):
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        command = ["evaluate", str(paths[0]), "--annotations", str(paths[1]), *map(str, options)]
        return CliRunner().invoke(app, command)

    return run_command


def test_tables_show_the_headline_numbers(run):
    result = run(PREDICTIONS, TRUTH)
    assert result.exit_code == 0, result.output
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in result.stdout.splitlines() if "│" in line}
    assert [cell.strip() for cell in rows["full"]] == ["100.00"] * 7
    assert [cell.strip() for cell in rows["short"]] == ["100.00"] * 7
    assert [cell.strip() for cell in rows["long"]] == ["0.00"] * 7
    # Ranks: a relevant clip, an irrelevant one, then a relevant and an irrelevant one tied: 1 and 2/4.
    assert [cell.strip() for cell in rows["Fair"]] == ["75.00", "100.00"]
    assert [cell.strip() for cell in rows["VeryGood"]] == ["100.00", "100.00"]
    assert result.stderr == ""


def test_json_holds_brief_and_details(run, tmp_path):
    out = tmp_path / "metrics.json"
    assert run(PREDICTIONS, TRUTH, "--json", out).exit_code == 0
    metrics = json.loads(out.read_text())
    assert {"brief", "full", "short", "middle", "long", "HL-min-Fair", "HL-min-Good", "HL-min-VeryGood"} == set(
        metrics
    )
    assert metrics["full"]["MR-R1"]["0.5"] == metrics["brief"]["MR-full-R1@0.5"] == 100.0


def test_json_alone_goes_to_standard_output(run):
    result = run(PREDICTIONS, TRUTH, "--json", "-")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["brief"]["MR-full-mAP"] == 100.0


def test_an_older_file_stays_when_the_new_one_cannot_be_written(run, tmp_path, monkeypatch):
    (tmp_path / "metrics.json").write_text("older")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    result = run(PREDICTIONS, TRUTH, "--json", tmp_path / "metrics.json")
    assert result.exit_code == 1
    assert "The disk is full" in result.stderr
    assert (tmp_path / "metrics.json").read_text() == "older"


def test_domains_and_their_mean_are_shown(run):
    result = run(DOMAIN_PREDICTIONS, DOMAIN_TRUTH)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]
    assert rows == [["dog", "100.00"], ["surfing", "25.00"], ["mean", "62.50"]]


def test_options_choose_domain_and_dataset(run):
    result = run(DOMAIN_PREDICTIONS, DOMAIN_TRUTH, "--domain", "surfing", "--dataset", "tvsum")
    assert result.exit_code == 0
    assert "top-5 mAP" in result.stdout
    assert "surfing" in result.stdout
    assert "dog" not in result.stdout


def test_clip_length_is_passed_on(run):
    result = run(PREDICTIONS, TRUTH, "--clip-length", "4")
    assert result.exit_code == 0
    assert run(PREDICTIONS, TRUTH, "--clip-length", "8").exit_code == 1


def test_ids_that_do_not_match_are_reported_once_and_written(run, tmp_path):
    out = tmp_path / "metrics.json"
    result = run([PREDICTIONS[0], PREDICTIONS[1] | {"qid": 5}], TRUTH, "--json", out)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Warning: 1 queries have no prediction and score 0: 2",
        "Warning: 1 predictions have a qid that is not in the ground truth and do not count: 5",
    ]
    assert json.loads(out.read_text())["unmatched"] == {
        "queries_without_prediction": [2],
        "predictions_without_ground_truth": [5],
    }


def test_strict_fails_on_ids_that_do_not_match_only(run):
    result = run(PREDICTIONS[:1], TRUTH, "--strict")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Error: the ids of predictions and annotations do not match (--strict)"
    assert run(PREDICTIONS, TRUTH, "--strict").exit_code == 0


@pytest.mark.parametrize(
    ("predictions", "options", "message"),
    [
        ([[1]], (), "predictions.jsonl:1: expected a JSON object"),
        ([{"qid": 9, "pred_relevant_windows": []}], (), "no prediction has a qid of the ground truth"),
        (PREDICTIONS, ("--dataset", "tacos"), "unknown dataset 'tacos'"),
        (PREDICTIONS, ("--json", "/nowhere/out.json"), "No such file or directory: /nowhere/out.json"),
    ],
)
def test_bad_input_ends_with_one_line_and_no_traceback(run, predictions, options, message):
    result = run(predictions, TRUTH, *options)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_does_not_exist_is_named(tmp_path):
    result = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "no.jsonl"), "--annotations", str(tmp_path / "no.jsonl")]
    )
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --data to evaluate a model, or --annotations"),
        (["--data", "a", "--annotations", "b"], "give --data to evaluate a model, or --annotations"),
        (["--annotations", "b", "--split", "val"], "'--split': not with a file of predictions"),
        (["--annotations", "b", "--domain", "dog", "--domain", "surfing"], "name one domain"),
        (["--data", "a", "--strict"], "'--strict': not with a model"),
        (["--data", "a", "--json", "-", "--dataset", "tvsum"], "'--json' / '--dataset': not with a model"),
        (["--data", "a"], "someone/model is not a folder to write to"),
    ],
)
def test_options_of_models_and_of_files_do_not_mix(arguments, message, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["evaluate", "someone/model", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_model_that_is_nowhere_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("./no", "no/such/folder", "someone/model"):
        result = CliRunner().invoke(app, ["evaluate", name, "--data", "a", "--output", str(tmp_path)])
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: There is no folder {name}")
        assert len(result.stderr.splitlines()) == 1
