from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from transformers import pipeline
from typer.testing import CliRunner

import videolights_hf  # noqa: F401  registers the pipeline


def run_example(name: str, *arguments) -> str:
    """Run a script in this process, and return what it printed."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(import_module(f"examples.{name}").main)
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_demo_prints_the_truth_beside_the_moments_and_writes_the_picture(tmp_path):
    printed = run_example("demo", "--output", tmp_path)
    assert "true moments" in printed
    assert "15-25  " in printed
    assert (tmp_path / "demo_0_00000.png").read_bytes().startswith(b"\x89PNG")


def test_demo_says_when_it_finds_nothing(tmp_path):
    options = ["--video", "demo_0_00001", "--query", "a green circle"]
    assert "none" in run_example("demo", "--output", tmp_path, *options)


def test_demo_answers_an_unknown_video_with_one_line(tmp_path):
    script = Path(__file__).parents[2] / "examples" / "demo.py"
    command = [sys.executable, script, "--video", "demo_0_0001"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Unknown bundled video 'demo_0_0001'. Did you mean 'demo_0_00001'?")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_scripts_lead_from_nothing_to_a_checkpoint_that_the_pipeline_loads(tmp_path):
    world, clip, checkpoint = tmp_path / "world", tmp_path / "clip", tmp_path / "checkpoint"
    run_example("make_world", world, "--num-videos", 2)
    run_example("train_demo_clip", clip, "--steps", 2, "--scenes-per-kind", 1, "--kinds-per-batch", 4)
    run_example("train_demo", world, clip, checkpoint, "--epochs", 1, "--batch-size", 4)
    retrieve = pipeline("video-moment-retrieval", model=str(checkpoint))
    video = str(world / "train_0_00001.mp4")
    result = retrieve(video, "a red circle")
    assert result["moments"]
    assert len(result["saliency"]) == round(result["duration"])
    printed = run_example("predict", video, "a red circle", "--model", checkpoint, "--plot", tmp_path / "a.png")
    assert "a red circle" in printed
    assert f"score {max(moment['score'] for moment in result['moments']):.2f}" in printed
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
