"""Write parts of a video as files of their own (needs the `video` extra)."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import numpy as np

from ..common.files import written_aside
from .files import VideoReadError
from .film import FileSource
from .frames import Frame
from .sound import SoundFormat, read_sound, sound_format
from .sources import SourcePart, cut_source

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Medium = TypeVar("Medium")

MAX_SLUG_LENGTH = 40
# Divides the frame times of all usual frame rates.
PICTURE_TIME_BASE = Fraction(1, 90_000)
# Half a second, in these units.
LONGEST_PICTURE = 45_000

# AVColorSpace, AVColorRange
_BT709 = 1
_LIMITED_RANGE, _FULL_RANGE = 1, 2


def excerpt_file_name(query: str, start: float, end: float) -> str:
    """Name the file of a moment after its query and its times.

    Only letters and digits of the query are used, so the name is safe whatever the sentence holds.

    Args:
        query: The sentence.
        start: Start of the moment in seconds.
        end: End of the moment in seconds.

    Returns:
        A name such as `a-dog-runs_0012.0-0020.0.mp4`, which sorts by time.
    """
    words = "".join(character if character.isalnum() else " " for character in query.lower()).split()
    slug = "-".join(words)[:MAX_SLUG_LENGTH].strip("-") or "moment"
    return f"{slug}_{start:06.1f}-{end:06.1f}.mp4"


def write_excerpt(
    video: str | os.PathLike[str] | IO[bytes], start: float, end: float, output: str | os.PathLike[str]
) -> Path:
    """Write the part of a video from `start` to `end` to an mp4 file of its own.

    The pictures are encoded again (H.264, 8 bits, which plays everywhere), since a copy could begin only at a keyframe;
    so is the sound (AAC, mono or stereo), if there is any. Frame times, colors (range, matrix, primaries, transfer) and
    the shape of the pixels are kept, a rotation that the file asks for is carried out, and pictures of another size
    than the first are scaled to it.

    Args:
        video: The video file.
        start: Start in seconds; the picture on show at this time is the first one.
        end: End in seconds; the last picture stays until then. What lies after the end of the video is left out.
        output: The file to write; it is replaced if it exists, and left alone if anything fails.

    Returns:
        The path of the written file.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: The end is not after the start, the video is over before the start, or the file cannot be read as a
            video.
        OSError: The file does not exist, or the output cannot be written.
    """
    return write_reel(video, [(start, end)], output)


def write_reel(
    video: str | os.PathLike[str] | IO[bytes],
    spans: Sequence[tuple[float, float]],
    output: str | os.PathLike[str],
) -> Path:
    """Write parts of a video to one mp4 file, one after the other, as [`write_excerpt`] writes one.

    Args:
        video: The video file.
        spans: Start and end of each part in seconds, in the order in which they are shown.
        output: The file to write; it is replaced if it exists, and left alone if anything fails.

    Returns:
        The path of the written file.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: There is no part, one ends before it starts or starts after the end of the video, or the file cannot
            be read as a video.
        OSError: The file does not exist, or the output cannot be written.
    """
    if not spans:
        raise ValueError("A reel needs at least one part of the video.")
    for start, end in spans:
        if not 0 <= start < end:
            raise ValueError(
                f"An excerpt must start at 0 or later and end after its start, got {start:g} s to {end:g} s."
            )
    source = FileSource(video)
    parts = [cut_source(source, start, end) for start, end in spans]
    output = Path(output)
    try:
        # PyAV takes what stands before a colon for a protocol; an absolute path has none.
        with written_aside(output.absolute()) as partial, av.open(os.fspath(partial), "w", format="mp4") as target:
            _write(source, parts, target)
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise VideoReadError(f"The excerpt {output} cannot be written ({error.strerror}).") from error
    return output


def _write(source: FileSource, parts: Sequence[SourcePart], target: OutputContainer) -> None:
    shown = _shown_one_after_the_other(parts)
    first = next(shown, None)
    if first is None:
        raise VideoReadError(f"No picture of {source.name} could be decoded there: it is damaged.")
    painter = _Painter(first)
    pictures = target.add_stream("libx264", rate=_nominal_rate(source.frame_rate), options={"bf": "0"})
    painter.set_up(pictures, source.sample_aspect_ratio)
    timing = _PictureTiming(sum((part.duration for part in parts), Fraction(0)))
    painted = (painter.paint(frame) for frame in itertools.chain([first], shown))
    tracks = [_encoded(pictures.encode, timing.set_times(painted))]

    form = sound_format(source)
    if form is not None:
        sounds = target.add_stream("aac", rate=form.rate, layout=form.layout)
        tracks.append(_encoded(sounds.encode, _sound_frames(_joined_sound(source, parts, form), form)))
    try:
        for _, packets in heapq.merge(*tracks, key=lambda item: item[0]):
            target.mux([timing.set_duration(packet) for packet in packets])
    except BaseException:
        # A thread of the encoder that logs while it is being closed would wait for us forever: empty it first.
        with contextlib.suppress(Exception):
            pictures.encode(None)
        raise


def _encoded(
    encode: Callable[[Medium | None], list[Packet]], frames: Iterator[tuple[Fraction, Medium]]
) -> Iterator[tuple[Fraction, list[Packet]]]:
    time = Fraction(0)
    for time, frame in frames:
        yield time, encode(frame)
    yield time, encode(None)


def _shown_one_after_the_other(parts: Sequence[SourcePart]) -> Iterator[Frame]:
    begin = Fraction(0)
    for part in parts:
        for frame in _on_show(part.frames()):
            yield replace(frame, time=begin + max(frame.time, Fraction(0)))
        begin += part.duration


def _joined_sound(source: FileSource, parts: Sequence[SourcePart], form: SoundFormat) -> Iterator[np.ndarray]:
    """The sound of the parts; the samples of all add up to the length of all, however each is rounded."""
    begin, written = Fraction(0), 0
    for part in parts:
        begin += part.duration
        seconds = Fraction(round(begin * form.rate) - written, form.rate)
        yield from read_sound(source, part.start, part.start + seconds, form)
        written = round(begin * form.rate)


def _on_show(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Leave out the frames that are over before time 0."""
    previous = None
    for frame in frames:
        if previous is not None and frame.time > 0:
            yield previous
        previous = frame
    if previous is not None:
        yield previous


