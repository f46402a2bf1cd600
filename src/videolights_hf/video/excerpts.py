"""Cut moments out of a video as files of their own (needs the `video` extra)."""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame
    from av.container import InputContainer, OutputContainer
    from av.frame import Frame
    from av.stream import Stream


MAX_SLUG_LENGTH = 40
# Divides the frame times of all usual frame rates.
PICTURE_TIME_BASE = Fraction(1, 90_000)


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


def write_excerpt(video: str | os.PathLike, start: float, end: float, output: str | os.PathLike) -> Path:
    """Write the part of a video from `start` to `end` to an mp4 file of its own.

    The pictures are encoded again (H.264), since a copy could begin only at a keyframe; so is the sound (AAC), if
    there is any. Frame times are kept, and a rotation that the file asks for is carried out.

    Args:
        video: The video file.
        start: Start in seconds; the picture on show at this time is the first one.
        end: End in seconds; what the video lacks at its end is left out.
        output: The file to write; it is replaced if it exists, and left alone if anything fails.

    Returns:
        The path of the written file.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: The end is not after the start, or the file has no picture there.
        OSError: The file does not exist, or cannot be read as a video.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError('Cutting videos needs PyAV: pip install "videolights-hf[video]".') from error

    if not 0 <= start < end:
        raise ValueError(f"A moment must start at 0 or later and end after its start, got {start:g} s to {end:g} s.")
    output = Path(output)
    partial = output.with_name(f".{output.name}.partial")
    try:
        # Two readers, so that picture and sound can be cut independently and merged by time.
        with av.open(os.fspath(video)) as pictures, av.open(os.fspath(video)) as sounds:
            if not pictures.streams.video:
                raise ValueError(f"{os.fspath(video)} has no pictures: it holds no video stream.")
            with av.open(str(partial), "w", format="mp4") as target:
                _transcode(pictures, sounds, target, start, end)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return output


def _transcode(
    pictures: InputContainer, sounds: InputContainer, target: OutputContainer, start: float, end: float
) -> None:
    stream = pictures.streams.video[0]
    # Times count from the first picture: files may begin at another timestamp, and the sound at yet another one.
    zero = float((stream.start_time or 0) * stream.time_base)
    frames = _pictures(pictures, zero + start, zero + end)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{pictures.name} has no pictures between {start:g} s and {end:g} s.")

    video_encoder = target.add_stream("libx264", rate=stream.average_rate or 25)
    video_encoder.width, video_encoder.height = first[1].width, first[1].height
    video_encoder.pix_fmt = "yuv420p"
    video_encoder.codec_context.time_base = PICTURE_TIME_BASE
    tracks = [_timed(itertools.chain([first], frames), video_encoder, PICTURE_TIME_BASE)]
    if sounds.streams.audio:
        sound = sounds.streams.audio[0]
        audio_encoder = target.add_stream("aac", rate=sound.rate, layout=sound.layout.name)
        tracks.append(_timed(_sounds(sounds, zero + start, zero + end), audio_encoder, Fraction(1, sound.rate)))
    for _, frame, encoder in heapq.merge(*tracks, key=lambda item: item[0]):
        target.mux(encoder.encode(frame))
    for encoder in target.streams:
        target.mux(encoder.encode(None))


def _timed(
    frames: Iterable[tuple[float, Frame]], encoder: Stream, time_base: Fraction
) -> Iterator[tuple[float, Frame, Stream]]:
    for time, frame in frames:
        frame.time_base = time_base
        frame.pts = round(time / time_base)
        yield time, frame, encoder


def _pictures(source: InputContainer, start: float, end: float) -> Iterator[tuple[float, VideoFrame]]:
    """Give the pictures on show from `start` to `end`, each with its time after `start`."""
    stream = source.streams.video[0]
    stream.thread_type = "AUTO"
    on_show = None
    for frame in _decode_from(source, stream, start):
        if frame.time >= end:
            break
        if on_show is not None and frame.time > start:
            yield max(on_show.time - start, 0.0), _upright(on_show)
        on_show = frame
    if on_show is not None and on_show.time + float((on_show.duration or 1) * on_show.time_base) > start:
        yield max(on_show.time - start, 0.0), _upright(on_show)


def _sounds(source: InputContainer, start: float, end: float) -> Iterator[tuple[float, AudioFrame]]:
    stream = source.streams.audio[0]
    for frame in _decode_from(source, stream, start):
        if frame.time >= end:
            break
        if frame.time >= start:
            yield frame.time - start, frame


def _decode_from(source: InputContainer, stream: Stream, time: float) -> Iterator[Any]:
    """Decode from some frame at or before `time` on, or from the first one."""
    source.seek(round(time / stream.time_base), stream=stream)
    frames = source.decode(stream)
    first = next(frames, None)
    if first is not None and first.time <= time:
        yield first
    else:
        # Containers without an index may end up behind it.
        source.seek(0)
        frames = source.decode(stream)
    yield from frames


def _upright(frame: VideoFrame) -> VideoFrame:
    """Carry out the rotation that the file asks for, on even sides, as 4:2:0 pictures need."""
    if frame.rotation:
        pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
        frame = type(frame).from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return frame.reformat(frame.width - frame.width % 2, frame.height - frame.height % 2, "yuv420p")
