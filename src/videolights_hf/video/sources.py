"""Where pictures come from: video files, arrays and lists of images, each picture with its exact time.

Prediction, extraction, thumbnails and excerpts all open videos here, and so have the same streams, clock,
orientation and tolerance to damage.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import IO, Any, TypeAlias, cast

import numpy as np

from .files import VideoReadError, require_pyav
from .film import FileSource
from .frames import Frame, Source, VideoMetadata, check_duration
from .sampling import positive_fraction

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

# A path, a binary file object, an array (T, H, W, 3) of RGB uint8, or a list of PIL images.
VideoInput: TypeAlias = "str | os.PathLike[str] | IO[bytes] | np.ndarray | Sequence[Any]"


def open_source(video: VideoInput, fps: float | None) -> Source:
    """Open a video of any form; for arguments and errors see `VideoReader`."""
    require_pyav()
    if isinstance(video, (str, os.PathLike)) or hasattr(video, "read"):
        if fps is not None:
            raise ValueError("`fps` is for arrays and lists of frames: a video file carries its own timestamps.")
        return FileSource(cast("str | os.PathLike[str] | IO[bytes]", video))
    return ArraySource(video, fps)


def cut_source(source: Source, start: float, end: float | None) -> SourcePart:
    """The part of a source between two times in seconds; for errors see `VideoReader`."""
    first = Fraction(0) if start == 0 else positive_fraction("start", start)
    last = source.duration if end is None else positive_fraction("end", end)
    if last <= first and end is not None:
        raise ValueError(f"A part of a video starts before it ends, got {start:g} s to {end:g} s.")
    if first >= source.duration:
        raise VideoReadError(
            f"{source.name} lasts {float(source.duration):.1f} s, so no part of it starts at {start:g} s."
        )
    return SourcePart(source, first, min(last, source.duration))


class SourcePart:
    """What a source shows from one time to another, with times that count from the first."""

    def __init__(self, source: Source, start: Fraction, end: Fraction):
        self._source, self.start, self._end = source, start, end
        self.name = source.name
        self.duration = end - start
        self.frame_rate = source.frame_rate
        num_frames = source.count_frames(start, end)
        self.metadata = replace(
            source.metadata,
            duration=float(self.duration),
            num_frames=num_frames,
            fps=float(num_frames / self.duration),
        )

    def count_frames(self, start: Fraction, end: Fraction) -> int:
        """Number of frames that begin between two times."""
        return self._source.count_frames(self.start + start, self.start + end)

    def frames(self, start: Fraction = Fraction(0)) -> Iterator[Frame]:
        """The frames from the one on show at the start; those before have negative times."""
        for frame in self._source.frames(self.start + start):
            if frame.time >= self._end:
                return
            yield replace(frame, time=frame.time - self.start)


class ArraySource:
    """Frames in memory, one every 1 / fps seconds."""

    def __init__(self, frames: np.ndarray | Sequence[Any], fps: float | None):
        if fps is None:
            raise ValueError("An array or a list of frames needs `fps`, its frames per second.")
        self.name = "The video"
        self.frame_rate = positive_fraction("fps", fps)
        self._frames = frames if isinstance(frames, (list, tuple)) else np.asarray(frames)
        if isinstance(self._frames, np.ndarray) and self._frames.ndim != 4:
            raise VideoReadError(f"An array of frames has the shape (T, H, W, 3), got {self._frames.shape}.")
        if len(self._frames) == 0:
            raise VideoReadError("The video has no frames: the array or list is empty.")
        height, width = self._picture(0).shape[:2]
        self.duration = len(self._frames) / self.frame_rate
        check_duration(self.name, self.duration)
        self.metadata = VideoMetadata(float(self.duration), len(self._frames), float(self.frame_rate), width, height)

    def count_frames(self, start: Fraction, end: Fraction) -> int:
        """Number of frames that begin between two times."""
        return math.ceil(end * self.frame_rate) - math.ceil(start * self.frame_rate)

    def frames(self, start: Fraction = Fraction(0)) -> Iterator[Frame]:
        """All frames in order, from the one on show at a time."""
        for index in range(math.floor(start * self.frame_rate), len(self._frames)):
            yield Frame(index / self.frame_rate, self._loader(index))

    def _loader(self, index: int) -> Callable[[], av.VideoFrame]:
        return lambda: av.VideoFrame.from_ndarray(self._picture(index))

    def _picture(self, index: int) -> np.ndarray:
        frame = self._frames[index]
        picture = np.asarray(frame.convert("RGB") if hasattr(frame, "convert") else frame)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
            raise VideoReadError(
                f"Frame {index} has the shape {picture.shape} and dtype {picture.dtype}: frames are RGB, (H, W, 3), "
                "uint8 from 0 to 255. Move the channels last and scale the values."
            )
        return np.ascontiguousarray(picture)
