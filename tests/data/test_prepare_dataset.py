"""`videolights prepare`, and the example script of the same name."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from videolights_hf.cli.main import app
from videolights_hf.data import load_feature_dataset

SCRIPT = Path(__file__).parents[2] / "examples" / "prepare_dataset.py"


def pairs(corpus):
    root = corpus.root
    values = [
        *(("--annotations", f"{split}={root / split}.jsonl") for split in corpus.rows),
        *(("--video-features", f"{name}={root}/{name}_video") for name in ("slowfast", "clip")),
        *(("--text-features", f"{name}={root}/{name}_text") for name in ("clip", "blip2")),
    ]
    return [word for pair in values for word in pair]


def prepare(corpus, *options, output="prepared"):
    command = ["prepare", corpus.root / output, "--dataset", corpus.dataset, *pairs(corpus), *options]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, command)))


def cells(output):
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]


def test_builds_exports_and_says_what_it_wrote(corpus):
    done = prepare(corpus, "--num-proc", 2, "--strict", "--parquet", corpus.root / "parquet")
    assert done.exit_code == 0, done.output
    # No loading bars in logs.
    assert "%|" not in done.stderr
    tables = load_feature_dataset(corpus.root / "prepared")
    assert tables.num_rows == {"videos": 10, "train": 10, "val": 3}
    assert [name for name in tables["videos"].column_names if name.startswith("video_")] == [
        "video_slowfast",
        "video_clip",
    ]
    assert (corpus.root / "parquet" / "queries").is_dir()
    assert cells(done.stdout) == [["videos", "10", "10"], ["train", "10", "10"], ["val", "3", "3"]]
    assert f"Wrote {corpus.root / 'prepared'}" in done.stdout


@pytest.mark.parametrize("strict", [False, True])
def test_strict_decides_whether_a_missing_file_is_fatal(corpus, strict, caplog):
    corpus.video_file("clip", "video 6").unlink()
    done = prepare(corpus, *["--strict"] * strict)
    assert done.exit_code == int(strict)
    said = done.stderr + caplog.text
    assert "video 6" in said
    assert "no video 6 (.npz, .npy or .pt)" in said
    assert "Problem(" not in said
    assert (corpus.root / "prepared").exists() != strict
    assert strict or "1 feature files cannot be used" in done.stdout
    assert not strict or done.stderr.splitlines()[-1].startswith(f"Error: {corpus.root}/clip_video/video 6: no ")


def test_the_clip_length_can_be_set(corpus):
    done = prepare(corpus, "--clip-length", 1.9, "--length-tolerance", 3)
    assert done.exit_code == 0, done.output
    assert set(load_feature_dataset(corpus.root / "prepared")["train"]["clip_length"]) == {1.9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text-features", "clip"], "'clip' is not NAME=DIR"),
        (["--annotations", "train=again.jsonl"], "'train' is given twice"),
        (["--private"], "--push-to-hub"),
    ],
)
def test_faults_of_the_command_line_are_usage_errors(corpus, options, message):
    done = prepare(corpus, *options)
    assert done.exit_code == 2
    assert message in done.stderr


def test_the_example_is_a_short_form_of_the_command(python, corpus):
    command = [SCRIPT, corpus.root / "prepared", *pairs(corpus)]
    done = python.run(*command)
    assert done.returncode == 0, done.stderr
    assert load_feature_dataset(corpus.root / "prepared").num_rows == {"videos": 10, "train": 10, "val": 3}
    command[-1] = "blip2=/nowhere"
    done = python.run(*command, "--overwrite")
    assert done.returncode == 1
    assert done.stderr == "Error: The feature folder /nowhere does not exist.\n"
