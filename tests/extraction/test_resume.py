import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support import extraction_killed_run as killed_run
from tests.support.corpora import write_corpus

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_corpus(folder, 10)
    (folder / "video_03.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """What a run that nobody kills writes."""
    output = tmp_path_factory.mktemp("whole")
    # Sums are split between threads, so that their number changes the last digits.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    killed_run.extract(videos, output)
    torch.set_num_threads(threads)
    return {path.relative_to(output): path.read_bytes() for path in killed_run.written(output)}


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_that_was_killed_at_any_moment_and_repeated_gives_the_same_bits(videos, whole, tmp_path, seed):
    finished = subprocess.run(
        [sys.executable, "-m", "tests.support.extraction_killed_run", str(videos), str(tmp_path), str(seed)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    stops = json.loads(finished.stdout)
    assert all(stop["killed"] for stop in stops)
    counts = [len(stop["files"]) for stop in stops]
    assert counts == sorted(counts)
    assert counts[-1] < len(whole) == 18
    for stop in stops:
        for path, content in stop["files"].items():
            assert bytes.fromhex(content) == whole[Path(path).relative_to(tmp_path)], "a half-written file was seen"
    assert {path.relative_to(tmp_path): path.read_bytes() for path in killed_run.written(tmp_path)} == whole
    hidden = [path for path in tmp_path.rglob(".*") if path.is_file()]
    assert not hidden
