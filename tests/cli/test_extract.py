from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.corpora import write_corpus, write_numbered
from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf.cli.main import app
from videolights_hf.video.reader import read_video_metadata

ROOT = Path(__file__).parents[2]
runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    make_tiny_clip(image_size=48).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "videos").mkdir()
    write_corpus(tmp_path / "videos", 4)
    return tmp_path


@pytest.fixture
def run(folder, checkpoint):
    def run(*arguments, videos=folder / "videos"):
        backbone = [] if "--backbone" in arguments else ["--backbone", f"clip={checkpoint}"]
        options = [*backbone, "--device", "cpu"]
        return runner.invoke(app, ["extract", str(videos), str(folder / "out"), *options, *map(str, arguments)])

    return run


def annotate(folder, name="val", **changes):
    rows = []
    for index, path in enumerate(sorted((folder / "videos").glob("*.mp4"))):
        duration = read_video_metadata(path).duration
        rows.append({"qid": index, "query": f"query {index}", "vid": path.stem, "duration": duration, **changes})
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def files_in(folder):
    return sorted(path.name for path in folder.glob("*.npz"))


def test_a_folder_of_videos(run, folder):
    result = run()
    assert result.exit_code == 0, result.output
    assert "4 done, 0 already there, 0 failed" in result.stdout
    assert files_in(folder / "out" / "clip_features") == [f"video_0{index}.npz" for index in range(4)]
    assert "0 done, 4 already there, 0 failed" in run().stdout


def test_options_reach_the_features(run, folder, checkpoint):
    result = run("--stored-dtype", "float32", "--clip-length", "0.5", "--dtype", "bfloat16", "--decoders", "1")
    assert result.exit_code == 0, result.output
    settings = json.loads((folder / "out" / "clip_features" / "extraction.json").read_text())
    assert settings["checkpoint"] == str(checkpoint)
    assert (settings["dtype"], settings["clip_length"], settings["compute_dtype"]) == ("float32", 0.5, "bfloat16")
    with np.load(folder / "out" / "clip_features" / "video_00.npz") as file:
        assert file["features"].dtype == np.float32


def test_a_pattern_and_a_list(run, folder):
    assert "2 done" in run(videos=folder / "videos" / "*_0[01].mp4").stdout
    (folder / "list.txt").write_text("videos/video_03.mp4\n")
    assert "1 done" in run(videos=folder / "list.txt").stdout
    assert files_in(folder / "out" / "clip_features") == ["video_00.npz", "video_01.npz", "video_03.npz"]


def test_the_videos_of_annotations_alone(run, folder):
    path = annotate(folder)
    path.write_text("\n".join(path.read_text().splitlines()[:2]))
    assert "2 done" in run("--annotations", path).stdout


def test_parts_are_cut_from_longer_videos(run, folder):
    write_numbered(folder / "videos" / "yt_-1.mp4", 100)
    path = annotate(folder, vid="yt_-1_4.0_14.0", duration=10.0)
    result = run("--annotations", path)
    assert result.exit_code == 0, result.output
    with np.load(folder / "out" / "clip_features" / "yt_-1_4.0_14.0.npz") as file:
        assert len(file["features"]) == 5


def test_straight_to_the_dataset(run, folder):
    from videolights_hf.data import load_feature_dataset

    path = annotate(folder)
    result = run("--annotations", f"val={path}", "--dataset-output", folder / "dataset", "--clip-length", "1")
    assert result.exit_code == 0, result.output
    assert f"Wrote {folder / 'dataset'}: 4 videos, 4 val" in result.stdout
    # No loading bars in logs.
    assert "%|" not in result.stderr
    tables = load_feature_dataset(folder / "dataset")
    assert tables["val"][0]["clip_length"] == 1.0
    assert files_in(folder / "out" / "clip_text_features") == [f"qid{index}.npz" for index in range(4)]


def test_failed_videos_are_listed_and_strict_makes_them_an_error(run, folder):
    for index in range(12):
        (folder / "videos" / f"bad_{index:02d}.mp4").write_text("no video")
    result = run()
    assert result.exit_code == 0
    assert "4 done, 0 already there, 12 failed (failed.jsonl names them)" in result.stdout
    assert result.stderr.count("Failed: bad_") == 10
    assert "... and 2 more" in result.stderr
    assert len((folder / "out" / "failed.jsonl").read_text().splitlines()) == 12
    assert run("--strict").exit_code == 1


def test_if_nothing_at_all_has_features_that_is_an_error(run, folder):
    for path in (folder / "videos").iterdir():
        path.write_text("no video")
    assert run().exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "clap"], "Unknown backbone 'clap'. Did you mean 'clip'?"),
        (["--backbone", "clip="], "NAME=PATH_OR_ID"),
        (["--backbone", "clip", "--backbone", "clip=/x"], "given twice"),
        (["--backbone-batch-size", "clip=0"], "--backbone-batch-size"),
        (["--backbone-batch-size", "blip2=8"], "--backbone-batch-size"),
        (["--clip-length", "0"], "--clip-length"),
        (["--dataset", "qvhighlight"], "Did you mean 'qvhighlights'?"),
        (["--dataset-output", "x"], "--annotations"),
        (["--audio-features", "x"], "--dataset-output"),
        (["--annotations", "a.jsonl", "--annotations", "a.jsonl"], "given twice"),
        (["--annotations", "nowhere.jsonl"], "No such file or directory: nowhere.jsonl"),
        (["--device", "gpu0"], "There is no device 'gpu0'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run, folder, arguments, message):
    result = run(*arguments)
    assert result.exit_code != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "out").exists()


def test_videos_that_are_not_there_are_said_before_a_backbone_is_loaded(run, folder):
    result = run("--backbone", "clip=/nowhere", videos=folder / "nothing")
    assert result.exit_code == 1
    assert "There is no folder, list or pattern" in result.stderr


def test_other_settings_are_refused(run):
    assert run().exit_code == 0
    result = run("--stored-dtype", "float32")
    assert result.exit_code == 1
    assert "dtype is 'float16' there and 'float32' now" in result.stderr


def test_the_example_is_the_command(python, folder, checkpoint):
    script = ["examples/extract_features.py", folder / "videos", folder / "out"]
    finished = python.run(*script, "--backbone", f"clip={checkpoint}", "--device", "cpu")
    assert finished.returncode == 0, finished.stderr
    assert "4 done" in finished.stdout
    # A line, not a bar: it is a log.
    assert re.search(r"^Extracting video features: 4/4 videos, [\d.]+ clips/s$", finished.stderr, re.M)
    assert "%|" not in finished.stderr
