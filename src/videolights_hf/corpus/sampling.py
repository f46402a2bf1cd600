"""The frames of a video that captioner and scorer look at, in one decoding pass."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..video.reader import VideoSource, clip_grid, frame_times
from .intervals import Interval, interval_clips
from .settings import CorpusSettings


@dataclass(frozen=True)
class SampledVideo:
    """What is looked at of a video.

    Attributes:
        vid: The video.
        duration: Its length in seconds, as the corpus writes it.
        skipped: Why nothing is looked at, if so.
        intervals: Its intervals.
        captioned: For each interval the frame to caption, (H, W, 3) uint8.
        clips: For each interval the indices of its clips.
        clip_frames: Clip index to the clip's frame, (clip_frame_size, clip_frame_size, 3) uint8.
    """

    vid: str
    duration: float
    skipped: Literal["too_long", "too_short"] | None = None
    intervals: list[Interval] = field(default_factory=list)
    captioned: list[np.ndarray] = field(default_factory=list)
    clips: list[range] = field(default_factory=list)
    clip_frames: dict[int, np.ndarray] = field(default_factory=dict)


def sample_video(vid: str, source: VideoSource, settings: CorpusSettings, clip_length: float) -> SampledVideo:
    """Decode a video and keep what is to be captioned and scored.

    Args:
        vid: Its name.
        source: Where it is.
        settings: How it is cut and looked at.
        clip_length: Seconds per clip.

    Raises:
        VideoReadError: It is not a readable video.
        OSError: The file cannot be read.
    """
    rules = settings.rules
    reader = source.open()
    exact = reader.metadata.duration
    duration = float(math.floor(exact)) if rules.floors_duration else exact
    if duration > settings.longest:
        return SampledVideo(vid, duration, "too_long")
    # The same clips, and the same frames for them, as the features of the video have.
    num_clips, spacing = clip_grid(exact, clip_length)
    clip_times = frame_times(num_clips, spacing)
    intervals, clips = [], []
    for interval in rules.intervals(exact, settings.interval_length):
        members = interval_clips(interval, num_clips, clip_length, settings.keeps_last_clip)
        if members or rules.keeps_clipless:
            intervals.append(interval)
            clips.append(members)
    if not intervals:
        return SampledVideo(vid, duration, "too_short")

    # One pass for both kinds: (time, kind, index), in the order of time.
    schedule = [(interval.frame_time, "caption", index) for index, interval in enumerate(intervals)]
    schedule += [(clip_times[index], "clip", index) for index in {clip for members in clips for clip in members}]
    schedule.sort()
    captioned: dict[int, np.ndarray] = {}
    clip_frames: dict[int, np.ndarray] = {}
    for frame, (_, kind, index) in zip(reader.frames_at([time for time, *_ in schedule]), schedule, strict=True):
        if kind == "clip":
            clip_frames[index] = frame.crop(settings.clip_frame_size)
        elif rules.crops_captioned:
            captioned[index] = frame.crop(settings.captioned_size)
        else:
            captioned[index] = frame.scale(settings.captioned_size)
    frames = [captioned[index] for index in range(len(intervals))]
    return SampledVideo(vid, duration, None, intervals, frames, clips, clip_frames)
