"""Where pictures come from: video files, arrays and lists of images, each picture with its exact time.

Times are presentation timestamps, as exact fractions of a second, and count from the first picture of the file. The
video ends where its last picture ends, whatever the container's header or the sound track say.
"""

from __future__ import annotations

import bisect
import errno
import io
import math
import numbers
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import IO, Any, TypeAlias

import numpy as np

try:
    import av
except ImportError:
    av = None

# A path, a binary file object, an array (T, H, W, 3) of RGB uint8, or a list of PIL images.
VideoInput: TypeAlias = "str | os.PathLike | IO[bytes] | np.ndarray | Sequence[Any]"


class VideoReadError(ValueError):
    """The input is not a video that can be read: not a video file, without pictures, or damaged beyond use."""


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
        """Centre square of the upright picture, its shorter side scaled to `size`: (size, size, 3) uint8 RGB."""
        upright = self.scale(size)
        top, left = (upright.shape[0] - size) // 2, (upright.shape[1] - size) // 2
        return np.ascontiguousarray(upright[top : top + size, left : left + size])


def open_source(video: VideoInput, fps: float | None) -> FileSource | ArraySource:
    """Open a video of any form; for arguments and errors see `VideoReader`."""
    if av is None:
        raise ImportError('Reading videos needs PyAV: pip install "videolights-hf[video]".')
    if isinstance(video, (str, os.PathLike)) or hasattr(video, "read"):
        if fps is not None:
            raise ValueError("`fps` is for arrays and lists of frames: a video file carries its own timestamps.")
        return FileSource(video)
    return ArraySource(video, fps)


def cut_source(source: FileSource | ArraySource, start: float, end: float | None) -> SourcePart:
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

    def __init__(self, source: FileSource | ArraySource, start: Fraction, end: Fraction):
        self._source, self._start, self._end = source, start, end
        self.duration = end - start
        num_frames = source.count_frames(start, end)
        self.metadata = replace(
            source.metadata,
            duration=float(self.duration),
            num_frames=num_frames,
            fps=float(num_frames / self.duration),
        )

    def frames(self) -> Iterator[Frame]:
        """The frames from the one on show at the start; those before have negative times."""
        for frame in self._source.frames(self._start):
            if frame.time >= self._end:
                return
            yield replace(frame, time=frame.time - self._start)


class ArraySource:
    """Frames in memory, one every 1 / fps seconds."""

    name = "The video"

    def __init__(self, frames: np.ndarray | Sequence[Any], fps: float | None):
        if fps is None:
            raise ValueError("An array or a list of frames needs `fps`, its frames per second.")
        self._fps = positive_fraction("fps", fps)
        self._frames = frames if isinstance(frames, (list, tuple)) else np.asarray(frames)
        if isinstance(self._frames, np.ndarray) and self._frames.ndim != 4:
            raise VideoReadError(f"An array of frames has the shape (T, H, W, 3), got {self._frames.shape}.")
        if len(self._frames) == 0:
            raise VideoReadError("The video has no frames: the array or list is empty.")
        height, width = self._picture(0).shape[:2]
        self.duration = len(self._frames) / self._fps
        self.metadata = VideoMetadata(float(self.duration), len(self._frames), float(self._fps), width, height)

    def count_frames(self, start: Fraction, end: Fraction) -> int:
        """How many frames begin between two times."""
        return math.ceil(end * self._fps) - math.ceil(start * self._fps)

    def frames(self, start: Fraction = Fraction(0)) -> Iterator[Frame]:
        """All frames in order, from the one on show at a time."""
        for index in range(math.floor(start * self._fps), len(self._frames)):
            yield Frame(index / self._fps, lambda index=index: av.VideoFrame.from_ndarray(self._picture(index)))

    def _picture(self, index: int) -> np.ndarray:
        frame = self._frames[index]
        picture = np.asarray(frame.convert("RGB") if hasattr(frame, "convert") else frame)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
            raise VideoReadError(
                f"Frame {index} has the shape {picture.shape} and dtype {picture.dtype}: frames are RGB, (H, W, 3), "
                "uint8 from 0 to 255. Move the channels last and scale the values."
            )
        return np.ascontiguousarray(picture)


