"""A few broken inputs at every door; `benchmarks/fuzz.py` tries thousands."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import DOORS, make_good_files, run_case, run_command

CASES_PER_DOOR = 3
# Good SlowFast weights are 130 MB.
WITHOUT_GOOD_FILES = {"convert-slowfast"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "good"
    make_good_files(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", DOORS)
def test_broken_inputs_end_in_an_answer_or_one_line(good, tmp_path, name):
    for seed in range(CASES_PER_DOOR):
        status, message, command = run_case(good, tmp_path, seed, name, limit=60)
        assert status.isdecimal(), f"{command}: {message}"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DOORS.keys() - WITHOUT_GOOD_FILES))
def test_the_good_files_pass_every_door(good, tmp_path, name, monkeypatch):
    """A case that fails for another reason than what was spoiled would find nothing."""
    monkeypatch.setattr("benchmarks.fuzz.spoil", lambda path, rng: None)
    monkeypatch.setattr("benchmarks.fuzz.spoil_bytes", lambda path, rng: None)
    monkeypatch.setattr("benchmarks.fuzz.spoil_checkpoint", lambda path, rng: None)
    monkeypatch.setattr("benchmarks.fuzz.SENTENCES", ("a red circle",))
    monkeypatch.setattr("benchmarks.fuzz.HOSTILE_WORDS", ("", "1"))
    statuses = {run_case(good, tmp_path, seed, name, limit=60)[:2] for seed in range(4)}
    assert "0" in {status for status, _ in statuses}, statuses


def test_a_fault_of_the_program_is_told_from_an_error(monkeypatch):
    def fail(*_, **__):
        raise KeyError("oops")

    monkeypatch.setattr("videolights_hf.metrics.read_json_lines", fail)
    status, message = run_command(["evaluate", "a", "--annotations", "b"])
    assert status == "traceback"
    assert "KeyError" in message
    monkeypatch.undo()
    assert run_command(["evaluate", "a", "--annotations", "b"]) == ("1", "Error: No such file or directory: a")
