"""A few broken inputs at every door; `python -m benchmarks.fuzz` tries thousands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.fuzz import doors
from benchmarks.fuzz.cases import DOORS, run_case
from benchmarks.fuzz.good_files import make_good_files
from benchmarks.fuzz.running import run_command

# They take graphs, a Hub, or 130 MB.
ELSEWHERE = {"export", "predict-exported", "push", "convert-slowfast"}
SPOILERS = ("spoil", "spoil_arrays", "spoil_bytes", "spoil_checkpoint", "spoil_some")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "good"
    make_good_files(folder, with_graphs=False)
    return folder


@pytest.mark.parametrize("name", sorted(DOORS.keys() - ELSEWHERE))
def test_broken_inputs_end_in_an_answer_or_one_line(good, tmp_path, name):
    status, message, command = run_case(good, tmp_path, 1, name)
    assert status.isdecimal(), f"{command}: {message}"


@pytest.mark.parametrize("name", ["ask-features", "convert", "evaluate", "extract", "generate", "predict", "serve"])
def test_the_good_files_pass(good, tmp_path, name, monkeypatch):
    """A case that fails for another reason than what was spoiled would find nothing."""
    for spoiler in SPOILERS:
        monkeypatch.setattr(doors, spoiler, lambda *_, **__: None)
    monkeypatch.setattr(doors, "SENTENCES", ("a red circle",))
    statuses = (run_case(good, tmp_path, seed, name)[:2] for seed in range(3))
    assert any(status == "0" for status, _ in statuses)


def test_a_fault_of_the_program_is_told_from_an_error(monkeypatch):
    def fail(*_, **__):
        raise KeyError("oops")

    monkeypatch.setattr("videolights_hf.metrics.read_json_lines", fail)
    status, message = run_command(["evaluate", "a", "--annotations", "b"])
    assert status == "traceback"
    assert "KeyError" in message
    monkeypatch.undo()
    assert run_command(["evaluate", "a", "--annotations", "b"]) == ("1", "Error: No such file or directory: a")


def test_nan_is_no_json(good, tmp_path, monkeypatch):
    monkeypatch.setattr("videolights_hf.common.files.write_json", lambda path, _: Path(path).write_text("NaN"))
    for spoiler in SPOILERS:
        monkeypatch.setattr(doors, spoiler, lambda *_, **__: None)
    status, message, _ = run_case(good, tmp_path, 0, "evaluate")
    assert (status, message) == ("not-json", "out.json is no JSON")
    assert json.loads((good / "metric_truth.jsonl").read_text().splitlines()[0])["duration"] == 12