def _nominal_rate(rate: Fraction) -> Fraction:
    """The frame rate that the encoder plans its bits for; the frames keep their own times."""
    return min(max(rate, Fraction(1)), Fraction(240)).limit_denominator(1001)


class _PictureTiming:
    """Gives pictures their times and durations; the last one stays until the end.

    A picture that stays is repeated every half second, so that players can seek and an excerpt of a slide is still a
    video.
    """

    def __init__(self, duration: Fraction):
        self._end = round(duration / PICTURE_TIME_BASE)
        self._durations: dict[int, int] = {}

    def set_times(self, pictures: Iterator[tuple[Fraction, VideoFrame]]) -> Iterator[tuple[Fraction, VideoFrame]]:
        """Frames in the order of their times, which are given to them."""
        previous: VideoFrame | None = None
        begin = 0
        for time, picture in pictures:
            next_begin = max(0, round(time / PICTURE_TIME_BASE))
            if previous is not None:
                yield from self._timed(previous, begin, next_begin)
            previous, begin = picture, max(begin, next_begin)
        if previous is not None:
            yield from self._timed(previous, begin, self._end)

    def _timed(self, picture: VideoFrame, begin: int, end: int) -> Iterator[tuple[Fraction, VideoFrame]]:
        while begin < end:
            next_begin = min(begin + LONGEST_PICTURE, end)
            picture.time_base, picture.pts = PICTURE_TIME_BASE, begin
            self._durations[begin] = next_begin - begin
            yield begin * PICTURE_TIME_BASE, picture
            begin = next_begin

    def set_duration(self, packet: Packet) -> Packet:
        """Say how long the picture of a packet stays; other packets remain as they are."""
        if packet.stream.type == "video" and packet.pts is not None:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
        return packet


class _Painter:
    """Turns pictures upright, and all to the size and colors of the first one."""

    def __init__(self, first: Frame):
        picture = first.load()
        size = picture.width, picture.height
        width, height = size[::-1] if first.quarter_turns % 2 else size
        # 4:2:0 pictures have even sides.
        self._size = max(2, width - width % 2), max(2, height - height % 2)
        self._is_turned = bool(first.quarter_turns % 2)
        self._first = picture
        is_yuv = not (picture.format.is_rgb or picture.format.has_palette or picture.format.name.startswith("gray"))
        # Frames without a color matrix get the most common one.
        self._matrix = picture.colorspace if is_yuv else _BT709
        self._range = picture.color_range if is_yuv else _LIMITED_RANGE
        if picture.format.name.startswith("yuvj"):
            self._range = _FULL_RANGE

    def set_up(self, stream: VideoStream, sample_aspect_ratio: Fraction | None) -> None:
        """Tell the encoder the form of the pictures."""
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = PICTURE_TIME_BASE
        context.colorspace, context.color_range = self._matrix, self._range
        context.color_primaries, context.color_trc = self._first.color_primaries, self._first.color_trc
        if sample_aspect_ratio:
            context.sample_aspect_ratio = 1 / sample_aspect_ratio if self._is_turned else sample_aspect_ratio

    def paint(self, frame: Frame) -> tuple[Fraction, VideoFrame]:
        """The picture of a frame as it is written, and its time."""
        picture = frame.load()
        width, height = self._size[::-1] if frame.quarter_turns % 2 else self._size
        painted = picture.reformat(
            width,
            height,
            "yuv420p",
            dst_colorspace=self._matrix,
            interpolation="BICUBIC",
            src_color_range=_FULL_RANGE if picture.format.name.startswith("yuvj") else picture.color_range,
            dst_color_range=self._range,
        )
        painted = _turned(painted, frame.quarter_turns)
        # The encoder chooses which pictures are whole, not the source.
        painted.pict_type = 0
        return frame.time, painted


def _turned(picture: VideoFrame, quarter_turns: int) -> VideoFrame:
    """A 4:2:0 picture turned counter-clockwise, plane by plane, so that its colors stay as they are."""
    if not quarter_turns % 4:
        return picture
    width, height = picture.width, picture.height
    flat = picture.to_ndarray().ravel()
    area = width * height
    planes = (
        flat[:area].reshape(height, width),
        flat[area : area * 5 // 4].reshape(height // 2, width // 2),
        flat[area * 5 // 4 :].reshape(height // 2, width // 2),
    )
    pixels = np.concatenate([np.rot90(plane, quarter_turns).ravel() for plane in planes])
    return type(picture).from_ndarray(pixels.reshape(-1, height if quarter_turns % 2 else width), "yuv420p")


def _sound_frames(blocks: Iterator[np.ndarray], form: SoundFormat) -> Iterator[tuple[Fraction, AudioFrame]]:
    position = 0
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(block, "fltp", form.layout)
        frame.sample_rate, frame.time_base, frame.pts = form.rate, Fraction(1, form.rate), position
        yield Fraction(position, form.rate), frame
        position += block.shape[1]
