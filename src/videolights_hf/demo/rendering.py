"""Rendering the world: frames as arrays, and videos as mp4 files.

A frame is a background pattern that scrolls slowly, with the scene's object drawn over it. Everything that a frame shows
follows from the scene, so a frame can be rendered alone, without the ones before it.
"""

from __future__ import annotations

import os
from fractions import Fraction
from functools import lru_cache
from math import ceil, cos, pi, sin
from os import PathLike

import numpy as np
from PIL import Image, ImageDraw

from .scenes import Scene, VideoPlan
from .vocabulary import COLORS

FRAME_SIZE = 128
"""Side of the square frames, in pixels."""
FRAMES_PER_SECOND = 10

_SUPERSAMPLING = 4
_SCROLL_PIXELS_PER_SECOND = 5.0
_OUTLINE = 0.1


def render_scene_frame(scene: Scene, seconds: float) -> np.ndarray:
    """Render one frame of a scene.

    Args:
        scene: What to show.
        seconds: Time since the scene's start.

    Returns:
        RGB frame (FRAME_SIZE, FRAME_SIZE, 3), uint8.
    """
    texture, color, direction = _scene_look(scene)
    offset = round(_SCROLL_PIXELS_PER_SECOND * min(seconds, scene.duration))
    row, column = (offset if step > 0 else texture.shape[0] - FRAME_SIZE - offset for step in direction)
    frame = texture[row : row + FRAME_SIZE, column : column + FRAME_SIZE].astype(np.float32)
    _draw_object(frame, scene, seconds, color)
    return np.clip(frame.round(), 0, 255).astype(np.uint8)


def render_frame(plan: VideoPlan, time: float) -> np.ndarray:
    """Render the frame of a video at `time` seconds: RGB (FRAME_SIZE, FRAME_SIZE, 3), uint8."""
    scene = plan.scene_at(time)
    return render_scene_frame(scene, time - scene.start)


def render_video(plan: VideoPlan, path: str | PathLike[str]) -> None:
    """Render a whole video and encode it as H.264 in an mp4 file.

    Args:
        plan: The video.
        path: File to write.
    """
    import av

    # PyAV takes what stands before a colon for a protocol; an absolute path has none.
    with av.open(os.path.abspath(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.width = stream.height = FRAME_SIZE
        stream.pix_fmt = "yuv420p"
        # One thread: the encoder's threads would make the file depend on the machine's number of cores.
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "27", "preset": "veryfast"}
        stream.time_base = Fraction(1, FRAMES_PER_SECOND)
        for i in range(plan.duration * FRAMES_PER_SECOND):
            frame = av.VideoFrame.from_ndarray(render_frame(plan, i / FRAMES_PER_SECOND), format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@lru_cache(maxsize=4)
def _scene_look(scene: Scene) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Background (S, S, 3) uint8 larger than a frame, color (3,) of the object, and the signs of the scrolling."""
    rng = np.random.default_rng(scene.seed)
    side = FRAME_SIZE + ceil(_SCROLL_PIXELS_PER_SECOND * scene.duration)
    texture = _render_background(rng, scene.kind.background, side)
    color = np.clip(np.array(COLORS[scene.kind.color]) + rng.normal(0, 6, size=3), 0, 255).astype(np.float32)
    direction = (int(rng.choice([-1, 1])), int(rng.choice([-1, 1])))
    return texture, color, direction


def _render_background(rng: np.random.Generator, background: str, side: int) -> np.ndarray:
    """A pattern (side, side, 3), uint8, in two muted tones of about the same hue."""
    dark = rng.uniform(50, 95) + rng.uniform(-18, 18, size=3)
    light = dark + rng.uniform(38, 60) + rng.uniform(-8, 8, size=3)
    samples = 2
    y, x = np.mgrid[: side * samples, : side * samples] / samples
    mask = _PATTERNS[background](rng, x + rng.uniform(0, 50), y + rng.uniform(0, 50)).astype(np.float32)
    mask = mask.reshape(side, samples, side, samples).mean(axis=(1, 3))[..., None]
    return np.clip(dark + (light - dark) * mask, 0, 255).round().astype(np.uint8)


def _plain(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return rng.uniform(0, 0.5) + 0.5 * y / y.max()


def _stripes(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    angle, period = rng.choice([0, pi / 4, pi / 2, 3 * pi / 4]), rng.uniform(20, 28)
    return (x * cos(angle) + y * sin(angle)) % period < period / 2


def _checks(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    cell = rng.uniform(14, 20)
    return (x // cell + y // cell) % 2 == 0


def _dots(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    spacing = rng.uniform(20, 28)
    return np.hypot(x % spacing - spacing / 2, y % spacing - spacing / 2) < 0.3 * spacing


def _bricks(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    height, mortar = rng.uniform(13, 17), 2.5
    shifted = x + (y // height) % 2 * height
    return (y % height > mortar) & (shifted % (2 * height) > mortar)


_PATTERNS = {"plain": _plain, "stripes": _stripes, "checks": _checks, "dots": _dots, "bricks": _bricks}


def _draw_object(frame: np.ndarray, scene: Scene, seconds: float, color: np.ndarray) -> None:
    """Draw the object with a dark outline over `frame` (H, W, 3) float32, in place; parts outside are cut off."""
    radius = scene.radius(seconds) * FRAME_SIZE
    x, y = (coordinate * FRAME_SIZE for coordinate in scene.center(seconds))
    left, top, side = int(x - radius) - 1, int(y - radius) - 1, int(2 * radius) + 4
    points = _outline_points(scene.kind.shape, scene.angle(seconds))
    rows, columns = (slice(max(0, low), max(0, min(FRAME_SIZE, low + side))) for low in (top, left))
    for scale, tone in ((1.0, 0.35), (1.0 - _OUTLINE, 1.0)):
        mask = Image.new("L", (side * _SUPERSAMPLING, side * _SUPERSAMPLING))
        polygon = (points * radius * scale + (x - left, y - top)) * _SUPERSAMPLING
        ImageDraw.Draw(mask).polygon([tuple(point) for point in polygon.tolist()], fill=255)
        alpha = np.asarray(mask.reduce(_SUPERSAMPLING), dtype=np.float32)[..., None] / 255
        alpha = alpha[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        frame[rows, columns] += alpha * (color * tone - frame[rows, columns])


def _outline_points(shape: str, angle: float) -> np.ndarray:
    """Corners (P, 2) of a shape's outline, (x, y) with y downwards, within the unit circle, turned by `angle`."""
    points = _SHAPE_POINTS[shape]
    return points @ np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])


def _on_circle(num_points: int, radii: tuple[float, ...] = (1.0,), turn: float = 0.0) -> np.ndarray:
    """`num_points` directions clockwise from straight up, at `radii` in turn."""
    angles = 2 * pi * np.arange(num_points) / num_points + turn
    lengths = np.resize(radii, num_points)
    return np.stack([lengths * np.sin(angles), -lengths * np.cos(angles)], axis=1)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y - 2.5], axis=1) / 16


_SHAPE_POINTS = {
    "circle": _on_circle(60) * 0.95,
    "square": _on_circle(4, turn=pi / 4) * 1.1,
    "triangle": _on_circle(3) * 1.1,
    "star": _on_circle(10, radii=(1.1, 0.46)),
    "heart": _heart(),
}
