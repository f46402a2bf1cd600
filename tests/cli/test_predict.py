from __future__ import annotations

import errno
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from huggingface_hub import constants
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
from videolights_hf.demo import demo_checkpoint, demo_videos

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


def test_a_result_can_be_kept_in_every_format(model, video, tmp_path):
    targets = {name: tmp_path / f"out.{name}" for name in ("csv", "html", "edl", "otio", "vtt", "gif", "jsonl")}
    targets["reel"] = tmp_path / "reel.mp4"
    options = [word for name, path in targets.items() for word in (f"--{name}", str(path))]
    result = run(video, "a dog", "--model", model, "--top-k", "1", *options)
    assert result.exit_code == 0, result.output
    for name, path in targets.items():
        assert path.stat().st_size > 0
        assert (f"Wrote {path}" in result.stdout) == (name != "jsonl")
    assert 'src="data:' not in targets["html"].read_text()
    (line,) = targets["jsonl"].read_text().splitlines()
    assert (json.loads(line)["video"], json.loads(line)["query"]) == (video, "a dog")
    embedded = run(video, "a dog", "--model", model, "--html", str(targets["html"]), "--embed")
    assert embedded.exit_code == 0, embedded.output
    assert 'src="data:video/mp4;base64,' in targets["html"].read_text()
    assert_fails(run(video, "a dog", "--model", model, "--embed"), "--embed", code=2)


def test_several_videos_are_done_and_failures_named_at_the_end(model, video, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "c.mp4"):
        shutil.copy(video, videos / name)
    (videos / "b.mp4").write_text("This is not a video.")
    (tmp_path / "sentences.txt").write_text("a dog\na cat\n")
    options = ["--model", model, "--top-k", "1", "--sentences", str(tmp_path / "sentences.txt")]
    options += ["--csv", str(tmp_path / "tables"), "--cut", str(tmp_path / "cuts"), "--jsonl", "-"]
    result = run(str(videos), *options)
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(Path(line["video"]).name, line["query"]) for line in lines] == [
        (name, query) for name in ("a.mp4", "c.mp4") for query in ("a dog", "a cat")
    ]
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["a.csv", "c.csv"]
    assert sorted(path.name for path in (tmp_path / "cuts").iterdir()) == ["a", "c"]
    errors = [line for line in result.stderr.splitlines() if not line.startswith("Wrote ")]
    assert errors[0].startswith(f"Error: {videos / 'b.mp4'}: ")
    assert errors[1:] == ["2 of 3 videos are done."]
    # The same videos by name.
    again = run(
        str(videos / "a.mp4"),
        str(videos / "c.mp4"),
        "a dog",
        "a cat",
        "--model",
        model,
        "--top-k",
        "1",
        "--jsonl",
        "-",
    )
    assert again.exit_code == 0, again.output
    assert [json.loads(line) for line in again.stdout.splitlines()] == lines
    assert_fails(run(str(videos), "a dog", "--json", "-"), "--jsonl -", code=2)
    assert_fails(run(video, "a dog", "--edl", "-"), "--jsonl -", code=2)


def test_without_a_sentence_there_are_highlights(model, video, tmp_path):
    from videolights_hf.inference.generic import GENERIC_QUERIES, combine_generic

    out, sentences = tmp_path / "a.json", tmp_path / "b.json"
    result = run(video, "--model", model, "--json", str(out), "--top-k", "2")
    assert result.exit_code == 0, result.output
    assert "highlights" in result.stdout
    assert run(video, *GENERIC_QUERIES, "--model", model, "--json", str(sentences)).exit_code == 0
    expected = combine_generic(json.loads(sentences.read_text())["predictions"], 2)
    assert json.loads(out.read_text())["predictions"] == [expected]


def test_a_summary_is_as_long_as_asked_at_most(model, video, tmp_path):
    out = tmp_path / "new" / "short.mp4"
    result = runner.invoke(
        app, ["summarize", video, "--length", "6", "--output", str(out), "--model", model, "--device", "cpu"]
    )
    assert result.exit_code == 0, result.output
    assert f"Wrote {out}" in result.stdout
    with av.open(str(out)) as container:
        assert container.duration / 1e6 == pytest.approx(6, abs=0.15)
    assert_fails(runner.invoke(app, ["summarize", video, "--length", "0"]), "--length", code=2)


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
    assert_fails(run(video, "a dog", "--model", str(broken)), "damaged or cut short")


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


