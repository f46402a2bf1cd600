"""Frames of a video at the times that the backbones ask for, decoded once, in order, whatever the video's length.

Times are presentation timestamps, compared as exact fractions, and count from the first picture of the file; so
variable and odd frame rates need no special case, and a timestamp that falls on the middle of a clip always goes the
same way. Times of a part that is cut out of a longer video count from the part's start.

**Geometry.** The rotation that the file asks players for is applied, the shorter side is scaled (bicubic) to what the
backbone takes, the longer one in proportion, truncated to an integer, and the center square is cut out.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np

from .files import VideoReadError
from .frames import Frame, Source, VideoMetadata
from .sampling import (
    FrameRequirement,
    WantedFrame,
    clip_grid,
    count_clips,
    frame_times,
    wanted_frames,
)
from .sources import VideoInput, cut_source, open_source

Wish = TypeVar("Wish")


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
        video: Path, binary file object (one that cannot seek is copied to a temporary file), array (T, H, W, 3) of RGB
            uint8, or list of PIL images.
        fps: Frames per second of an array or list.
        start: Read only what comes after this time, in seconds from the first picture. Times count from here, and the
            picture on show at this time is the first one, as in a file that holds the part alone.
        end: Read only what comes before this time, in seconds from the first picture; a video that is over sooner
            ends where it ends.

    Attributes:
        metadata: `VideoMetadata` of the video, or of the part.

    Raises:
        FileNotFoundError: The path does not exist.
        VideoReadError: The input is not a readable video: not a video file, sound only, a single picture, damaged, or
            announced beyond a limit; or it is over before `start`.
        ValueError: `fps` is missing for an array or list, or given for a file; `start` is negative or not before
            `end`.
        ImportError: PyAV is not installed.
    """

    def __init__(self, video: VideoInput, fps: float | None = None, start: float = 0.0, end: float | None = None):
        self._source: Source = open_source(video, fps)
        if start != 0 or end is not None:
            self._source = cut_source(self._source, start, end)
        self.metadata: VideoMetadata = self._source.metadata

    def clip_grid(self, clip_length: float) -> tuple[int, float]:
        """Number and length of the clips that the video is cut into: see `clip_grid`."""
        return clip_grid(self._source.duration, clip_length)

    def clip_frames(
        self, requirements: Iterable[FrameRequirement], clip_length: float, batch_frames: int = 64
    ) -> Iterator[tuple[FrameRequirement, np.ndarray]]:
        """Decode the video once and hand out what each requirement asks for, in batches of whole clips.

        Args:
            requirements: What the backbones look at; equal ones are served once.
            clip_length: Nominal length of a clip in seconds, as `clip_grid` takes it.
            batch_frames: About how many frames a batch holds (at least one clip's).

        Yields:
            A requirement and its next frames, uint8 RGB, shape (clips in the batch * frames_per_clip, size, size, 3).
            Each requirement gets all its clips in order, `count_clips` of them.

        Raises:
            VideoReadError: No picture could be decoded.
        """
        source = self._source
        batches = [
            _ClipBatches(requirement, count_clips(requirement, source.duration, clip_length), batch_frames)
            for requirement in dict.fromkeys(requirements)
        ]
        schedules = [
            _schedule(batch, wanted_frames(batch.requirement, source.duration, source.frame_rate, clip_length))
            for batch in batches
        ]
        for frame, wishes in _pick(source.frames(), heapq.merge(*schedules, key=lambda item: item[0])):
            crops: dict[int, np.ndarray] = {}
            for batch, wanted in wishes:
                size = batch.requirement.size
                if size not in crops:
                    crops[size] = frame.crop(size)
                yield from batch.add(wanted, crops[size])

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
        for frame, wishes in _pick(self._source.frames(), ((time, None) for time in times)):
            for _ in wishes:
                yield frame


class _ClipBatches:
    """The frames of one requirement, gathered to batches of whole clips in order."""

    def __init__(self, requirement: FrameRequirement, num_clips: int, batch_frames: int):
        self.requirement = requirement
        self._clips_per_batch = max(1, batch_frames // requirement.frames_per_clip)
        self._num_left = num_clips
        self._first = 0
        self._missing: dict[int, int] = {}
        self._frames: dict[int, list[np.ndarray | None]] = {}

    def add(self, wanted: WantedFrame, crop: np.ndarray) -> Iterator[tuple[FrameRequirement, np.ndarray]]:
        """Put a frame in its place; gives the next batch if that completes it."""
        clip, count = wanted.clip, self.requirement.frames_per_clip
        self._frames.setdefault(clip, [None] * count)[wanted.position] = crop
        self._missing[clip] = self._missing.get(clip, count) - 1
        size = min(self._clips_per_batch, self._num_left)
        clips = range(self._first, self._first + size)
        if size and all(self._missing.get(clip) == 0 for clip in clips):
            frames = [frame for clip in clips for frame in self._frames.pop(clip) if frame is not None]
            for clip in clips:
                del self._missing[clip]
            self._first += size
            self._num_left -= size
            yield self.requirement, np.stack(frames)


def _schedule(
    batch: _ClipBatches, wanted: Iterator[WantedFrame]
) -> Iterator[tuple[Fraction, tuple[_ClipBatches, WantedFrame]]]:
    for frame in wanted:
        yield frame.time, (batch, frame)


def _pick(frames: Iterator[Frame], schedule: Iterator[tuple[Fraction, Wish]]) -> Iterator[tuple[Frame, list[Wish]]]:
    """Pair each wanted frame with the requests that it answers, in order."""
    wanted = next(schedule, None)
    previous: Frame | None = None
    for frame in frames:
        wishes = []
        while wanted is not None and wanted[0] <= frame.time:
            wishes.append(wanted[1])
            wanted = next(schedule, None)
        if wishes:
            yield previous or frame, wishes
        if wanted is None:
            return
        previous = frame
    if previous is None:
        raise VideoReadError("No picture of the video could be decoded: it is damaged. Encode it again.")
    if wanted is not None:
        yield previous, [wanted[1], *(wish for _, wish in schedule)]


__all__ = [
    "FrameRequirement",
    "VideoInput",
    "VideoMetadata",
    "VideoReadError",
    "VideoReader",
    "VideoSource",
    "clip_grid",
    "count_clips",
    "frame_times",
    "read_video_metadata",
]
