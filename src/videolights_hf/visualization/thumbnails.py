"""Small pictures of a video at given times."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..video.reader import VideoReader, VideoSource

# Taller or wider pictures are cut to these proportions, so that a strip keeps its shape.
NARROWEST, WIDEST = 0.6, 2.0


def read_thumbnails(video: Any, fps: float | None, times: Sequence[float], size: int) -> list[np.ndarray]:
    """Decode a video once and keep small pictures.

    Args:
        video: A path, a file object, an array of frames (T, H, W, 3), a list of PIL images, or a part of one of these.
        fps: Frames per second of a video given as frames.
        times: Seconds from the start, in any order.
        size: Shorter side of the pictures in pixels.

    Returns:
        For each time a picture (H, W, 3) uint8, all of one size.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The video cannot be read, or `fps` is missing or out of place.
    """
    order = sorted(range(len(times)), key=times.__getitem__)
    reader = video.open() if isinstance(video, VideoSource) else VideoReader(video, fps)
    frames = reader.frames_at(Fraction(times[index]) for index in order)
    pictures: dict[int, np.ndarray] = {}
    for index, frame in zip(order, frames, strict=True):
        pictures[index] = _trim(frame.scale(size))
    # A stream may change its size on the way.
    height, width = pictures[order[0]].shape[:2] if order else (0, 0)
    return [_fill(pictures[index], height, width) for index in range(len(times))]


def _trim(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return _fill(picture, min(height, round(width / NARROWEST)), min(width, round(height * WIDEST)))


def _fill(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The center of a picture, on black where it is smaller."""
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    rows, columns = min(height, picture.shape[0]), min(width, picture.shape[1])
    top, left = (height - rows) // 2, (width - columns) // 2
    first, second = (picture.shape[0] - rows) // 2, (picture.shape[1] - columns) // 2
    canvas[top : top + rows, left : left + columns] = picture[first : first + rows, second : second + columns]
    return canvas


__all__ = ["read_thumbnails"]
