"""Frames of a video at the times that the backbones ask for, decoded once, in order, whatever the video's length.

**Which frame stands for a clip.** A video of `duration` seconds has `floor(duration / clip_length + 1/2)` clips. The
frame of clip i is the last one presented *before* `(i + 1/2) * clip_length`, the middle of the clip. This is what
ffmpeg's filter `fps=1/clip_length` keeps: it rounds each frame's timestamp to the nearest multiple of the clip length
(halves up) and lets the last frame that rounds to i or less stand for i. A backbone that looks at n frames a clip gets
what `fps=n/clip_length` keeps: the last frame before `(i + (j + 1/2) / n) * clip_length` for j = 0 .. n - 1. A video no
longer than one clip plus 0.1 s is cut into two clips of half its length instead, as in the features of the release.

Times are presentation timestamps, compared as exact fractions, and count from the first picture of the file; so
variable and odd frame rates need no special case, and a timestamp that falls on the middle of a clip always goes the
same way. The video ends where its last picture ends, whatever the container's header or the sound track say.

**Geometry.** The rotation that the file asks players for is applied, the shorter side is scaled (bicubic) to what the
backbone takes, the longer one in proportion, truncated to an integer, and the centre square is cut out.
"""

from __future__ import annotations

import errno
import heapq
import io
import math
import numbers
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any, TypeAlias

import numpy as np

try:
    import av
except ImportError:
    av = None

# A path, a binary file object, an array (T, H, W, 3) of RGB uint8, or a list of PIL images.
VideoInput: TypeAlias = "str | os.PathLike | IO[bytes] | np.ndarray | Sequence[Any]"

# A video of at most one clip and this many seconds is cut into two halves (released feature extraction).
SHORT_VIDEO_MARGIN = Fraction(1, 10)


