"""How the app starts and ends, and the Space that starts it."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import yaml

from videolights_hf.app import BUNDLED, ZERO_SHOT, launch_app

ROOT = Path(__file__).parents[2]
SPACE = ROOT / "examples" / "space"


def test_it_ends_in_good_order_when_it_is_asked_to(monkeypatch, capsys):
    """Killed by the signal, it would leave its files."""
    ended = []

    @contextlib.contextmanager
    def running_app(*arguments):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        yield SimpleNamespace(address="http://127.0.0.1:7860/")
        ended.append(arguments)

    monkeypatch.setattr("videolights_hf.app.launch.running_app", running_app)
    before = signal.getsignal(signal.SIGTERM)
    launch_app(None, (ZERO_SHOT, BUNDLED), "127.0.0.1", 7860)
    assert ended == [(None, (ZERO_SHOT, BUNDLED), "127.0.0.1", 7860)]
    assert capsys.readouterr().out == "The app is at http://127.0.0.1:7860/\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_space_starts_the_app(monkeypatch):
    calls = []
    monkeypatch.setattr("videolights_hf.app.launch_app", lambda *arguments: calls.append(arguments))
    runpy.run_path(str(SPACE / "app.py"), run_name="__main__")
    ((settings, detectors),) = calls
    assert (settings.max_megabytes, detectors) == (200, (ZERO_SHOT, BUNDLED))


def test_the_spaces_settings_are_those_that_are_tested():
    front = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    pinned = re.search(r"(?m)^gradio==(\S+)", (ROOT / "constraints.txt").read_text())[1]
    assert (front["sdk"], front["sdk_version"]) == ("gradio", pinned)
    assert (SPACE / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60
    (requirement,) = [line for line in (SPACE / "requirements.txt").read_text().splitlines() if line[0] != "#"]
    # There is no address yet: whoever uploads it is told to put theirs.
    assert requirement.startswith("videolights-hf[app] @ git+https://")
    assert "EDIT-ME" in requirement
