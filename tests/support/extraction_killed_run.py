"""An extraction that is killed again and again: started by the tests, in a process of its own.

Everything is imported once; each run is a fork of this process, which has not computed anything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
import unittest.mock
from pathlib import Path

import torch

from tests.support.corpora import NumberBackbone
from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf.extraction import ExtractionSettings, extract_video_features, find_videos
from videolights_hf.extraction import video as video_module


def extract(videos: Path, output: Path) -> None:
    """The whole run, with batches across few videos so that there are many moments to be killed at."""
    clip = make_tiny_clip(image_size=48)
    clip.batch_size = 5
    backbones = [clip, NumberBackbone("many", 32, batch_size=3)]
    with unittest.mock.patch.object(video_module, "VIDEOS_PER_GROUP", 4):
        settings = ExtractionSettings(dtype="float32", num_threads=2, progress=False)
        extract_video_features(find_videos(videos), output, backbones, settings)


def written(output: Path) -> list[Path]:
    return sorted(output.glob("*_features/*.npz"))


def killed(videos: Path, output: Path, files: int, delay: float) -> bool:
    """Start a run and kill it some time after it wrote this many files; whether it was still running."""
    child = os.fork()
    if child == 0:
        extract(videos, output)
        os._exit(0)
    while len(written(output)) < files:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the run ended by itself"
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("videos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("seed", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = random.Random(options.seed)
    seen = []
    # Each target is beyond what the run before may have written in its last milliseconds.
    for files in (0, 3, 8, 13):
        was_killed = killed(options.videos, options.output, files, generator.uniform(0, 0.02))
        seen.append({"killed": was_killed, "files": {str(p): p.read_bytes().hex() for p in written(options.output)}})
    extract(options.videos, options.output)
    print(json.dumps(seen))