class VideoReadError(ValueError):
    """The input is not a video that can be read: not a video file, without pictures, or damaged beyond use."""


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
    exact_duration = _positive_fraction("duration", duration)
    exact_length = _positive_fraction("clip_length", clip_length)
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
    step = _positive_fraction("clip_length", clip_length) / frames_per_clip
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

    Attributes:
        metadata: `VideoMetadata` of the video.

    Raises:
        FileNotFoundError: The path does not exist.
        VideoReadError: The input is not a readable video: not a video file, sound only, without pictures, damaged.
        ValueError: `fps` is missing for an array or list, or given for a file.
        ImportError: PyAV is not installed.
    """

    def __init__(self, video: VideoInput, fps: float | None = None):
        if av is None:
            raise ImportError('Reading videos needs PyAV: pip install "videolights-hf[video]".')
        self._source = _open_source(video, fps)
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
        num_clips = math.floor(self._source.duration / _positive_fraction("clip_length", clip_length) + Fraction(1, 2))
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


@dataclass(frozen=True)
class _Frame:
    """A picture that is scaled only if it is wanted, and the counter-clockwise quarter turns that set it upright."""

    time: Fraction
    load: Callable[[], av.VideoFrame]
    quarter_turns: int = 0

    def crop(self, size: int) -> np.ndarray:
        """Centre square of the upright picture, its shorter side scaled to `size`: (size, size, 3) uint8 RGB."""
        frame = self.load()
        width, height = frame.width, frame.height
        if height >= width:
            width, height = size, height * size // width
        else:
            width, height = width * size // height, size
        scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC").to_ndarray()
        upright = np.rot90(scaled, self.quarter_turns)
        top, left = (upright.shape[0] - size) // 2, (upright.shape[1] - size) // 2
        return np.ascontiguousarray(upright[top : top + size, left : left + size])


def _pick(frames: Iterator[_Frame], schedule: Iterator[tuple[Fraction, int]]) -> Iterator[tuple[_Frame, list[int]]]:
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


def _open_source(video: VideoInput, fps: float | None) -> _FileSource | _ArraySource:
    if isinstance(video, (str, os.PathLike)) or hasattr(video, "read"):
        if fps is not None:
            raise ValueError("`fps` is for arrays and lists of frames: a video file carries its own timestamps.")
        return _FileSource(video)
    return _ArraySource(video, fps)


class _ArraySource:
    """Frames in memory, one every 1 / fps seconds."""

    def __init__(self, frames: np.ndarray | Sequence[Any], fps: float | None):
        if fps is None:
            raise ValueError("An array or a list of frames needs `fps`, its frames per second.")
        self._fps = _positive_fraction("fps", fps)
        self._frames = frames if isinstance(frames, (list, tuple)) else np.asarray(frames)
        if isinstance(self._frames, np.ndarray) and self._frames.ndim != 4:
            raise VideoReadError(f"An array of frames has the shape (T, H, W, 3), got {self._frames.shape}.")
        if len(self._frames) == 0:
            raise VideoReadError("The video has no frames: the array or list is empty.")
        height, width = self._picture(0).shape[:2]
        self.duration = len(self._frames) / self._fps
        self.metadata = VideoMetadata(float(self.duration), len(self._frames), float(self._fps), width, height)

    def frames(self) -> Iterator[_Frame]:
        for index in range(len(self._frames)):
            yield _Frame(index / self._fps, lambda index=index: av.VideoFrame.from_ndarray(self._picture(index)))

    def _picture(self, index: int) -> np.ndarray:
        frame = self._frames[index]
        picture = np.asarray(frame.convert("RGB") if hasattr(frame, "convert") else frame)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
            raise VideoReadError(
                f"Frame {index} has the shape {picture.shape} and dtype {picture.dtype}: frames are RGB, (H, W, 3), "
                "uint8 from 0 to 255. Move the channels last and scale the values."
            )
        return np.ascontiguousarray(picture)


class _FileSource:
    """A video file, decoded in order.

    Opening reads all packets, without decoding them: headers may lack the duration, or lie about it, and the number
    of clips depends on it.
    """

    def __init__(self, video: str | os.PathLike | IO[bytes]):
        if hasattr(video, "read"):
            self._file = _seekable(video)
            self._name = f"The video {getattr(video, 'name', '')}".strip()
        else:
            self._file = os.fspath(video)
            self._name = self._file
            if not os.path.exists(self._file):
                raise FileNotFoundError(errno.ENOENT, "No such video file", self._file)
        try:
            self._probe()
        except av.error.FFmpegError as error:
            raise VideoReadError(f"{self._name} cannot be read as a video ({error.strerror}).") from error

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
                    first_frame = next(iter(_decode(packet)[0]), None)
            if first_frame is None:
                raise VideoReadError(f"{self._name} has no pictures that can be decoded: it is empty or damaged.")
            if not starts:
                starts, ends = [0], [default_duration]
            self.duration = (max(ends) - min(starts)) * stream.time_base
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
            raise VideoReadError(f"{self._name} is a text file, not a video.")
        stream = container.streams.best("video")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoReadError(f"{self._name} has no video stream, only {held}.")
        if stream.codec_context is None:
            raise VideoReadError(f"{self._name} uses a codec that PyAV cannot decode. Encode it again, as H.264.")
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
                f"{self._name} announces {float(announced):.1f} s, but its pictures end after "
                f"{float(found):.1f} s: the file may be truncated. What is there is used.",
                stacklevel=2,
            )

    def frames(self) -> Iterator[_Frame]:
        has_warned = False
        with self._open() as container:
            stream = self._video_stream(container)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            start, time = self._start, -1 / rate
            for packet in container.demux(stream):
                frames, is_damaged = _decode(packet)
                if is_damaged and not has_warned:
                    warnings.warn(
                        f"{self._name} is damaged after {float(time):.1f} s: where pictures cannot be decoded, those "
                        "before them stand in.",
                        stacklevel=2,
                    )
                    has_warned = True
                for frame in frames:
                    absolute = frame.pts * frame.time_base if frame.pts is not None else None
                    if start is None and absolute is not None:
                        start = absolute
                    time = absolute - start if absolute is not None else time + 1 / rate
                    yield _Frame(time, lambda frame=frame: frame, round(frame.rotation / 90))


def _decode(packet: av.Packet) -> tuple[list[av.VideoFrame], bool]:
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


def _positive_fraction(name: str, value: Any) -> Fraction:
    """Value as a fraction: 1e6 resolves 30000/1001 frames per second and every clip length in use exactly."""
    if isinstance(value, Fraction) and value > 0:
        return value
    if not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"`{name}` must be a positive number, got {value!r}.")
    return Fraction(float(value)).limit_denominator(1_000_000)
