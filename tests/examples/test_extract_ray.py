"""The same features over Ray as from a single process, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.corpora import write_corpus
from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf.backbones import load_backbones
from videolights_hf.extraction import ExtractionSettings, extract_video_features, find_videos

pytest.importorskip("ray.data", reason='examples/extract_ray.py needs Ray: pip install "ray[data]"')
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "clip_features").iterdir()}


def test_features_are_those_of_a_single_process_to_the_byte(tmp_path):
    videos, clip = tmp_path / "videos", tmp_path / "clip"
    videos.mkdir()
    write_corpus(videos, 36)
    (videos / "video_20.mp4").write_text("no video")
    make_tiny_clip(image_size=48).save_pretrained(clip)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = ExtractionSettings(checkpoints={"clip": str(clip)}, progress=False)
    extract_video_features(find_videos(videos), tmp_path / "one", load_backbones(settings.checkpoints), settings)
    torch.set_num_threads(threads)
    command = [sys.executable, "examples/extract_ray.py", videos, tmp_path / "ray", "--backbone", f"clip={clip}"]
    done = subprocess.run(
        [*map(str, command), "--workers", "2", "--cpus", "0.5"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert "0 done, 35 already there, 1 failed" in done.stdout
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")
    assert len(contents(tmp_path / "ray")) == 36
    (failure,) = (json.loads(line) for line in (tmp_path / "ray" / "failed.jsonl").read_text().splitlines())
    assert failure["vid"] == "video_20"
