from __future__ import annotations

import sys
from importlib import import_module

import pytest
from transformers import pipeline

import videolights_hf  # noqa: F401  registers the pipeline


def run_example(monkeypatch, name: str, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    import_module(f"examples.{name}").main()


def test_demo_prints_the_truth_beside_the_moments_and_writes_the_picture(monkeypatch, capsys, tmp_path):
    run_example(monkeypatch, "demo", "--output", tmp_path)
    printed = capsys.readouterr().out
    assert "true moments" in printed
    assert "15-25  " in printed
    assert (tmp_path / "demo_0_00000.png").read_bytes().startswith(b"\x89PNG")


def test_demo_says_when_it_finds_nothing(monkeypatch, capsys, tmp_path):
    run_example(monkeypatch, "demo", "--output", tmp_path, "--video", "demo_0_00001", "--query", "a green circle")
    assert "none" in capsys.readouterr().out


@pytest.mark.slow
def test_scripts_lead_from_nothing_to_a_checkpoint_that_the_pipeline_loads(monkeypatch, tmp_path):
    world, clip, checkpoint = tmp_path / "world", tmp_path / "clip", tmp_path / "checkpoint"
    run_example(monkeypatch, "make_world", world, "--num-videos", 2)
    run_example(monkeypatch, "train_demo_clip", clip, "--steps", 2, "--scenes-per-kind", 1, "--kinds-per-batch", 4)
    run_example(monkeypatch, "train_demo", world, clip, checkpoint, "--epochs", 1, "--batch-size", 4)
    retrieve = pipeline("video-moment-retrieval", model=str(checkpoint))
    result = retrieve(str(world / "train_0_00001.mp4"), "a red circle")
    assert result["moments"]
    assert len(result["saliency"]) == round(result["duration"])
