from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.support.videos import gray_frames, write_video
from videolights_hf.cli.main import app
from videolights_hf.data import read_annotations

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "subtitles").mkdir()
    for name in ("a", "b"):
        (tmp_path / "subtitles" / f"{name}.srt").write_text("1\n00:00:01,000 --> 00:00:02,500\na dog runs\n")
    return tmp_path


def annotate(path, *vids):
    rows = [{"qid": index, "query": "q", "vid": vid, "duration": 10.0} for index, vid in enumerate(vids)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(folder, *options):
    command = ["convert-subtitles", folder / "subtitles", folder / "asr.jsonl", *options]
    return runner.invoke(app, list(map(str, command)))


def test_durations_come_from_annotations_and_excluded_videos_are_left_out(folder):
    result = run(folder, "--durations", annotate(folder / "all.jsonl", "a", "b"),
                 "--exclude", annotate(folder / "val.jsonl", "b"))  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 videos; 1 left out" in result.stdout
    rows = read_annotations(folder / "asr.jsonl", "pretraining")
    assert [(row["vid"], row["query"], row["duration"]) for row in rows] == [("a", "a dog runs", 10.0)]


def test_durations_come_from_the_videos(folder):
    (folder / "videos").mkdir()
    write_video(folder / "videos" / "a.mp4", gray_frames([0] * 12), 4)
    (folder / "videos" / "b.mp4").write_text("no video")
    result = run(folder, "--videos", folder / "videos")
    assert result.exit_code == 0, result.output
    assert "Failed: b: " in result.stderr
    assert [row["duration"] for row in read_annotations(folder / "asr.jsonl", "pretraining")] == [3.0]


@pytest.mark.parametrize("options", [[], ["--videos", "x", "--durations", "y"]])
def test_durations_come_from_one_place(folder, options):
    result = run(folder, *options)
    assert result.exit_code == 2
    assert "either --videos or --durations" in result.stderr
