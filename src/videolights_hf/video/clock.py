"""When the frames of a file are shown: from the timestamps of its packets to seconds after the first picture.

Timestamps are exact fractions. In transport and program streams, which may be joined from parts, they may jump: a jump
back, or ahead by more than 10 s, is taken out, as ffmpeg does. The video ends where its last picture ends, whatever the
container's header or the sound track say.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

DEFAULT_RATE = Fraction(25)
# ffmpeg's -dts_delta_threshold, and the step back that it takes for reordering.
_LARGEST_GAP_SECONDS = 10
_SMALLEST_STEP_BACK = Fraction(1, 10)
_AVFMT_TS_DISCONT = 0x0200


def frame_rate(stream: av.VideoStream, container: av.container.InputContainer) -> Fraction:
    """Frames per second that a file states.

    Elementary streams of H.264 and HEVC state it in their own header, which only the guess looks at: their average is
    the demuxer's default.
    """
    is_elementary = container.format.name in ("h264", "hevc")
    stated, other = stream.average_rate, stream.guessed_rate
    return (other or stated if is_elementary else stated or other) or DEFAULT_RATE


def ticks_per_second(stream: av.VideoStream) -> Fraction:
    """Units of a stream's timestamps in a second."""
    if not stream.time_base:
        raise ValueError("the stream has no time base")
    return 1 / Fraction(stream.time_base)


class JumpRemover:
    """Takes the jumps out of a stream's timestamps, packet by packet in the order of the file."""

    def __init__(self, stream: av.VideoStream, container: av.container.InputContainer):
        self._is_needed = bool(container.format.flags & _AVFMT_TS_DISCONT)
        per_second = ticks_per_second(stream)
        self._largest_gap = _LARGEST_GAP_SECONDS * per_second
        self._step_back = _SMALLEST_STEP_BACK * per_second
        self._step = max(1, round(per_second / frame_rate(stream, container)))
        self._next: int | None = None
        self._last = 0
        # What was added to the timestamps, one value after the other.
        self.offsets = [0]

    def correct(self, packet: av.Packet) -> None:
        """Set the timestamps of the next packet right."""
        if not self._is_needed:
            return
        decoded, shown = packet.dts, packet.pts
        if decoded is None:
            decoded = shown
        if decoded is None:
            return
        if shown is not None and abs(shown - decoded) > self._largest_gap:
            shown = None  # damaged
        time = decoded + self.offsets[-1]
        if self._next is not None and (
            abs(time - self._next) > self._largest_gap or time + self._step_back < self._last
        ):
            self.offsets.append(self.offsets[-1] + self._next - time)
            time = self._next
        self._last, self._next = time, time + (packet.duration or self._step)
        packet.dts = time
        packet.pts = None if shown is None else shown + self.offsets[-1]


@dataclass(frozen=True)
class Timeline:
    """When the pictures of a stream are shown.

    Attributes:
        time_base: Seconds per unit of the timestamps.
        starts: When each picture begins, in these units after the first one, ascending.
        end: When the last one ends, in these units.
        origin: Timestamp of the first picture; `None` if the file has no timestamps.
        is_shuffled: Whether the timestamps are right for the pictures of the file as a whole, but not for each one.
        offsets: What was added to the file's timestamps, part after part, to take out jumps.
    """

    time_base: Fraction
    starts: list[int]
    end: Fraction
    origin: int | None
    is_shuffled: bool = False
    offsets: tuple[int, ...] = (0,)

    @property
    def duration(self) -> Fraction:
        """Seconds from the start of the first picture to the end of the last one."""
        return self.end * self.time_base

    @property
    def may_seek(self) -> bool:
        """Whether a time can be looked for by its timestamp."""
        return self.origin is not None and len(self.offsets) == 1

    def count(self, start: Fraction, end: Fraction) -> int:
        """Number of pictures that begin between two times in seconds."""
        first, last = (math.ceil(time / self.time_base) for time in (start, end))
        return bisect.bisect_left(self.starts, last) - bisect.bisect_left(self.starts, first)

    def time_of(self, index: int) -> Fraction:
        """Start of a picture in seconds."""
        return self.starts[min(index, len(self.starts) - 1)] * self.time_base


class TimelineBuilder:
    """Collects the timestamps of a stream's packets."""

    def __init__(self, stream: av.VideoStream, container: av.container.InputContainer):
        self._time_base = 1 / ticks_per_second(stream)
        self._step = 1 / (frame_rate(stream, container) * self._time_base)
        self._starts: list[int] = []
        self._first: int | None = None
        self._end = Fraction(0)
        self._next = Fraction(0)
        self._has_timestamps = True
        # AVI files hold no presentation times: what the demuxer gives are those of decoding.
        self._is_shuffled = container.format.name == "avi"
        self._jumps = JumpRemover(stream, container)

    def add(self, packet: av.Packet) -> None:
        """Take note of the next packet."""
        self._jumps.correct(packet)
        if not packet.size or packet.is_discard:
            return
        start = packet.pts if packet.pts is not None else packet.dts
        self._has_timestamps &= start is not None
        self._is_shuffled |= packet.pts is None
        length = packet.duration or self._step
        begin = self._next if start is None else Fraction(start)
        if start is None:
            start = round(self._next)
        self._next = begin + length
        self._starts.append(start)
        self._end = max(self._end, self._next) if len(self._starts) > 1 else self._next

    def build(self) -> Timeline:
        """The times of all pictures; one of the default length where no packet was seen."""
        starts = self._starts or [0]
        first = min(starts)
        end = (self._end if self._starts else self._step) - first
        starts = sorted(start - first for start in starts)
        origin = first if self._has_timestamps else None
        return Timeline(self._time_base, starts, end, origin, self._is_shuffled, tuple(self._jumps.offsets))


class PictureClock:
    """Tells when decoded pictures are shown; they come in the order of their times."""

    def __init__(self, timeline: Timeline):
        self._timeline = timeline
        self._index = 0
        # Times of packets whose pictures have not come yet, as a heap.
        self._waiting: list[int] = []

    def note(self, packet: av.Packet) -> None:
        """Take note of a packet that is about to be decoded."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if self._timeline.is_shuffled and packet.size and not packet.is_discard and stamp is not None:
            heapq.heappush(self._waiting, stamp)

    def forget(self, packet: av.Packet) -> None:
        """Leave out a packet that gave no picture."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp in self._waiting:
            self._waiting.remove(stamp)
            heapq.heapify(self._waiting)

    def time_of(self, pts: int | None) -> Fraction:
        """Seconds after the first picture at which the next one is shown; `pts` is its timestamp."""
        timeline = self._timeline
        if timeline.is_shuffled:
            pts = heapq.heappop(self._waiting) if self._waiting else None
        index, self._index = self._index, self._index + 1
        if pts is None or timeline.origin is None:
            return timeline.time_of(index)
        return (pts - timeline.origin) * timeline.time_base


def nearest_offset(time: int, expected: int, offsets: Iterable[int]) -> int:
    """The offset that brings a timestamp of another stream closest to where it is expected."""
    return min(offsets, key=lambda offset: abs(time + offset - expected))
