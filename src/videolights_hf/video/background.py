"""Decoding in background threads: the next videos' frames are ready when the backbones come to them.

The frames come out in the order of the videos, whatever the timing of the threads, so that every run gives the same
results.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .reader import FrameRequirement, VideoReader, VideoSource


@dataclass(frozen=True)
class VideoOpened:
    """The next video begins.

    Attributes:
        duration: Length of the video in seconds.
        num_clips: Number of clips that it is cut into.
        clip_length: Seconds per clip.
    """

    duration: float
    num_clips: int
    clip_length: float


@dataclass(frozen=True)
class FramesDecoded:
    """Frames of whole clips of the current video.

    Attributes:
        requirement: The requirement that they meet.
        frames: (clips * frames_per_clip, size, size, 3) uint8 RGB.
    """

    requirement: FrameRequirement
    frames: np.ndarray


@dataclass(frozen=True)
class VideoClosed:
    """The current video is over; `error` says what went wrong, if anything."""

    error: Exception | None = None


DecodingEvent = VideoOpened | FramesDecoded | VideoClosed


@dataclass
class _Track:
    """Frames of one video that are decoded but not yet handed out."""

    events: deque[DecodingEvent] = field(default_factory=deque)


class _Stopped(Exception):  # noqa: N818  it ends a thread, it is not an error
    """Nobody waits for the frames anymore."""


class BackgroundDecoder:
    """Decodes videos ahead of their use.

    Args:
        videos: The videos; each is opened when its turn comes.
        requirements: What the backbones look at.
        clip_length: Nominal length of a clip in seconds.
        num_threads: Number of videos decoded at the same time.
        max_waiting_bytes: Memory for decoded frames that wait to be used, approximately.

    Example:

    ```python
    >>> from videolights_hf.demo import demo_videos
    >>> from videolights_hf.video.reader import FrameRequirement, VideoSource

    >>> video = VideoSource(demo_videos() / "demo_0_00000.mp4")
    >>> with BackgroundDecoder([video], [FrameRequirement(size=64)], clip_length=2.0) as decoder:
    ...     print(sorted({type(event).__name__ for event in decoder}))
    ['FramesDecoded', 'VideoClosed', 'VideoOpened']
    ```
    """

    def __init__(
        self,
        videos: Iterable[VideoSource | VideoReader],
        requirements: Sequence[FrameRequirement],
        clip_length: float,
        num_threads: int = 1,
        max_waiting_bytes: int = 2**28,
    ):
        self._videos = iter(videos)
        self._requirements = list(requirements)
        self._clip_length = clip_length
        self._max_waiting_bytes = max_waiting_bytes
        self._tracks: deque[_Track] = deque()
        self._waiting_bytes = 0
        self._is_stopped = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(num_threads)]
        self._num_working = num_threads

    def __enter__(self) -> BackgroundDecoder:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        # A thread that still holds a decoder when the interpreter exits may crash it.
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[DecodingEvent]:
        """Give the events of all videos, one video after the other."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._can_advance() or self._is_over())
                if self._failure is not None:
                    raise self._failure
                if not self._can_advance():
                    return
                event = self._tracks[0].events.popleft()
                if isinstance(event, FramesDecoded):
                    self._waiting_bytes -= event.frames.nbytes
                elif isinstance(event, VideoClosed):
                    self._tracks.popleft()
                self._changed.notify_all()
            yield event

    def _can_advance(self) -> bool:
        return bool(self._tracks and self._tracks[0].events)

    def _is_over(self) -> bool:
        return self._failure is not None or (self._num_working == 0 and not self._tracks)

    def _work(self) -> None:
        try:
            while (job := self._next_video()) is not None:
                self._decode(*job)
        except _Stopped:
            pass
        except BaseException as failure:
            # Raised where the frames are used: a thread has nobody to tell.
            with self._changed:
                self._failure = failure
        with self._changed:
            self._num_working -= 1
            self._changed.notify_all()

    def _next_video(self) -> tuple[_Track, VideoSource | VideoReader] | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_stopped or not self._tracks or self._waiting_bytes < self._max_waiting_bytes
            )
            if self._is_stopped:
                return None
            video = next(self._videos, None)
            if video is None:
                return None
            self._tracks.append(_Track())
            return self._tracks[-1], video

    def _decode(self, track: _Track, video: VideoSource | VideoReader) -> None:
        try:
            reader = video if isinstance(video, VideoReader) else video.open()
            num_clips, clip_length = reader.clip_grid(self._clip_length)
            self._put(track, VideoOpened(reader.metadata.duration, num_clips, clip_length))
            for requirement, frames in reader.clip_frames(self._requirements, self._clip_length):
                self._put(track, FramesDecoded(requirement, frames))
        except (_Stopped, ImportError):
            raise
        except Exception as error:
            self._put(track, VideoClosed(error))
        else:
            self._put(track, VideoClosed())

    def _put(self, track: _Track, event: DecodingEvent) -> None:
        num_bytes = event.frames.nbytes if isinstance(event, FramesDecoded) else 0
        with self._changed:
            # The video whose turn it is may always go on: the others' frames wait for its own to be used.
            self._changed.wait_for(
                lambda: (
                    self._is_stopped
                    or self._waiting_bytes + num_bytes <= self._max_waiting_bytes
                    or (track is self._tracks[0] and not track.events)
                )
            )
            if self._is_stopped:
                raise _Stopped
            track.events.append(event)
            self._waiting_bytes += num_bytes
            self._changed.notify_all()
