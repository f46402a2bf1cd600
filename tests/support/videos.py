"""Videos made for tests: frames whose brightness or bands tell which they are, and files encoded on the spot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def gray_frames(levels: Sequence[int], width: int = 64, height: int = 48) -> np.ndarray:
    """Frames of one color, (T, height, width, 3) uint8. Encoding and scaling may shift a level by one or two."""
    return np.broadcast_to(
        np.asarray(levels, dtype=np.uint8)[:, None, None, None], (len(levels), height, width, 3)
    ).copy()


def numbered_frames(numbers: Sequence[int], width: int = 64, height: int = 48) -> np.ndarray:
    """Frames (T, height, width, 3) uint8 that carry their number, 0 to 255, as eight black or white bands."""
    bits = np.unpackbits(np.asarray(numbers, dtype=np.uint8)[:, None], axis=1)
    rows = np.repeat(bits, height // 8, axis=1) * np.uint8(255)
    return np.broadcast_to(rows[:, :, None, None], (len(rows), height, width, 3)).copy()


def read_number(frame: np.ndarray) -> int:
    """Number of a frame (H, W, ...) made by `numbered_frames`, after encoding, scaling or cropping to its height."""
    band = len(frame) // 8
    bits = [frame[band * index + band // 2].mean() > 127 for index in range(8)]
    return int(np.packbits(bits)[0])


def write_video(
    path: Path | str,
    frames: np.ndarray,
    fps: Fraction | float = 25,
    *,
    times: Sequence[Fraction | float] | None = None,
    codec: str = "libx264",
    rotation: int | None = None,
    options: dict[str, str] | None = None,
    format: str | None = None,
    pixel_format: str = "yuv420p",
    sample_aspect_ratio: Fraction | None = None,
    colors: Colors | None = None,
    sounds: Sequence[Tone] = (),
) -> Path:
    """Encode frames (T, H, W, 3) uint8 RGB to a file.

    Args:
        path: The file; its suffix chooses the container unless `format` does.
        frames: The pictures.
        fps: Frames per second, and the stream's nominal rate.
        times: Presentation times in seconds, for a variable frame rate.
        codec: Name of the encoder.
        rotation: Degrees, counter-clockwise, by which players are asked to turn the picture.
        options: Options of the encoder.
        format: Name of the container.
        pixel_format: What the encoder is given.
        sample_aspect_ratio: Width of a pixel by its height.
        colors: What the file says of its colors, which are converted to it.
        sounds: Sound tracks.
    """
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 90_000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if sample_aspect_ratio is not None:
            stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if colors is not None:
            colors.tag(stream.codec_context)
        tracks = [(container.add_stream(tone.codec, rate=tone.rate, layout=tone.layout), tone) for tone in sounds]
        for track, tone in tracks:
            track.disposition = av.stream.Disposition.default if tone.is_default else av.stream.Disposition(0)
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if colors is not None:
                frame = frame.reformat(
                    format=pixel_format, dst_colorspace=colors.matrix, dst_color_range=colors.range or None
                )
            if times is not None:
                frame.time_base = Fraction(1, 90_000)
                frame.pts = round(Fraction(times[index]) * 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for track, tone in tracks:
            for block in tone.blocks():
                container.mux(track.encode(block))
            container.mux(track.encode(None))
    return Path(path)


@dataclass(frozen=True)
class Colors:
    """What a file says of its colors, in FFmpeg's numbers; by default BT.709 in the limited range."""

    matrix: int = 1
    range: int = 1
    primaries: int = 1
    transfer: int = 1

    def tag(self, context: av.VideoCodecContext) -> None:
        """Have an encoder say so."""
        context.colorspace, context.color_range = self.matrix, self.range
        context.color_primaries, context.color_trc = self.primaries, self.transfer


@dataclass(frozen=True)
class Tone:
    """A sound track of one tone, the same on all its channels."""

    seconds: float
    start: float = 0.0
    frequency: float = 440.0
    rate: int = 16_000
    layout: str = "mono"
    num_channels: int = 1
    codec: str = "aac"
    is_default: bool = True

    def blocks(self) -> Iterator[av.AudioFrame]:
        """Its samples, with their times."""
        times = np.arange(int(self.seconds * self.rate)) / self.rate
        samples = np.repeat((np.sin(2 * np.pi * self.frequency * times) * 12_000).astype(np.int16), self.num_channels)
        for first in range(0, len(times), 1024):
            block = samples[first * self.num_channels : (first + 1024) * self.num_channels]
            frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout=self.layout)
            frame.sample_rate, frame.time_base = self.rate, Fraction(1, self.rate)
            frame.pts = int(self.start * self.rate) + first
            yield frame


def join_files(path: Path, *parts: Path) -> Path:
    """Write files one after the other into one, as `cat` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path
