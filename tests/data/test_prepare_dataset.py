import subprocess
import sys
from pathlib import Path

import pytest

from videolights_hf.data import load_feature_dataset

SCRIPT = Path(__file__).parents[2] / "examples" / "prepare_dataset.py"


def prepare(corpus, *options, output="prepared"):
    root = corpus.root
    command = [
        *(sys.executable, SCRIPT, root / output, "--dataset", corpus.dataset),
        *("--annotations", *(f"{split}={root / split}.jsonl" for split in corpus.rows)),
        *("--video-features", f"slowfast={root}/slowfast_video", f"clip={root}/clip_video"),
        *("--text-features", f"clip={root}/clip_text", f"blip2={root}/blip2_text"),
        *options,
    ]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)


def test_the_script_builds_exports_and_says_what_it_wrote(corpus):
    done = prepare(corpus, "--num-proc", 2, "--strict", "--parquet", corpus.root / "parquet")
    assert done.returncode == 0, done.stderr
    assert load_feature_dataset(corpus.root / "prepared").num_rows == {"videos": 10, "train": 10, "val": 3}
    assert (corpus.root / "parquet" / "queries").is_dir()
    assert [line.split() for line in done.stdout.splitlines()[1:4]] == [
        ["videos", "10", "10"],
        ["train", "10", "10"],
        ["val", "3", "3"],
    ]


@pytest.mark.parametrize("strict", [False, True])
def test_strict_decides_whether_a_missing_file_is_fatal(corpus, strict):
    corpus.video_file("clip", "video 6").unlink()
    done = prepare(corpus, *["--strict"] * strict)
    assert done.returncode == int(strict)
    assert "video 6" in done.stderr
    assert "1 missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert (corpus.root / "prepared").exists() != strict


def test_the_clip_length_can_be_set(corpus):
    done = prepare(corpus, "--clip-length", 1.9, "--length-tolerance", 3)
    assert done.returncode == 0, done.stderr
    assert set(load_feature_dataset(corpus.root / "prepared")["train"]["clip_length"]) == {1.9}


def test_a_pair_without_a_path_is_refused(corpus):
    done = prepare(corpus, "--text-features", "clip")
    assert done.returncode == 2
    assert "'clip' is not NAME=PATH" in done.stderr
