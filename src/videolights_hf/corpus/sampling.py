"""The frames of a video that captioner and scorer look at, in one decoding pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from ..video.reader import VideoSource
from .intervals import CorpusForm, Interval, count_clips, interval_clips


@dataclass(frozen=True)
class SamplingSettings:
    """How videos are cut and looked at.

    Args:
        form: What the intervals follow.
        interval_length: Seconds an interval (the paper), or between captioned frames (the release).
        clip_length: Seconds a clip.
        caption_frame_size: Shorter side of the frames that are captioned, in pixels; they are not cropped.
        clip_frame_size: Side of the centre squares that are scored, in pixels.
        max_duration: Longer videos are skipped, in seconds.
    """

    form: CorpusForm
    interval_length: float
    clip_length: float
    caption_frame_size: int
    clip_frame_size: int
    max_duration: float

    def __post_init__(self) -> None:
        for name in ("interval_length", "clip_length", "caption_frame_size", "clip_frame_size", "max_duration"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}.")


@dataclass(frozen=True)
class SampledVideo:
    """What is looked at of a video.

    Attributes:
        vid: The video.
        duration: Its length in seconds.
        is_too_long: It is skipped for its length.
        intervals: Its intervals, those without a clip apart.
        captioned: For each interval the frame to caption, (H, W, 3) uint8.
        clips: For each interval the indices of its clips.
        clip_frames: Clip index to the clip's frame, (clip_frame_size, clip_frame_size, 3) uint8.
    """

    vid: str
    duration: float
    is_too_long: bool = False
    intervals: list[Interval] = field(default_factory=list)
    captioned: list[np.ndarray] = field(default_factory=list)
    clips: list[range] = field(default_factory=list)
    clip_frames: dict[int, np.ndarray] = field(default_factory=dict)


def sample_video(vid: str, source: VideoSource, settings: SamplingSettings) -> SampledVideo:
    """Decode a video and keep what is to be captioned and scored.

    Args:
        vid: Its name.
        source: Where it is.
        settings: How it is cut and looked at.

    Raises:
        VideoReadError: It is no readable video.
        OSError: The file cannot be read.
    """
    reader = source.open()
    duration = reader.metadata.duration
    if duration > settings.max_duration:
        return SampledVideo(vid, duration, is_too_long=True)
    num_clips = count_clips(duration, settings.clip_length)
    found = settings.form.intervals(duration, settings.interval_length)
    with_clips = [(item, interval_clips(item, num_clips, settings.clip_length)) for item in found]
    intervals = [interval for interval, clips in with_clips if clips]
    clips = [clips for _, clips in with_clips if clips]
    wanted = sorted({index for members in clips for index in members})
    length = Fraction(settings.clip_length)

    # One pass for both kinds: (time, kind, index), in the order of time.
    schedule = [(interval.frame_time, "caption", index) for index, interval in enumerate(intervals)]
    schedule += [((index + Fraction(1, 2)) * length, "clip", index) for index in wanted]
    schedule.sort()
    captioned: list[np.ndarray] = []
    clip_frames: dict[int, np.ndarray] = {}
    for frame, (_, kind, index) in zip(reader.frames_at([time for time, *_ in schedule]), schedule, strict=True):
        if kind == "caption":
            captioned.append(frame.scale(settings.caption_frame_size))
        else:
            clip_frames[index] = frame.crop(settings.clip_frame_size)
    return SampledVideo(vid, duration, False, intervals, captioned, clips, clip_frames)
