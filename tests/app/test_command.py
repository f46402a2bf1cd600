"""`videolights app`: what it hands to the app, and its errors."""

from __future__ import annotations

import importlib.util

import pytest
from typer.testing import CliRunner

from videolights_hf.cli.main import app as command_line
from videolights_hf.demo import demo_checkpoint, demo_videos

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def launched(monkeypatch):
    calls = []
    monkeypatch.setattr("videolights_hf.app.launch.launch_app", lambda *arguments: calls.append(arguments))
    return calls


def run(*arguments):
    return runner.invoke(command_line, ["app", *map(str, arguments)])


def test_without_a_model_there_are_two_and_neither_is_loaded_yet(launched):
    from videolights_hf.app import BUNDLED

    clip = demo_checkpoint() / "backbones" / "clip"
    result = run(demo_videos() / "demo_0_00000.mp4", "--backbone", f"clip={clip}", "--device", "cpu")
    assert result.exit_code == 0, result.output
    ((settings, (general, bundled), host, port),) = launched
    assert [path.name for path in settings.videos] == ["demo_0_00000.mp4"]
    assert (general.name, bundled, host, port) == ("zero-shot", BUNDLED, "127.0.0.1", None)
    assert "not trained" in general.note
    assert general.load().model.config.model_type == "zero_shot"


def test_a_model_that_is_named_answers_for_all_videos_and_is_loaded_at_once(launched):
    result = run("--model", "demo", "--device", "cpu", "--host", "0.0.0.0", "--port", "7000", "--max-minutes", "2")
    assert result.exit_code == 0, result.output
    ((settings, (general, bundled), host, port),) = launched
    assert general is bundled
    assert general.load() is general.load()
    assert (general.name, general.note, host, port, settings.max_minutes) == ("demo", "", "0.0.0.0", 7000, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4"], "No such video file: nowhere.mp4"),
        (["--model", "/nowhere/model"], "No such model folder: /nowhere/model"),
    ],
)
def test_what_is_missing_is_said_before_the_app_starts(launched, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {message}\n"
    assert launched == []


def test_a_missing_extra_is_one_line(launched, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else find(name, *rest)
    )
    result = run()
    assert result.exit_code == 1
    assert result.stderr == 'Error: This needs gradio: pip install "videolights-hf[app]"\n'
