"""Videos whose frames carry numbers, and backbones that read them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.support.tiny_backbones import WeightlessBackbone
from tests.support.videos import numbered_frames, read_number, write_video


class NumberBackbone(WeightlessBackbone):
    """Features that are the numbers of a clip's frames, so that they tell which frames it looked at."""

    text_dim = None
    frame_size = 48

    def __init__(self, name: str = "numbers", frames_per_clip: int = 1, batch_size: int = 64, limit: int = 10**6):
        self.name = name
        self.frames_per_clip = self.video_dim = frames_per_clip
        self.batch_size = batch_size
        self.limit = limit
        self.batches: list[int] = []

    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        import torch

        clips = len(frames) // self.frames_per_clip
        assert len(frames) == clips * self.frames_per_clip
        if min(clips, self.batch_size) > self.limit:
            raise torch.OutOfMemoryError(f"{clips} clips are too many")
        self.batches.append(clips)
        numbers = [read_number(frame) for frame in frames]
        return np.array(numbers, dtype=np.float32).reshape(clips, self.frames_per_clip)


def write_numbered(
    path: Path, count: int, fps: Fraction | float = 5, first: int = 0, times: Sequence[float] | None = None, **settings
) -> Path:
    """A video whose frames are numbered from `first`, modulo 256."""
    return write_video(path, numbered_frames(np.arange(first, first + count) % 256), fps, times=times, **settings)


def expected_numbers(times: Sequence[float], moments: Sequence[float], first: int = 0) -> list[int]:
    """The number of the frame that is on show just before each moment, where frames begin at `times`."""
    indices = np.searchsorted(np.asarray(times, dtype=float), np.asarray(moments, dtype=float), side="left") - 1
    return ((np.clip(indices, 0, len(times) - 1) + first) % 256).tolist()


def write_corpus(folder: Path, count: int = 10, seed: int = 0) -> dict[str, Path]:
    """Small videos of different lengths, their pictures noise: vid to path."""
    generator = np.random.default_rng(seed)
    paths = {}
    for index in range(count):
        length = int(generator.integers(4, 40))
        frames = generator.integers(0, 256, (length, 12, 16, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
        vid = f"video_{index:02d}"
        paths[vid] = write_video(folder / f"{vid}.mp4", frames, 2)
    return paths