class FileSource:
    """A video file, decoded in order.

    Opening reads all packets, without decoding them: headers may lack the duration, or lie about it, and the number
    of clips depends on it.
    """

    def __init__(self, video: str | os.PathLike | IO[bytes]):
        if hasattr(video, "read"):
            self._file = _seekable(video)
            self.name = f"The video {getattr(video, 'name', '')}".strip()
        else:
            self._file = os.fspath(video)
            self.name = self._file
            if not os.path.exists(self._file):
                raise FileNotFoundError(errno.ENOENT, "No such video file", self._file)
        try:
            self._probe()
        except av.error.FFmpegError as error:
            raise VideoReadError(f"{self.name} cannot be read as a video ({error.strerror}).") from error

    def _open(self) -> av.container.InputContainer:
        if not isinstance(self._file, str):
            self._file.seek(0)
            return av.open(self._file)
        # A playlist posing as a video must not make us open anything over the network.
        return av.open(self._file, options={"protocol_whitelist": "file"})

    def _probe(self) -> None:
        with self._open() as container:
            stream = self._video_stream(container)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            default_duration = 1 / (rate * stream.time_base)
            starts, ends, first_frame = [], [], None
            has_timestamps = True
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    has_timestamps &= packet.pts is not None
                    start = packet.pts if packet.pts is not None else packet.dts
                    start = start if start is not None else len(starts) * default_duration
                    starts.append(start)
                    ends.append(start + (packet.duration or default_duration))
                if first_frame is None:
                    first_frame = next(iter(_decode_packet(packet)[0]), None)
            if first_frame is None:
                raise VideoReadError(f"{self.name} has no pictures that can be decoded: it is empty or damaged.")
            if not starts:
                starts, ends = [0], [default_duration]
            self.duration = (max(ends) - min(starts)) * stream.time_base
            self._times = sorted((start - min(starts)) * stream.time_base for start in starts)
            # Decoders make up timestamps where a container has none, from an origin of their own.
            self._start = min(starts) * stream.time_base if has_timestamps else None
            self._warn_if_cut_short(stream, container, max(ends) * stream.time_base)
        size = (first_frame.width, first_frame.height)
        width, height = size[::-1] if round(first_frame.rotation / 90) % 2 else size
        num_frames = len(starts)
        self.metadata = VideoMetadata(
            float(self.duration), num_frames, float(num_frames / self.duration), width, height
        )

    def _video_stream(self, container: av.container.InputContainer) -> av.video.stream.VideoStream:
        if container.format.name == "tty":
            raise VideoReadError(f"{self.name} is a text file, not a video.")
        stream = container.streams.best("video")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoReadError(f"{self.name} has no video stream, only {held}.")
        if stream.codec_context is None:
            raise VideoReadError(f"{self.name} uses a codec that PyAV cannot decode. Encode it again, as H.264.")
        stream.thread_type = "AUTO"
        return stream

    def _warn_if_cut_short(
        self, stream: av.video.stream.VideoStream, container: av.container.InputContainer, end: Fraction
    ) -> None:
        if stream.duration is not None:
            announced, found = stream.duration * stream.time_base, self.duration
        elif container.duration is not None:
            # A container counts from its own zero, which may come before the first picture.
            announced, found = Fraction(container.duration, av.time_base), end
        else:
            return
        if announced - found > 1:
            warnings.warn(
                f"{self.name} announces {float(announced):.1f} s, but its pictures end after "
                f"{float(found):.1f} s: the file may be truncated. What is there is used.",
                stacklevel=2,
            )

    def count_frames(self, start: Fraction, end: Fraction) -> int:
        """How many frames begin between two times."""
        return bisect.bisect_left(self._times, end) - bisect.bisect_left(self._times, start)

    def frames(self, start: Fraction = Fraction(0)) -> Iterator[Frame]:
        """All frames in order, from the one on show at a time or an earlier one."""
        if start > 0 and self._start is not None:
            frames = self._decode(start)
            first = next(frames, None)
            if first is not None and first.time <= start and first.load().key_frame:
                yield first
                yield from frames
                return
            # Containers without an index may end up behind it, or between keyframes.
            frames.close()
        yield from self._decode()

    def _decode(self, seek_to: Fraction | None = None) -> Iterator[Frame]:
        has_warned = False
        with self._open() as container:
            stream = self._video_stream(container)
            if seek_to is not None:
                try:
                    container.seek(math.floor((self._start + seek_to) / stream.time_base), stream=stream)
                except av.error.FFmpegError:
                    return
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            start, time = self._start, -1 / rate
            for packet in container.demux(stream):
                frames, is_damaged = _decode_packet(packet)
                if is_damaged and not has_warned:
                    warnings.warn(
                        f"{self.name} is damaged after {float(time):.1f} s: where pictures cannot be decoded, those "
                        "before them stand in.",
                        stacklevel=2,
                    )
                    has_warned = True
                for frame in frames:
                    absolute = frame.pts * frame.time_base if frame.pts is not None else None
                    if start is None and absolute is not None:
                        start = absolute
                    time = absolute - start if absolute is not None else time + 1 / rate
                    yield Frame(time, lambda frame=frame: frame, round(frame.rotation / 90))


def _decode_packet(packet: av.Packet) -> tuple[list[av.VideoFrame], bool]:
    """Decode a packet.

    Returns:
        Its frames, and whether it was damaged. Damaged ones are skipped, as ffmpeg does.
    """
    try:
        return packet.decode(), False
    except (av.error.InvalidDataError, av.error.EOFError):
        return [], True


def _seekable(file: IO[bytes]) -> IO[bytes]:
    if isinstance(file, io.TextIOBase):
        raise ValueError("The video file is open in text mode: open it with mode 'rb'.")
    if hasattr(file, "seekable") and file.seekable():
        return file
    return io.BytesIO(file.read())


def positive_fraction(name: str, value: Any) -> Fraction:
    """A value as a fraction: 1e6 resolves 30000/1001 frames per second and every clip length in use exactly."""
    if isinstance(value, Fraction) and value > 0:
        return value
    if not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"`{name}` must be a positive number, got {value!r}.")
    return Fraction(float(value)).limit_denominator(1_000_000)
