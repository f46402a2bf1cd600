"""Simulated features are those that the tables of docs/results.md were made from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulated_features import Simulation, clip_relevance, simulate

ROWS = {
    "qvhighlights": [
        {"qid": 1, "query": "A dog runs on the beach.", "vid": "a", "duration": 40, "relevant_windows": [[4, 10]],
         "relevant_clip_ids": [2, 3, 4], "saliency_scores": [[4, 3, 2], [1, 1, 1], [0, 2, 4]]},
        {"qid": 2, "query": "???", "vid": "a", "duration": 40, "relevant_windows": [[0, 2], [30.5, 31]]},
        {"qid": 3, "query": "It's a man, with her 2 cats", "vid": "b", "duration": 3.0},
    ],
    "tvsum": [{"qid": "x", "query": "title", "vid": "x", "duration": 30, "domain": "BK",
               "label": [[1 + (clip + rater) % 5 for rater in range(20)] for clip in range(30)]}],
}  # fmt: skip
# Of the arrays that the original tool wrote for these rows.
HASHES = {"qvhighlights": "5abee1598b2c19f2", "tvsum": "010ddfd9e18776f5"}


def write(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def arrays_in(folder: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path) as file:
            arrays |= {f"{path.relative_to(folder)}/{name}": file[name] for name in file.files}
    return arrays


def digest(arrays: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.shape} {array.dtype}".encode())
        total.update(array.astype("<f2").tobytes())
    return total.hexdigest()[:16]


@pytest.mark.parametrize("dataset", ROWS)
def test_arrays_have_the_recorded_hashes_with_any_number_of_workers(tmp_path, dataset):
    path = write(tmp_path, ROWS[dataset])
    for workers in (1, 2):
        output = tmp_path / str(workers)
        simulate([path], output, Simulation(dataset), workers=workers)
        assert digest(arrays_in(output)) == HASHES[dataset]


@pytest.mark.parametrize("dataset", ROWS)
def test_arrays_are_those_of_the_original_tool(tmp_path, dataset):
    tool = Path(os.environ.get("VIDEOLIGHTS_GOLDEN_ROOT", "/nowhere"), "tools", "simulate_features.py")
    if not tool.is_file():
        pytest.skip("set VIDEOLIGHTS_GOLDEN_ROOT to compare with the original tool")
    path = write(tmp_path, ROWS[dataset])
    options = ["--dataset", dataset, "--limit", "2", "--dims", "7", "6", "5", "--seed", "3", "--clip-length", "1.5"]
    command = [sys.executable, tool, "--annotations", path, "--out", tmp_path / "theirs", *options, "--workers", "1"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    simulate([path], tmp_path / "ours", Simulation(dataset, 1.5, (7, 6, 5), seed=3), limit=2)
    ours, theirs = arrays_in(tmp_path / "ours"), arrays_in(tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
        assert ours[name].dtype == array.dtype


def test_relevance_is_the_annotators_or_the_windows():
    graded = clip_relevance(ROWS["qvhighlights"][0], 4, 2.0)
    np.testing.assert_allclose(graded, [0, 0, 0.25 + 0.75 * 3 / 4, 0.25 + 0.75 / 4])
    np.testing.assert_allclose(clip_relevance({"relevant_windows": [[1, 4], [5.5, 5.6]]}, 4, 2.0), [0.6, 0.6, 0.6, 0])


def test_a_line_that_is_not_json_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}}\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl:1: not JSON"):
        simulate([tmp_path / "rows.jsonl"], tmp_path / "out", Simulation())