DEMO_VIDEO = str(demo_videos() / "demo_0_00000.mp4")


def test_zero_shot_compares_by_any_clip_like_model_and_says_what_it_is():
    clip = demo_checkpoint() / "backbones" / "clip"
    result = run(DEMO_VIDEO, "a red circle", "--model", "zero-shot", "--backbone", f"clip={clip}", "--top-k", "1")
    assert result.exit_code == 0, result.output
    assert "not trained to find moments" in result.stderr
    assert "Downloading" not in result.stderr
    assert [line.split()[2:4] for line in result.stdout.splitlines() if "moment 1" in line] == [["00:10.0", "00:16.0"]]


def test_without_a_model_and_a_network_it_says_what_there_is(tmp_path):
    command = [sys.executable, "-m", "videolights_hf", "predict", DEMO_VIDEO, "a red circle"]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Downloading openai/clip-vit-base-patch32 (600 MB)" in done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    for words in ("--model demo", "--model zero-shot --backbone clip=PATH", "videolights convert"):
        assert words in error


def test_a_backbone_from_elsewhere_takes_the_place_of_the_models_own(model, video, tmp_path):
    make_tiny_clip(seed=1).save_pretrained(tmp_path / "clip")

    def saliency(*options):
        result = run(video, "a dog", "--model", model, "--json", "-", *options)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["predictions"][0]["saliency"]

    own, same = saliency(), saliency("--backbone", f"clip={model}/backbones/clip")
    other = saliency("--backbone", f"clip={tmp_path / 'clip'}")
    assert same == own
    assert other != own


@pytest.mark.parametrize(
    ("backbone", "message", "code"),
    [
        ("clip", "is not NAME=PATH_OR_ID", 2),
        ("clip=/no/such", "There is no folder /no/such", 1),
        (f"clip={demo_checkpoint()}/backbones/clip", "are 64 wide, the processor expects 24", 1),
    ],
)
def test_a_backbone_that_does_not_fit_is_refused(model, video, backbone, message, code):
    assert_fails(run(video, "a", "--model", model, "--backbone", backbone), message, code=code)


def test_offline_downloads_nothing(video, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    result = run(video, "a dog", "--offline")
    assert constants.HF_HUB_OFFLINE
    assert result.exit_code == 1
    assert re.search(r"^Error: .*cannot be loaded from openai/clip-vit-base-patch32", result.stderr, re.M)
    assert "--model demo" in result.stderr


def test_the_bundled_model_has_a_name_and_highlights_are_listed():
    result = run(DEMO_VIDEO, "There is a red circle on stripes.", "--model", "demo", "--top-k", "1")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["moment", "1", "00:10.0", "00:15.0", "1.00"] in rows
    assert ["highlight", "1"] in [row[:2] for row in rows]


def test_low_scores_are_said_and_nothing_is_cut(tmp_path):
    cuts, out = tmp_path / "cuts", tmp_path / "out.json"
    other = DEMO_VIDEO.replace("00000", "00001")
    result = run(other, "a green circle", "--model", "demo", "--cut", str(cuts), "--json", str(out))
    assert result.exit_code == 0, result.output
    assert "All scores are below" in " ".join(result.stdout.split())
    assert "moment 1" not in result.stdout
    assert list(cuts.iterdir()) == []
    assert len(json.loads(out.read_text())["predictions"][0]["moments"]) > 0


def test_json_alone_goes_to_standard_output(model, video, tmp_path):
    result = run(video, "日本語の丸", "--model", model, "--json", "-", "--cut", str(tmp_path / "cuts"))
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert [found["query"] for found in content["predictions"]] == ["日本語の丸"]
    assert result.stdout.isascii()
    assert f"Wrote {tmp_path / 'cuts'}" in result.stderr


def test_a_console_that_is_not_utf_8_costs_nothing(model, video, tmp_path):
    command = [
        sys.executable,
        "-m",
        "videolights_hf",
        "predict",
        video,
        "日本語の丸",
        "--model",
        model,
        "--device",
        "cpu",
    ]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "日.json")],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "日.json").read_text(encoding="utf-8"))["predictions"][0]["query"] == "日本語の丸"
    assert b"?????" in done.stdout
    assert b"?.json" in done.stdout
    assert done.stderr == b""


