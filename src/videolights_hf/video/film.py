"""The pictures of a video file: its stream, its clock, its orientation, and what of it can be decoded."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from typing import IO, TypeVar, cast

from .clock import JumpRemover, PictureClock, Timeline, TimelineBuilder, frame_rate
from .files import VideoFile, VideoReadError
from .frames import Frame, VideoMetadata, check_duration, check_picture_size

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

StreamT = TypeVar("StreamT", bound="av.stream.Stream")


class FileSource:
    """A video file, decoded in order.

    Opening reads all packets, without decoding them: headers may lack the duration, or lie about it, and the number
    of clips depends on it.
    """

    def __init__(self, video: str | os.PathLike[str] | IO[bytes]):
        self.file = VideoFile(video)
        self.name = self.file.name
        self._is_deep = False
        try:
            with self._opened() as (container, stream):
                self._probe(container, stream)
        except av.error.FFmpegError as error:
            raise VideoReadError(f"{self.name} cannot be read as a video ({error.strerror}).") from error

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
        container = self.open()
        try:
            stream = video_stream(container, self.name)
        except VideoReadError:
            container.close()
            if self._is_deep or not announces_late(container):
                raise
            self._is_deep = True
            with self._opened() as opened:
                yield opened
            return
        try:
            yield container, stream
        finally:
            # A thread of the decoder that logs while it is being closed would wait for us forever: empty it first.
            stream.codec_context.flush_buffers()
            container.close()

    def open(self, deep: bool = False) -> av.container.InputContainer:
        """Open the file so that its pictures are found; `deep` looks far into it for other streams, too."""
        return self.file.open(deep or self._is_deep)

    def _probe(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        check_picture_size(self.name, stream.codec_context.width, stream.codec_context.height)
        self.frame_rate = frame_rate(stream, container)
        self.sample_aspect_ratio = stream.sample_aspect_ratio or None
        timeline, first_frame = TimelineBuilder(stream, container), None
        for packet in packets_of(container, stream):
            timeline.add(packet)
            if first_frame is None:
                first_frame = next(iter(_decode_packet(packet)[0]), None)
        if first_frame is None:
            raise VideoReadError(f"{self.name} has no pictures that can be decoded: it is empty or damaged.")
        self.timeline: Timeline = timeline.build()
        num_frames = len(self.timeline.starts)
        self.duration = self.timeline.duration
        if num_frames == 1:
            raise VideoReadError(f"{self.name} holds a single picture: it is not a video.")
        check_picture_size(self.name, first_frame.width, first_frame.height)
        check_duration(self.name, self.duration)
        self._warn_if_cut_short(stream, container)
        size = (first_frame.width, first_frame.height)
        width, height = size[::-1] if round(first_frame.rotation / 90) % 2 else size
        self.metadata = VideoMetadata(
            float(self.duration), num_frames, float(num_frames / self.duration), width, height
        )

    def _warn_if_cut_short(self, stream: av.VideoStream, container: av.container.InputContainer) -> None:
        timeline = self.timeline
        if len(timeline.offsets) > 1:
            return
        found = self.duration
        if container.format.name == "avi":
            # Its demuxer measures the duration of what is there, but the header counts the pictures.
            announced = stream.frames / self.frame_rate
        elif stream.duration is not None:
            announced = stream.duration * timeline.time_base
        elif container.duration is not None:
            # A container counts from its own zero, which may come before the first picture.
            announced = Fraction(container.duration, av.time_base)
            found += (timeline.origin or 0) * timeline.time_base
        else:
            return
        if announced - found > 1:
            warnings.warn(
                f"{self.name} announces {float(announced):.1f} s, but its pictures end after "
                f"{float(found):.1f} s: the file may be truncated. What is there is used.",
                stacklevel=2,
            )

    def count_frames(self, start: Fraction, end: Fraction) -> int:
        """Number of frames that begin between two times."""
        return self.timeline.count(start, end)

    def frames(self, start: Fraction = Fraction(0)) -> Generator[Frame, None, None]:
        """All frames in order, from the one on show at a time or an earlier one."""
        if start > 0 and self.timeline.may_seek:
            frames = self._decode(start)
            first = next(frames, None)
            if first is not None and first.time <= start and first.load().key_frame:
                yield first
                yield from frames
                return
            # Containers without an index may end up behind it, or between keyframes.
            frames.close()
        yield from self._decode()

    def _decode(self, seek_to: Fraction | None = None) -> Generator[Frame, None, None]:
        has_warned = False
        timeline = self.timeline
        with self._opened() as (container, stream):
            stream.thread_type = "AUTO"
            if seek_to is not None:
                try:
                    target = math.floor((timeline.origin or 0) + seek_to / timeline.time_base)
                    container.seek(target, stream=stream)
                except av.error.FFmpegError:
                    return
            jumps, clock = JumpRemover(stream, container), PictureClock(timeline)
            time = Fraction(0)
            for packet in packets_of(container, stream):
                jumps.correct(packet)
                clock.note(packet)
                frames, is_damaged = _decode_packet(packet)
                if is_damaged:
                    clock.forget(packet)
                if is_damaged and not has_warned:
                    warnings.warn(
                        f"{self.name} is damaged after {float(time):.1f} s: where pictures cannot be decoded, those "
                        "before them stand in.",
                        stacklevel=2,
                    )
                    has_warned = True
                for frame in frames:
                    time = clock.time_of(frame.pts)
                    yield Frame(time, _loaded(frame), round(frame.rotation / 90))


def announces_late(container: av.container.InputContainer) -> bool:
    """Whether a stream of the file is known only once its first packet is."""
    return container.format.name in ("mpegts", "mpeg")


def video_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """The stream of a file that holds the film: not a cover picture, a preview or a thumbnail.

    Raises:
        VideoReadError: There is none, or it cannot be decoded.
    """
    if container.format.name == "tty":
        raise VideoReadError(f"{name} is a text file, not a video.")
    cover = av.stream.Disposition.attached_pic
    best = container.streams.best("video")
    films = [stream for stream in container.streams.video if not stream.disposition & cover]
    stream = next((stream for stream in films if best is not None and stream.index == best.index), None)
    stream = stream or next(iter(films), None)
    if stream is None:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoReadError(f"{name} has no video stream, only {held}.")
    if stream.codec_context is None:
        raise VideoReadError(f"{name} uses a codec that PyAV cannot decode. Encode it again, as H.264.")
    return stream


def packets_of(container: av.container.InputContainer, stream: StreamT) -> Iterator[av.Packet[StreamT]]:
    """All packets of a stream, to the end of what can be read, and then an empty one that empties its decoder.

    Raises:
        av.error.FFmpegError: The first packet cannot be read.
    """
    has_begun = False
    packets = cast("Iterator[av.Packet[StreamT]]", container.demux(stream))
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            # PyAV also flushes streams that have begun since the file was opened, and does not find them.
            return
        except av.error.InvalidDataError:
            if not has_begun:
                raise
            return
        if packet is None:
            return
        has_begun = True
        yield packet


def _loaded(frame: av.VideoFrame) -> Callable[[], av.VideoFrame]:
    return lambda: frame


def _decode_packet(packet: av.Packet[av.VideoStream]) -> tuple[list[av.VideoFrame], bool]:
    """Decode a packet.

    Returns:
        Its frames, and whether it was damaged. Damaged ones are skipped, as ffmpeg does.
    """
    try:
        return packet.decode(), False
    except (av.error.InvalidDataError, av.error.EOFError):
        return [], True
