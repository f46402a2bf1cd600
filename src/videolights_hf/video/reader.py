"""Frames of a video at the times that the backbones ask for, decoded once, in order, whatever the video's length.

**Which frame stands for a clip.** A video of `duration` seconds has `floor(duration / clip_length + 1/2)` clips. The
frame of clip i is the last one presented *before* `(i + 1/2) * clip_length`, the middle of the clip. This is what
ffmpeg's filter `fps=1/clip_length` keeps: it rounds each frame's timestamp to the nearest multiple of the clip length
(halves up) and lets the last frame that rounds to i or less stand for i. A backbone that looks at n frames a clip gets
what `fps=n/clip_length` keeps: the last frame before `(i + (j + 1/2) / n) * clip_length` for j = 0 .. n - 1. A video no
longer than one clip plus 0.1 s is cut into two clips of half its length instead, as in the features of the release.

Times are presentation timestamps, compared as exact fractions, and count from the first picture of the file; so
variable and odd frame rates need no special case, and a timestamp that falls on the middle of a clip always goes the
same way. Times of a part that is cut out of a longer video count from the part's start.

**Geometry.** The rotation that the file asks players for is applied, the shorter side is scaled (bicubic) to what the
backbone takes, the longer one in proportion, truncated to an integer, and the centre square is cut out.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .sources import (
    Frame,
    VideoInput,
    VideoMetadata,
    VideoReadError,
    cut_source,
    open_source,
    positive_fraction,
)

# A video of at most one clip and this many seconds is cut into two halves (released feature extraction).
SHORT_VIDEO_MARGIN = Fraction(1, 10)


@dataclass(frozen=True)
class FrameRequirement:
    """What a backbone looks at.

    Attributes:
        size: Side of the square crop, in pixels.
        frames_per_clip: How many frames of each clip, evenly spread over it.
    """

    size: int = 224
    frames_per_clip: int = 1


@dataclass(frozen=True)
class VideoSource:
    """A video that is opened when its turn comes, whole or cut to a part.

    Attributes:
        video: Path, binary file object, array (T, H, W, 3) of RGB uint8, or list of PIL images.
        fps: Frames per second of an array or list.
        start: Where the part begins, in seconds from the first picture.
        end: Where it ends, in seconds from the first picture; `None` is the end of the video.
    """

    video: VideoInput
    fps: float | None = None
    start: float = 0.0
    end: float | None = None

    def open(self) -> VideoReader:
        """Open the video: see [`VideoReader`]."""
        return VideoReader(self.video, self.fps, self.start, self.end)


def clip_grid(duration: float, clip_length: float) -> tuple[int, float]:
    """Number and length of the clips that a video is cut into.

    Args:
        duration: Length of the video in seconds.
        clip_length: Nominal length of a clip in seconds.

    Returns:
        The number of clips, and their length in seconds: `clip_length`, or half the duration for a video no longer
        than one clip plus 0.1 s, which has two clips.

    Raises:
        ValueError: The duration or the clip length is not a positive number.
    """
    exact_duration = positive_fraction("duration", duration)
    exact_length = positive_fraction("clip_length", clip_length)
    if exact_duration <= exact_length + SHORT_VIDEO_MARGIN:
        return 2, float(exact_duration) / 2
    return math.floor(exact_duration / exact_length + Fraction(1, 2)), float(clip_length)


def frame_times(num_clips: int, clip_length: float, frames_per_clip: int = 1) -> list[Fraction]:
    """Times whose preceding frames stand for the clips of a video (rule above).

    Args:
        num_clips: Clips in the video.
        clip_length: Seconds a clip.
        frames_per_clip: Frames taken from each clip.

    Returns:
        `num_clips * frames_per_clip` times in seconds, ascending. The frame for time t is the last one presented
        before t.
    """
    step = positive_fraction("clip_length", clip_length) / frames_per_clip
    return [(index + Fraction(1, 2)) * step for index in range(num_clips * frames_per_clip)]


def read_video_metadata(video: VideoInput, fps: float | None = None) -> VideoMetadata:
    """Duration and basic facts of a video, without decoding more than its first picture.

    Args:
        video: Path, binary file object, array (T, H, W, 3) of RGB uint8, or list of PIL images.
        fps: Frames per second of an array or list.

    Raises:
        FileNotFoundError: The path does not exist.
        VideoReadError: The input is not a readable video.
        ValueError: `fps` is missing for an array or list, or given for a file.
        ImportError: PyAV is not installed.
    """
    return VideoReader(video, fps).metadata


class VideoReader:
    """Reads a video once, in order, and keeps only the frames that are asked for.

    Args:
        video: Path, binary file object (one that cannot seek is read into memory), array (T, H, W, 3) of RGB uint8,
            or list of PIL images.
        fps: Frames per second of an array or list.
        start: Read only what comes after this time, in seconds from the first picture. Times count from here, and the
            picture on show at this time is the first one, as in a file that holds the part alone.
        end: Read only what comes before this time, in seconds from the first picture; a video that is over sooner
            ends where it ends.

    Attributes:
        metadata: `VideoMetadata` of the video, or of the part.

    Raises:
        FileNotFoundError: The path does not exist.
        VideoReadError: The input is not a readable video: not a video file, sound only, without pictures, damaged; or
            it is over before `start`.
        ValueError: `fps` is missing for an array or list, or given for a file; `start` is negative or not before
            `end`.
        ImportError: PyAV is not installed.
    """

    def __init__(self, video: VideoInput, fps: float | None = None, start: float = 0.0, end: float | None = None):
        self._source = open_source(video, fps)
        if start != 0 or end is not None:
            self._source = cut_source(self._source, start, end)
        self.metadata: VideoMetadata = self._source.metadata

    def clip_frames(
        self, requirements: Iterable[FrameRequirement], clip_length: float, batch_frames: int = 64
    ) -> Iterator[tuple[FrameRequirement, np.ndarray]]:
        """Decode the video once and hand out what each requirement asks for, in batches of whole clips.

        Args:
            requirements: What the backbones look at; equal ones are served once.
            clip_length: Length in seconds of the clips, as `clip_grid` gives it.
            batch_frames: About how many frames a batch holds (at least one clip's).

        Yields:
            A requirement and its next frames, uint8 RGB, shape (clips in the batch * frames_per_clip, size, size, 3).
            Each requirement gets all its clips in order.

        Raises:
            VideoReadError: No picture could be decoded.
        """
        requirements = list(dict.fromkeys(requirements))
        num_clips = math.floor(self._source.duration / positive_fraction("clip_length", clip_length) + Fraction(1, 2))
        schedules = [
            [(time, index) for time in frame_times(num_clips, clip_length, requirement.frames_per_clip)]
            for index, requirement in enumerate(requirements)
        ]
        batches: list[list[np.ndarray]] = [[] for _ in requirements]
        batch_sizes = [max(1, batch_frames // item.frames_per_clip) * item.frames_per_clip for item in requirements]
        for frame, wanted_by in _pick(self._source.frames(), heapq.merge(*schedules)):
            crops = {}
            for index in wanted_by:
                size = requirements[index].size
                if size not in crops:
                    crops[size] = frame.crop(size)
                batches[index].append(crops[size])
                if len(batches[index]) == batch_sizes[index]:
                    yield requirements[index], np.stack(batches[index])
                    batches[index] = []
        for requirement, batch in zip(requirements, batches, strict=True):
            if batch:
                yield requirement, np.stack(batch)

    def frames_at(self, times: Iterable[Fraction]) -> Iterator[Frame]:
        """Decode the video once and hand out the pictures on show just before some times.

        Args:
            times: Seconds from the start, ascending.

        Yields:
            For each time the last picture presented before it (the first one, if none is); one that several times ask
            for comes several times.

        Raises:
            VideoReadError: No picture could be decoded.
        """
        for frame, wanted_by in _pick(self._source.frames(), ((time, 0) for time in times)):
            for _ in wanted_by:
                yield frame


def _pick(frames: Iterator[Frame], schedule: Iterator[tuple[Fraction, int]]) -> Iterator[tuple[Frame, list[int]]]:
    """Pair each frame that is wanted with the requirements that want it, in order, once for each time they do."""
    wanted = next(schedule, None)
    previous = None
    for frame in frames:
        wanted_by = []
        while wanted is not None and wanted[0] <= frame.time:
            wanted_by.append(wanted[1])
            wanted = next(schedule, None)
        if wanted_by:
            yield previous or frame, wanted_by
        if wanted is None:
            return
        previous = frame
    if previous is None:
        raise VideoReadError("No picture of the video could be decoded: it is damaged. Encode it again.")
    rest = [] if wanted is None else [wanted[1], *(index for _, index in schedule)]
    yield previous, rest
