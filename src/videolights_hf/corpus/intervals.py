"""Which parts of a video are captioned, which frame stands for each, and which of its clips lie inside.

Two forms: Algorithm 1 as the paper prints it, and the code that made the released corpus. All times are exact fractions
of a second, so that the end of one interval is the start of the next and rounding adds or loses no clip. (The
release adds up floats, and misses its own rule by a clip now and then.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..common.messages import unknown_name
from ..video.reader import clip_grid, frame_times

INTERVAL_LENGTH = 10.0
"""Seconds per interval (Algorithm 1, line 1), and between captioned frames in the release (0.1 fps)."""


@dataclass(frozen=True)
class Interval:
    """A part of a video with one caption; times in seconds.

    Attributes:
        frame_time: The last frame presented before this time is captioned.
    """

    start: Fraction
    end: Fraction
    frame_time: Fraction


def paper_intervals(duration: float, length: float = INTERVAL_LENGTH) -> list[Interval]:
    """Algorithm 1: `ceil(duration / length)` intervals, the middle frame of each.

    Args:
        duration: Seconds of the video.
        length: Seconds per interval; the last one ends with the video.
    """
    total, step = Fraction(duration), Fraction(length)
    bounds = [index * step for index in range(math.ceil(total / step))] + [total]
    return [Interval(start, end, (start + end) / 2) for start, end in itertools.pairwise(bounds)]


def release_intervals(duration: float, length: float = INTERVAL_LENGTH) -> list[Interval]:
    """The release: frames at `1 / length` fps, each for an interval of `floor(duration) / number of frames` seconds.

    Frames and intervals are on grids of their own: with a video of 149.9 s, frames are 10 s apart and intervals
    149 / 15 s long. A short video has the frames of the clips' rule for short videos (`clip_grid`).

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


def interval_clips(interval: Interval, num_clips: int, clip_length: float, keeps_last: bool = True) -> range:
    """Clips of an interval: `floor(start / clip_length)` to `ceil(end / clip_length) - 1`, none past the last clip.

    Args:
        interval: The interval.
        num_clips: Clips of the video.
        clip_length: Seconds per clip.
        keeps_last: Whether an interval that ends with the video's last clip includes it. In the release it does not.

    Returns:
        Clip indices; may be empty.
    """
    length = Fraction(clip_length)
    end = math.ceil(interval.end / length)
    if end == num_clips and not keeps_last:
        end -= 1
    return range(math.floor(interval.start / length), min(end, num_clips))


def release_saliency(probability: float) -> float:
    """The release's saliency of a clip, `exp(max(1, 2.5 p))`: e up to p = 0.4, then rising to 12.18.

    Args:
        probability: That the clip's frame and the caption belong together, from 0 to 1.
    """
    return math.exp(max(1.0, 2.5 * probability))


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
        captioner: Hub id of the captioner.
        scorer: Hub id of the scorer.
        scored_dataset: How a corpus is labeled by its scores, a key of `videolights_hf.data.DATASETS`.
        max_duration: Longer videos are skipped, in seconds.
        floors_duration: Whether a video's duration counts in whole seconds.
        caption_frame_size: Shorter side in pixels of the frames that are captioned.
        crops_captioned: Whether only their center square is captioned.
        keeps_last_clip: Whether the last interval has the video's last clip.
        keeps_clipless: Whether an interval without a clip of its own is captioned, too.
        prompt: What the captions of a BLIP or BLIP-2 continue.
        generation: Arguments of `generate`.
    """

    name: str
    intervals: Callable[[float, float], list[Interval]]
    saliency: Callable[[float], float]
    scoring: str
    captioner: str
    scorer: str
    scored_dataset: str
    max_duration: float
    floors_duration: bool
    caption_frame_size: int
    crops_captioned: bool
    keeps_last_clip: bool
    keeps_clipless: bool
    prompt: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)


FORMS: dict[str, CorpusForm] = {
    form.name: form
    for form in (
        CorpusForm(
            name="release",
            intervals=release_intervals,
            saliency=release_saliency,
            scoring="matching",
            captioner="Salesforce/blip-image-captioning-large",
            scorer="Salesforce/blip-itm-base-coco",
            scored_dataset="pretraining_scores",
            max_duration=500.0,
            floors_duration=True,
            caption_frame_size=224,
            crops_captioned=True,
            keeps_last_clip=False,
            keeps_clipless=True,
            prompt="a picture of ",
            # The release counts 10 and 30 tokens with the 4 of its prompt.
            generation={"num_beams": 3, "do_sample": False, "min_new_tokens": 6, "max_new_tokens": 26},
        ),
        CorpusForm(
            name="paper",
            intervals=paper_intervals,
            saliency=paper_saliency,
            scoring="similarity",
            captioner="Salesforce/blip2-opt-2.7b",
            scorer="Salesforce/blip2-itm-vit-g",
            scored_dataset="pretraining_similarities",
            max_duration=math.inf,
            floors_duration=False,
            caption_frame_size=384,
            crops_captioned=False,
            keeps_last_clip=True,
            keeps_clipless=False,
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
