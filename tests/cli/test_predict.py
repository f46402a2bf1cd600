from __future__ import annotations

import importlib.util
import json
import shutil

import av
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support.tiny_backbones import make_tiny_clip
from tests.support.videos import gray_frames, write_video
from videolights_hf import (
    VideoLightsConfig,
    VideoLightsForMomentRetrieval,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.cli.main import app

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = VideoLightsConfig(
        video_backbones=[["clip", 24]],
        text_backbones=[["clip", 32]],
        max_video_length=10,
        hidden_size=16,
        num_attention_heads=4,
        intermediate_size=24,
    )
    torch.manual_seed(0)
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={})
    processor.set_backbone(make_tiny_clip())
    folder = tmp_path_factory.mktemp("model")
    VideoMomentRetrievalPipeline(VideoLightsForMomentRetrieval(config), processor, device="cpu").save_pretrained(
        folder
    )
    return str(folder)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return str(write_video(path, gray_frames(np.arange(160) * 7 % 240), 10))


def run(*arguments):
    return runner.invoke(app, ["predict", *arguments, "--device", "cpu"])


def test_everything_at_once(model, video, tmp_path):
    json_path, picture, cuts = tmp_path / "new" / "out.json", tmp_path / "new" / "out.png", tmp_path / "cuts"
    sentences = ["a red square", "it is [bold]../blue"]
    result = run(
        video, *sentences, "--model", model, "--json", str(json_path), "--plot", str(picture), "--cut", str(cuts),
        "--top-k", "2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for sentence in sentences:
        assert sentence in result.stdout

    content = json.loads(json_path.read_text(encoding="utf-8"))
    assert content["video"] == video
    assert content["model"] == model
    assert [found["query"] for found in content["predictions"]] == sentences
    moments = [moment for found in content["predictions"] for moment in found["moments"]]
    assert 2 <= len(moments) <= 4
    for moment in moments:
        assert f"{moment['score']:.2f}" in result.stdout
        assert f"00:{moment['start']:04.1f}" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")

    files = sorted(cuts.iterdir())
    assert len(files) == len(moments)
    assert {path.name.split("_")[0] for path in files} == {"a-red-square", "it-is-bold-blue"}
    for moment in content["predictions"][0]["moments"]:
        path = cuts / f"a-red-square_{moment['start']:06.1f}-{moment['end']:06.1f}.mp4"
        with av.open(str(path)) as container:
            num_frames = sum(1 for _ in container.decode(video=0))
        assert num_frames == pytest.approx((moment["end"] - moment["start"]) * 10, abs=1)


def test_the_table_alone_is_printed_by_default(model, video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(video, "a dog", "--model", model)
    assert result.exit_code == 0, result.output
    assert "a dog" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_command_finds_what_the_pipeline_finds(model, video, tmp_path):
    from transformers import pipeline

    path = tmp_path / "out.json"
    settings = ["--top-k", "3", "--threshold", "0.2", "--nms", "0.4", "--batch-size", "1", "--dtype", "float32"]
    assert run(video, "a dog", "--model", model, "--json", str(path), *settings).exit_code == 0
    finder = pipeline("video-moment-retrieval", model=model, device="cpu")
    expected = finder(video, "a dog", top_k=3, score_threshold=0.2, nms_threshold=0.4)
    assert json.loads(path.read_text())["predictions"] == [expected]


def test_nothing_found_is_said(model, video):
    result = run(video, "a dog", "--model", model, "--threshold", "1")
    assert result.exit_code == 0, result.output
    assert "No moment found" in result.stdout


def test_half_precision_runs(model, video):
    result = run(video, "a dog", "--model", model, "--dtype", "bfloat16")
    assert result.exit_code == 0, result.output


def test_a_sentence_that_is_too_long_is_a_warning(model, video):
    result = run(video, "word " * 60, "--model", model)
    assert result.exit_code == 0, result.output
    assert "Warning: " in result.stderr


def assert_fails(result, *words, code=1):
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr
    if code == 1:
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1


def test_a_missing_video_is_named(model):
    assert_fails(run("nowhere.mp4", "a dog", "--model", model), "nowhere.mp4")


def test_a_file_that_is_no_video_is_named(model, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("This is not a video.")
    assert_fails(run(str(path), "a dog", "--model", model), "notes.mp4")


def test_an_empty_sentence_is_refused(model, video):
    assert_fails(run(video, " ", "--model", model), "entence 0")


@pytest.mark.parametrize("folder", ["/nowhere/model", "./nowhere", "a/b/c"])
def test_a_missing_model_folder_is_named(video, folder):
    assert_fails(run(video, "a dog", "--model", folder), f"No such model folder: {folder}")


def test_a_model_of_another_kind_is_named(model, video):
    assert_fails(run(video, "a dog", "--model", f"{model}/backbones/clip"), "type 'clip'")


def test_a_folder_without_a_model_is_said(video, tmp_path):
    assert_fails(run(video, "a dog", "--model", str(tmp_path)), str(tmp_path))


def test_a_broken_checkpoint_is_one_line(model, video, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not safetensors")
    assert_fails(run(video, "a dog", "--model", str(broken)), "cannot be loaded")


def test_a_broken_config_is_one_line(model, video, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    assert_fails(run(video, "a dog", "--model", str(broken)), "hidden_size")


def test_a_device_that_is_not_there_is_named(model, video):
    result = runner.invoke(app, ["predict", video, "a dog", "--model", model, "--device", "warp:3"])
    assert_fails(result, "warp:3")


def test_an_unknown_picture_format_is_refused_before_the_work(video, tmp_path):
    result = run(video, "a dog", "--model", "/nowhere", "--plot", str(tmp_path / "picture.docx"))
    assert_fails(result, "--plot", ".png", code=2)


def test_a_missing_extra_is_said_before_the_work(video, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else find(name, *rest)
    )
    result = run(video, "a dog", "--model", "/nowhere", "--plot", str(tmp_path / "picture.png"))
    assert_fails(result, "videolights-hf[viz]")


@pytest.mark.parametrize("arguments", [["--top-k", "0"], ["--nms", "2"], ["--threshold", "-1"], ["--dtype", "int8"]])
def test_settings_that_make_no_sense_are_usage_errors(model, video, arguments):
    assert_fails(run(video, "a dog", "--model", model, *arguments), arguments[0], code=2)


def test_a_model_must_be_named(video):
    assert_fails(run(video, "a dog"), "--model", code=2)
