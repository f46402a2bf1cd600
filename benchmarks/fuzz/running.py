"""Running one command in this process, and judging what it says."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import typer
from typer.testing import CliRunner

UNEXPECTED = "this is a fault of the program"
REQUESTS_FILE = "requests.json"


def ask_features(
    file: Annotated[Path, typer.Argument(help="What `VideoFeatures.save` wrote, or the folder of an extraction.")],
    model: Annotated[Path, typer.Argument(help="A model folder.")],
) -> None:
    """Ask the features of a video; has no command of its own, and ends errors as commands do."""
    from videolights_hf import VideoFeatures, VideoMomentRetrievalPipeline
    from videolights_hf.cli.terminal import quiet_transformers
    from videolights_hf.extraction import load_video_features

    with quiet_transformers():
        pipeline = VideoMomentRetrievalPipeline.from_pretrained(model, device="cpu")
        video = load_video_features(file, "a") if file.is_dir() else VideoFeatures.load(file)
        print(json.dumps(pipeline(video, ["a red circle"]), allow_nan=False))


@functools.cache
def all_commands() -> Any:
    """All commands; made once, which takes longer than most cases."""
    from videolights_hf.cli.main import app

    group: Any = typer.main.get_command(app)
    extra = typer.Typer(pretty_exceptions_enable=False)
    extra.command()(ask_features)
    group.add_command(typer.main.get_command(extra), "ask-features")
    return group


def run_command(command: list[str]) -> tuple[str, str]:
    """Run a command in this process; its exit code, or the kind of its fault, and what it said."""
    with mock.patch("typer.testing._get_command", lambda group: group), _answering_instead_of_serving(command):
        result = CliRunner(env={"COLUMNS": "200"}).invoke(all_commands(), command)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        return "traceback", f"{type(error).__name__}: {error}"
    last = (result.stderr.strip().splitlines() or [""])[-1]
    for mark in (UNEXPECTED, "Traceback (most recent call last)"):
        if mark in result.output:
            return "traceback", next(line for line in result.output.splitlines() if mark in line)
    if re.search(r"\d%\|", result.stderr):
        return "bars", last
    if result.exit_code and "Error" not in result.stderr and "Failed" not in result.output:
        return "silent", f"exit code {result.exit_code} without an error: {last}"
    if not result.exit_code and "-" in command and command[0] in ("predict", "evaluate"):
        with contextlib.suppress(ValueError):
            json.loads(result.stdout)
            return ("not-json", result.stdout[:200]) if is_no_json(result.stdout) else ("0", last)
    return str(result.exit_code), last


def is_no_json(text: str) -> bool:
    """Whether neither the text nor its lines are JSON as the standard has it, without NaN."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    def is_json(part: str) -> bool:
        try:
            json.loads(part, parse_constant=refuse)
        except ValueError:
            return False
        return True

    return not (is_json(text) or all(is_json(line) for line in text.splitlines()))


# The service


@contextlib.contextmanager
def _answering_instead_of_serving(command: list[str]) -> Iterator[None]:
    """Have `serve` answer the requests in the present folder, and end."""
    if command[0] != "serve":
        yield
        return
    with mock.patch("uvicorn.run", lambda app, **_: _answer_requests(app, Path(REQUESTS_FILE))):
        yield


def _answer_requests(app: Any, requests: Path) -> None:
    """Send requests to the service; each answer must be JSON that blames the client or is right."""
    from starlette.testclient import TestClient

    with TestClient(app, raise_server_exceptions=True) as client:
        key = client.post("/videos", content=Path("videos/b.mp4").read_bytes(), headers={"Content-Type": "video/mp4"})
        known = key.json().get("id", "none")
        for method, path, kind, body in json.loads(requests.read_text(encoding="utf-8")):
            content = Path("videos/a.mp4").read_bytes() if body is None else body.encode("utf-8", "surrogatepass")
            headers = {"Content-Type": kind.encode("latin-1", "replace").decode("latin-1")}
            answer = client.request(method, path.replace("KEY", known), content=content, headers=headers)
            if answer.status_code == 500:
                raise RuntimeError(f"{method} {path}: {answer.text}")
            if answer.headers.get("content-type") == "application/json" and is_no_json(answer.text):
                raise RuntimeError(f"{method} {path} was answered by what is no JSON: {answer.text[:200]}")