def test_older_outputs_stay_whole_when_new_ones_cannot_be_written(model, video, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    picture, out = tmp_path / "a.png", tmp_path / "a.json"
    picture.write_text("older picture")
    out.write_text("older numbers")

    def run_out_of_space(path):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: run_out_of_space(path))
    result = run(video, "a dog", "--model", model, "--plot", str(picture))
    assert_fails(result, "The disk is full", "a.png")
    assert picture.read_text() == "older picture"
    monkeypatch.setattr(Path, "write_text", lambda path, text, **_: run_out_of_space(path))
    assert_fails(run(video, "a dog", "--model", model, "--json", str(out)), "The disk is full", "a.json")
    assert out.read_bytes() == b"older numbers"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["https://example.org/a.mp4", "a dog"], "https://example.org/a.mp4 is an address"),
        (["VIDEO", "second.mp4", "a dog"], "No such video file: second.mp4"),
        (["VIDEO", "a dog", "second.mp4"], "second.mp4 looks like a video, not a sentence"),
        (["VIDEO", "--sentences", "/nowhere.txt"], "No such file or directory: /nowhere.txt"),
        (["VIDEO", "http://example.org/b.mp4"], "is an address"),
        (["VIDEO", "\udce9t\udce9"], "not valid UTF-8"),
        (["VIDEO", "a dog", "--json", "."], ". is a folder"),
    ],
)
def test_what_is_not_a_video_and_a_sentence_is_refused_at_once(video, arguments, message):
    words = [video if word == "VIDEO" else word for word in arguments]
    assert_fails(run(*words, "--model", "/nowhere"), message)


def test_a_sentence_may_speak_of_a_file(model, video):
    assert run(video, "someone opens song.mp4 and sings", "--model", model).exit_code == 0


def test_stderr_of_a_good_run_is_empty(model, video):
    command = [sys.executable, "-m", "videolights_hf", "predict", video, "a dog", "--model", model, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


def predict_from_pipe(python, model, video, *options):
    command = ["-m", "videolights_hf", "predict", "-", "a dog", "--model", model, "--device", "cpu"]
    return python.run(*command, *options, stdin=Path(video).read_bytes() if video else b"")


def test_a_video_may_come_by_standard_input(python, model, video, tmp_path):
    done = predict_from_pipe(python, model, video, "--json", "-", "--cut", str(tmp_path), "--top-k", "1")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert run(video, "a dog", "--model", model, "--top-k", "1", "--json", str(tmp_path / "a.json")).exit_code == 0
    assert content["video"] == "-"
    assert content["predictions"] == json.loads((tmp_path / "a.json").read_text())["predictions"]
    assert len(list(tmp_path.glob("*.mp4"))) == 1


def test_empty_standard_input_is_one_line(python, model):
    done = predict_from_pipe(python, model, None)
    assert done.returncode == 1
    assert "Standard input" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_pipe_is_refused_in_one_line(model, tmp_path):
    os.mkfifo(tmp_path / "p.mp4")
    assert_fails(run(str(tmp_path / "p.mp4"), "a dog", "--model", model), "p.mp4")


def test_a_colon_in_a_name_is_no_protocol(model, video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(video, "13:28:35Z.mp4")
    result = run("13:28:35Z.mp4", "a dog", "--model", model, "--top-k", "1", "--cut", "take:2")
    assert result.exit_code == 0, result.output
    assert len(list(Path("take:2").iterdir())) == 1


@pytest.mark.parametrize("spoil", ["nan", "missing", "none"])
def test_weights_that_are_missing_or_not_finite_are_refused(model, video, tmp_path, spoil):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = load_file(broken / "model.safetensors")
    name = sorted(weights)[5]
    if spoil == "nan":
        weights[name].view(-1)[0] = float("nan")
    else:
        del weights[name]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    if spoil == "none":
        (broken / "model.safetensors").unlink()
    out = tmp_path / "out.json"
    assert_fails(run(video, "a dog", "--model", str(broken), "--json", str(out)), "broken")
    assert not out.exists()
