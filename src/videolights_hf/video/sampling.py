"""Which frames of a video stand for its clips.

**One frame per clip.** A video of T seconds has `floor(T / clip_length + 1/2)` clips. The frame of clip i is the last
one presented *before* `(i + 1/2) * clip_length`, the middle of the clip. This is what ffmpeg's filter
`fps=1/clip_length` keeps: it rounds each frame's timestamp to the nearest multiple of the clip length (halves up) and
lets the last frame that rounds to i or less stand for i. A video shorter than one clip plus 0.1 s is cut at the rate
`r = 2 / max(floor(T), 1)` instead, as in the features of the release: `floor(r T + 1/2)` clips of 1 / r seconds.

**Several frames per clip**, spread evenly (`"even"`): what `fps=n/clip_length` keeps, the last frame before
`(i + (j + 1/2) / n) * clip_length` for j = 0 .. n - 1.

**Several frames per clip at 30 fps** (`"30fps"`), as the published SlowFast features were made: the video as the filter
`fps=30` gives it, its last second filled up with its last frame, its last clip filled up by repeating its last second.
Of the F = 30 * clip_length frames of a clip those at `trunc(min(x, F - 1))` are taken, x = linspace(0, 64 f / 30 - 1, n),
with f the file's average frame rate rounded down. There are `ceil(T / clip_length)` clips.
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np

Sampling: TypeAlias = Literal["even", "30fps"]

# How frames were sampled where features, or a backbone, do not tell.
UNMARKED_SAMPLING: Sampling = "even"

# A video shorter than one clip and this many seconds is cut into shorter clips (released feature extraction).
SHORT_VIDEO_MARGIN = Fraction(1, 10)
RELEASE_RATE = 30
# The released extraction spaces 64 frames of a video of 30 fps over each clip, and takes every second.
_RELEASE_SPAN = 64


@dataclass(frozen=True)
class FrameRequirement:
    """What a backbone looks at.

    Attributes:
        size: Side of the square crop, in pixels.
        frames_per_clip: Number of frames of each clip.
        sampling: Which ones: `"even"`, spread evenly over the clip, or `"30fps"`, as the published SlowFast features
            were made.
    """

    size: int = 224
    frames_per_clip: int = 1
    sampling: Sampling = "even"

    def __post_init__(self) -> None:
        if self.sampling not in ("even", "30fps"):
            raise ValueError(f"`sampling` must be 'even' or '30fps', got {self.sampling!r}.")


@dataclass(frozen=True)
class WantedFrame:
    """The frame that is wanted for a place in a clip: the last one presented before `time` seconds."""

    time: Fraction
    clip: int
    position: int


def clip_grid(duration: float | Fraction, clip_length: float) -> tuple[int, float]:
    """Number and length of the clips that a video is cut into.

    Args:
        duration: Length of the video in seconds.
        clip_length: Nominal length of a clip in seconds.

    Returns:
        The number of clips, and their length in seconds: `clip_length`, or less for a video shorter than one clip plus
        0.1 s.

    Raises:
        ValueError: The duration or the clip length is not a positive number.
    """
    number, length = _exact_grid(
        positive_fraction("duration", duration), positive_fraction("clip_length", clip_length)
    )
    return number, float(length)


def count_clips(requirement: FrameRequirement, duration: float | Fraction, clip_length: float) -> int:
    """Number of clips for which a requirement is given frames: `clip_grid`'s, or one for each begun clip at 30 fps."""
    if requirement.sampling == "even":
        return clip_grid(duration, clip_length)[0]
    exact_duration, length = positive_fraction("duration", duration), positive_fraction("clip_length", clip_length)
    return min(
        math.ceil(exact_duration / length),
        math.ceil(_padded_at_release_rate(exact_duration) / (RELEASE_RATE * length)),
    )


