"""Which parts of a video are captioned, which frame stands for each, and which of its clips lie inside.

Two forms: Algorithm 1 as the paper prints it, and what the released corpus was made by. All times are exact fractions
of a second, so that the end of one interval is the start of the next and no clip is won or lost by rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from ..common.messages import unknown_name
from ..video.reader import clip_grid, frame_times

INTERVAL_LENGTH = 10.0
"""Seconds an interval (Algorithm 1, line 1), and seconds between captioned frames in the release (0.1 fps)."""


@dataclass(frozen=True)
class Interval:
    """A part of a video with one caption.

    Attributes:
        start: In seconds.
        end: In seconds.
        frame_time: The last frame presented before this time, in seconds, is captioned.
    """

    start: Fraction
    end: Fraction
    frame_time: Fraction


def paper_intervals(duration: float, length: float = INTERVAL_LENGTH) -> list[Interval]:
    """Algorithm 1: `ceil(duration / length)` intervals, the middle frame of each.

    Args:
        duration: Seconds of the video.
        length: Seconds an interval; the last one ends with the video.
    """
    total, step = Fraction(duration), Fraction(length)
    bounds = [index * step for index in range(math.ceil(total / step))] + [total]
    return [Interval(start, end, (start + end) / 2) for start, end in itertools.pairwise(bounds)]


def release_intervals(duration: float, length: float = INTERVAL_LENGTH) -> list[Interval]:
    """The release: frames at `1 / length` fps, each for an interval of `floor(duration) / number of frames` seconds.

    The frames are those that the clips' rule picks, so a video of no more than `length` + 0.1 s has two. Frames and
    intervals are on grids of their own: with a video of 149.9 s, frames are 10 s apart and intervals 149 / 15 s long.

    Args:
        duration: Seconds of the video; one of less than a second has no interval.
        length: Seconds between frames.
    """
    seconds = math.floor(duration)
    if seconds < 1:
        return []
    num_frames, spacing = clip_grid(duration, length)
    step = Fraction(seconds, num_frames)
    times = frame_times(num_frames, spacing)
    return [Interval(index * step, (index + 1) * step, time) for index, time in enumerate(times)]


def count_clips(duration: float, clip_length: float) -> int:
    """Clips of a video: `floor(duration / clip_length + 1/2)`, at least one."""
    return max(1, math.floor(Fraction(duration) / Fraction(clip_length) + Fraction(1, 2)))


def interval_clips(interval: Interval, num_clips: int, clip_length: float) -> range:
    """Clips of an interval: `floor(start / clip_length)` to `ceil(end / clip_length) - 1`, none past the last clip.

    Args:
        interval: The interval.
        num_clips: Clips of the video.
        clip_length: Seconds a clip.

    Returns:
        Clip indices; empty for an interval behind the last clip, such as the 0.02 s at the end of a video of 150.02 s.
    """
    length = Fraction(clip_length)
    return range(math.floor(interval.start / length), min(math.ceil(interval.end / length), num_clips))


def release_saliency(probability: float) -> float:
    """The release's saliency of a clip, `max(2, exp(max(1, 2.5 p)))`: e up to p = 0.4, then rising to 12.18.

    Args:
        probability: Of the clip's frame and the caption belonging together, from 0 to 1.
    """
    return max(2.0, math.exp(max(1.0, 2.5 * probability)))


def paper_saliency(similarity: float) -> float:
    """The paper's saliency of a clip: the cosine similarity itself (Algorithm 1, line 10)."""
    return similarity


@dataclass(frozen=True)
class CorpusForm:
    """A way to make a synthetic corpus.

    Attributes:
        name: Its name.
        intervals: From a duration and an interval length in seconds to the intervals.
        saliency: From a score to a clip's saliency.
        scoring: What kind of score it is made from, a key of `videolights_hf.corpus.SCORERS`.
        captioner: The captioner that was used, on the Hub.
        scorer: The scorer that was used, on the Hub.
        max_duration: Longer videos are skipped, in seconds.
    """

    name: str
    intervals: Callable[[float, float], list[Interval]]
    saliency: Callable[[float], float]
    scoring: str
    captioner: str
    scorer: str
    max_duration: float


FORMS: dict[str, CorpusForm] = {
    form.name: form
    for form in (
        CorpusForm(
            "release",
            release_intervals,
            release_saliency,
            "matching",
            "Salesforce/blip-image-captioning-large",
            "Salesforce/blip-itm-large-coco",
            500.0,
        ),
        CorpusForm(
            "paper",
            paper_intervals,
            paper_saliency,
            "similarity",
            "Salesforce/blip2-opt-2.7b",
            "Salesforce/blip2-itm-vit-g",
            math.inf,
        ),
    )
}


def get_form(name: str) -> CorpusForm:
    """The form of a corpus by name.

    Raises:
        ValueError: For an unknown name, with the nearest known one.
    """
    if name not in FORMS:
        raise ValueError(unknown_name("form of corpus", name, FORMS))
    return FORMS[name]
