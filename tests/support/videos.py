"""Videos made for tests: frames whose brightness or bands tell which they are, and files encoded on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def gray_frames(levels: Sequence[int], width: int = 64, height: int = 48) -> np.ndarray:
    """One-colour frames, (T, height, width, 3) uint8. Encoding and scaling may shift a level by one or two."""
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
    """
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 90_000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if times is not None:
                frame.time_base = Fraction(1, 90_000)
                frame.pts = round(Fraction(times[index]) * 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)
