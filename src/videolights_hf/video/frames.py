"""What every source of pictures gives: frames with their times, and basic facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from .files import VideoReadError
from .limits import MAX_HOURS, MAX_MEGAPIXELS

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]


@dataclass(frozen=True)
class VideoMetadata:
    """Basic facts about a video.

    Attributes:
        duration: From the first picture's start to the last one's end, in seconds.
        num_frames: Number of pictures.
        fps: Pictures per second, on average.
        width: Width as displayed (rotation applied), in pixels.
        height: Height as displayed, in pixels.
    """

    duration: float
    num_frames: int
    fps: float
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """A picture that is scaled only if it is wanted, and the counter-clockwise quarter turns that set it upright."""

    time: Fraction
    load: Callable[[], av.VideoFrame]
    quarter_turns: int = 0

    def scale(self, size: int) -> np.ndarray:
        """The upright picture, its shorter side scaled to `size`: (H, W, 3) uint8 RGB."""
        frame = self.load()
        width, height = frame.width, frame.height
        if height >= width:
            width, height = size, height * size // width
        else:
            width, height = width * size // height, size
        scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC").to_ndarray()
        return np.ascontiguousarray(np.rot90(scaled, self.quarter_turns))

    def crop(self, size: int) -> np.ndarray:
        """Center square of the upright picture, its shorter side scaled to `size`: (size, size, 3) uint8 RGB."""
        upright = self.scale(size)
        top, left = (upright.shape[0] - size) // 2, (upright.shape[1] - size) // 2
        return np.ascontiguousarray(upright[top : top + size, left : left + size])


class Source(Protocol):
    """Pictures with their times.

    Attributes:
        name: What messages call it.
        duration: Its length in seconds.
        frame_rate: The average frames per second that it states.
        metadata: Basic facts.
    """

    name: str
    duration: Fraction
    frame_rate: Fraction
    metadata: VideoMetadata

    def count_frames(self, start: Fraction, end: Fraction) -> int:
        """Number of frames that begin between two times."""
        ...

    def frames(self, start: Fraction = Fraction(0)) -> Iterator[Frame]:
        """All frames in order, from the one on show at a time or an earlier one."""
        ...


def check_duration(name: str, duration: Fraction) -> None:
    """Refuse a video that announces too many hours."""
    if duration > MAX_HOURS.value() * 3600:
        raise VideoReadError(f"{name} announces {float(duration) / 3600:.1f} hours ({MAX_HOURS.remedy()}).")


def check_picture_size(name: str, width: int, height: int) -> None:
    """Refuse pictures that are announced too large."""
    if width * height > MAX_MEGAPIXELS.value() * 1e6:
        raise VideoReadError(
            f"{name} announces pictures of {width} x {height} pixels ({MAX_MEGAPIXELS.remedy()} megapixels)."
        )
