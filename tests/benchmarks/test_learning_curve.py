import json

import pytest
import torch
from typer.testing import CliRunner

from benchmarks import learning_curve, plain_release
from tests.support.training import make_tables
from videolights_hf import VideoLightsForMomentRetrieval

HEADLINE = dict.fromkeys(learning_curve.HEADLINES, 0.0)


def run(app, *arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def ran(app, *arguments) -> str:
    result = run(app, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def write_run(folder, label, seed, metrics) -> None:
    folder.mkdir(exist_ok=True)
    row = {"label": label, "seed": seed, "train_loss_by_epoch": [3.0, 2.0], "metrics": metrics}
    (folder / f"{label}-{seed}.json").write_text(json.dumps(row))


def of_map(value: float) -> dict[str, float]:
    return {**HEADLINE, "MR-full-mAP": value}


@pytest.mark.slow
def test_both_implementations_train_from_the_same_weights_and_are_summarized_together(tmp_path):
    make_tables().save_to_disk(tmp_path / "data")
    initial = tmp_path / "initial"
    ran(plain_release.app, "initialize", tmp_path / "data", initial, "--seed", 7)
    torch.manual_seed(7)
    given = VideoLightsForMomentRetrieval.from_pretrained(initial)
    of_seed = plain_release.packaged_model(plain_release.PlainRelease(given.config))
    assert all(torch.equal(given.state_dict()[name], value) for name, value in of_seed.state_dict().items())

    runs = tmp_path / "runs"
    common = (tmp_path / "data", "--seed", 7, "--epochs", 2, "--evaluate-at", 1, "--output", runs)
    ran(plain_release.app, "train", *common)
    ran(learning_curve.app, "train", *common, "--init-from", initial, "--use-cpu")
    written = {json.loads(path.read_text())["label"]: json.loads(path.read_text()) for path in runs.glob("*.json")}
    assert set(written) == {"plain release", "ours, given weights"}
    for one in written.values():
        assert len(one["train_loss_by_epoch"]) == 2
        assert set(one["metrics"]) == {"1", "2"}
        assert set(learning_curve.HEADLINES) <= set(one["metrics"]["2"])
    # Twelve queries of the same weights: only order and dropout differ.
    first = [one["train_loss_by_epoch"][0] for one in written.values()]
    assert first[0] == pytest.approx(first[1], rel=0.1)

    output = ran(
        learning_curve.app,
        *("summarize", runs, "--average-from", 1, "--against", "plain release", "--plot", tmp_path / "curve.png"),
    )
    assert "| ours, given weights | 1-2 | 1 |" in output
    assert "Difference from 'plain release'" in output
    assert (tmp_path / "curve.png").stat().st_size > 1000


class TestSummary:
    def test_gives_means_and_spreads_over_seeds(self, tmp_path):
        for seed, value in ((1, 10.0), (2, 14.0)):
            write_run(tmp_path, "ours", seed, {"30": of_map(value)})
        assert "| ours | 30 | 2 | 12.00 ± 2.83 |" in ran(learning_curve.app, "summarize", tmp_path)

    def test_averages_each_run_over_its_last_evaluations(self, tmp_path):
        write_run(tmp_path, "ours", 1, {"20": of_map(90.0), "29": of_map(10.0), "30": of_map(20.0)})
        output = ran(learning_curve.app, "summarize", tmp_path, "--average-from", 29)
        assert "| ours | 29-30 | 1 | 15.00 |" in output
        assert "| ours | 20 | 1 | 90.00 |" in output

    def test_subtracts_runs_seed_by_seed(self, tmp_path):
        for seed, ours, theirs in ((1, 10.0, 9.0), (2, 30.0, 27.0), (3, 50.0, None)):
            write_run(tmp_path, "ours", seed, {"30": of_map(ours)})
            if theirs is not None:
                write_run(tmp_path, "theirs", seed, {"30": of_map(theirs)})
        output = ran(learning_curve.app, "summarize", tmp_path, "--against", "theirs")
        assert "| ours | 30 | 2 | 2.00 ± 1.00 |" in output.split("Difference from")[1]

    def test_reads_reference_runs(self, tmp_path):
        write_run(tmp_path / "runs", "ours", 1, {"30": of_map(10.0)})
        reference = {"epochs": 30, "seed": 1, "train_loss_by_epoch": [3.0], "metrics": of_map(11.0)}
        (tmp_path / "reference.json").write_text(json.dumps({"runs": [reference]}))
        output = ran(learning_curve.app, "summarize", tmp_path / "runs", "--reference", tmp_path / "reference.json")
        assert "| release | 30 | 1 | 11.00 |" in output

    def test_unknown_label_is_answered_with_those_there_are(self, tmp_path):
        write_run(tmp_path, "ours", 1, {"30": of_map(10.0)})
        result = run(learning_curve.app, "summarize", tmp_path, "--against", "theirs")
        assert result.exit_code != 0
        assert "'ours'" in result.output