def frame_times(num_clips: int, clip_length: float, frames_per_clip: int = 1) -> list[Fraction]:
    """Times whose preceding frames stand for the clips of a video, spread evenly (rule above).

    Args:
        num_clips: Clips in the video.
        clip_length: Seconds per clip.
        frames_per_clip: Frames taken from each clip.

    Returns:
        `num_clips * frames_per_clip` times in seconds, ascending. The frame for time t is the last one presented
        before t.
    """
    step = positive_fraction("clip_length", clip_length) / frames_per_clip
    return [(index + Fraction(1, 2)) * step for index in range(num_clips * frames_per_clip)]


def wanted_frames(
    requirement: FrameRequirement, duration: Fraction, frame_rate: Fraction, clip_length: float
) -> Iterator[WantedFrame]:
    """Frames of all clips of a video, ordered by time; made one by one, since a video may be long.

    Args:
        requirement: What the backbone looks at.
        duration: Length of the video in seconds.
        frame_rate: Average frames per second that the file states.
        clip_length: Nominal length of a clip in seconds.
    """
    length = positive_fraction("clip_length", clip_length)
    if requirement.sampling == "even":
        return _even(requirement.frames_per_clip, *_exact_grid(duration, length))
    return _at_release_rate(requirement, duration, frame_rate, length)


def _exact_grid(duration: Fraction, clip_length: Fraction) -> tuple[int, Fraction]:
    if duration < clip_length + SHORT_VIDEO_MARGIN:
        length = Fraction(max(math.floor(duration), 1), 2)
        return max(1, math.floor(duration / length + Fraction(1, 2))), length
    return math.floor(duration / clip_length + Fraction(1, 2)), clip_length


def _even(frames_per_clip: int, num_clips: int, clip_length: Fraction) -> Iterator[WantedFrame]:
    step = clip_length / frames_per_clip
    for clip in range(num_clips):
        for position in range(frames_per_clip):
            yield WantedFrame((clip * frames_per_clip + position + Fraction(1, 2)) * step, clip, position)


def _padded_at_release_rate(duration: Fraction) -> int:
    """Number of frames at 30 fps, whole seconds."""
    num_frames = max(1, math.floor(duration * RELEASE_RATE + Fraction(1, 2)))
    return math.ceil(Fraction(num_frames, RELEASE_RATE)) * RELEASE_RATE


def _at_release_rate(
    requirement: FrameRequirement, duration: Fraction, frame_rate: Fraction, clip_length: Fraction
) -> Iterator[WantedFrame]:
    frames_per_clip = requirement.frames_per_clip
    clip_frames = max(1, round(RELEASE_RATE * clip_length))
    num_frames = max(1, math.floor(duration * RELEASE_RATE + Fraction(1, 2)))
    padded = _padded_at_release_rate(duration)
    last = _RELEASE_SPAN * math.floor(frame_rate) / RELEASE_RATE - 1
    places = np.clip(np.linspace(0, last, frames_per_clip), 0, clip_frames - 1).astype(int).tolist()

    def frames_of(clip: int) -> list[WantedFrame]:
        wanted = []
        for position, place in enumerate(places):
            frame = clip * clip_frames + place
            if frame >= padded:
                frame = padded - RELEASE_RATE + (frame - padded) % RELEASE_RATE
            time = Fraction(2 * min(frame, num_frames - 1) + 1, 2 * RELEASE_RATE)
            wanted.append(WantedFrame(time, clip, position))
        return wanted

    num_clips = count_clips(requirement, duration, float(clip_length))
    # The end of the last clip repeats frames that come before its own, and perhaps before the clip.
    for clip in range(max(0, num_clips - 2)):
        yield from frames_of(clip)
    end = itertools.chain.from_iterable(frames_of(clip) for clip in range(max(0, num_clips - 2), num_clips))
    yield from sorted(end, key=lambda wanted: wanted.time)


def positive_fraction(name: str, value: Any) -> Fraction:
    """A value as a fraction: 1e6 resolves 30000/1001 frames per second and every clip length in use exactly."""
    if isinstance(value, Fraction) and value > 0:
        return value
    if not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"`{name}` must be a positive number, got {value!r}.")
    return Fraction(float(value)).limit_denominator(1_000_000)
