"""The sound of a video, from one time of its pictures to another, as plain samples."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .clock import nearest_offset
from .film import FileSource, announces_late, packets_of

try:
    import av
except ImportError:
    av = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

# What AAC has codes for; other rates become the last one.
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 88200, 96000, 48000)
BLOCK_SAMPLES = 1024
# ffmpeg's layout for channels of which only the number is known.
_LAYOUTS = {3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1", 16: "hexadecagonal", 24: "22.2"}
# Smaller offsets are left alone: timestamps are rounded.
_LARGEST_DRIFT = Fraction(1, 20)


@dataclass(frozen=True)
class SoundFormat:
    """Samples per second, and the name of the channel layout: `"mono"` or `"stereo"`."""

    rate: int
    layout: str

    @property
    def num_channels(self) -> int:
        """One or two."""
        return 1 if self.layout == "mono" else 2


def sound_format(source: FileSource) -> SoundFormat | None:
    """The form in which a video's sound can be written everywhere: one or two channels, at a rate that AAC has.

    Returns:
        `None` for a video without sound that can be decoded.
    """
    with _opened(source) as (_, stream):
        if stream is None:
            return None
        rate = stream.rate if stream.rate in AAC_RATES else AAC_RATES[-1]
        return SoundFormat(rate, "mono" if stream.codec_context.channels == 1 else "stereo")


def read_sound(source: FileSource, start: Fraction, end: Fraction, form: SoundFormat) -> Iterator[np.ndarray]:
    """The samples of a video's sound from one time to another; silence where there is none.

    Args:
        source: The video.
        start: Seconds after the first picture.
        end: Seconds after the first picture.
        form: The form of the samples.

    Yields:
        Blocks (channels, samples) float32, one after the other, `round((end - start) * rate)` samples in total.
    """
    num_left = round((end - start) * form.rate)
    position = 0
    for time, samples in _timed_samples(source, start, form):
        begin = round((time - start) * form.rate)
        if begin > position:
            silence = min(begin - position, num_left)
            yield from _blocks(np.zeros((form.num_channels, silence), np.float32))
            position, num_left = position + silence, num_left - silence
        samples = samples[:, max(0, position - begin) :][:, :num_left]
        yield from _blocks(samples)
        position, num_left = position + samples.shape[1], num_left - samples.shape[1]
        if not num_left:
            return
    yield from _blocks(np.zeros((form.num_channels, num_left), np.float32))


def _blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, samples.shape[1], BLOCK_SAMPLES):
        yield np.ascontiguousarray(samples[:, first : first + BLOCK_SAMPLES])


@contextlib.contextmanager
def _opened(source: FileSource) -> Iterator[tuple[InputContainer, AudioStream | None]]:
    with source.open() as container:
        stream = _stream(container)
        if stream is not None or not announces_late(container):
            yield container, stream
            return
    with source.open(deep=True) as container:
        yield container, _stream(container)


def _stream(container: InputContainer) -> AudioStream | None:
    """The track that players choose: the default one, of the film's program."""
    best = container.streams.best("audio", container.streams.best("video"))
    stream = next(
        (stream for stream in container.streams.audio if best is not None and stream.index == best.index), None
    )
    if stream is None or stream.codec_context is None or not stream.rate:
        return None
    # PyAV frees a layout of single channels twice as soon as it is looked at, in the stream or in a frame: it is
    # replaced unseen. Decoders that find their layout in the sound itself set it again.
    channels = stream.codec_context.channels
    if channels > 2:
        if channels not in _LAYOUTS:
            return None
        stream.codec_context.layout = _LAYOUTS[channels]
    return stream if channels else None


def _timed_samples(
    source: FileSource, start: Fraction, form: SoundFormat
) -> Generator[tuple[Fraction, np.ndarray], None, None]:
    """Samples with their times, from a time or earlier on; times within a track run on without gaps of rounding."""
    resampler: AudioResampler | None = None
    setting: tuple[object, ...] = ()
    next_time: Fraction | None = None
    for time, frame in _frames(source, start):
        if (new := (frame.format.name, frame.layout.name, frame.sample_rate)) != setting:
            # Broadcasts change between stereo and more channels. Channels that are only counted get ffmpeg's layout.
            resampler = av.AudioResampler(format="fltp", layout=form.layout, rate=form.rate)
            setting, next_time = new, None
        if next_time is None or abs(time - next_time) > _LARGEST_DRIFT:
            next_time = time
        frame.pts = None
        assert resampler is not None
        for resampled in resampler.resample(frame):
            samples = resampled.to_ndarray().astype(np.float32, copy=False)
            yield next_time, samples
            next_time += Fraction(samples.shape[1], form.rate)


def _frames(source: FileSource, start: Fraction) -> Generator[tuple[Fraction, AudioFrame], None, None]:
    if start > 0 and source.timeline.may_seek:
        frames = _decode(source, start)
        first = next(frames, None)
        if first is not None and first[0] <= start:
            yield from itertools.chain([first], frames)
            return
        # Containers without an index may end up behind it.
        frames.close()
    yield from _decode(source)


def _decode(source: FileSource, seek_to: Fraction | None = None) -> Generator[tuple[Fraction, AudioFrame], None, None]:
    timeline = source.timeline
    origin = (timeline.origin or 0) * timeline.time_base
    with _opened(source) as (container, stream):
        if stream is None or not stream.time_base:
            return
        if seek_to is not None:
            try:
                container.seek(math.floor((origin + seek_to) / stream.time_base), stream=stream)
            except av.error.FFmpegError:
                return
        offsets = [round(offset * timeline.time_base / stream.time_base) for offset in timeline.offsets]
        expected: int | None = None
        for packet in packets_of(container, stream):
            if len(timeline.offsets) > 1 and packet.pts is not None:
                expected = _follow_jumps(packet, expected, offsets)
            for frame in _decode_packet(packet):
                if frame.pts is not None and frame.time_base:
                    yield frame.pts * frame.time_base - origin, frame


def _follow_jumps(packet: Packet[AudioStream], expected: int | None, offsets: list[int]) -> int:
    """Move a packet by what its part of the film is moved by; gives the time at which the next one is expected."""
    assert packet.pts is not None
    if expected is not None:
        best = nearest_offset(packet.pts, expected, offsets[:2])
        while len(offsets) > 1 and best != offsets[0]:
            offsets.pop(0)
    packet.pts += offsets[0]
    packet.dts = packet.pts
    return packet.pts + (packet.duration or 0)


def _decode_packet(packet: Packet[AudioStream]) -> list[AudioFrame]:
    try:
        return packet.decode()
    except (av.error.InvalidDataError, av.error.EOFError):
        return []
