"""What a corpus depends on beside its videos."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..common.messages import unknown_name
from .captioning import Captioner
from .intervals import INTERVAL_LENGTH, CorpusForm, get_form
from .scoring import Scorer

CorpusLabels = Literal["window", "scores"]


@dataclass(frozen=True)
class CorpusSettings:
    """How videos are cut into intervals, which frames are looked at, and what a model learns of the scores.

    Args:
        form: `"release"` or `"paper"`, see `FORMS`.
        interval_length: Seconds per interval (the paper), or between captioned frames (the release).
        caption_frame_size: Shorter side in pixels of the frames that are captioned; by default the form's.
        clip_frame_size: Side in pixels of the center squares that are scored.
        max_duration: Longer videos are skipped, in seconds; by default the form's. `math.inf` skips none.
        keep_duplicates: Keep a caption that an earlier interval of the same video has, as the release does.
        keep_last_clip: Keep the last clip of a video in its last interval. The release loses it.
        labels: How the dataset is labeled. `"window"`, as in the release: saliency 1 inside the interval. `"scores"`,
            as in the paper: the scores, which the corpus holds either way.

    Raises:
        ValueError: An unknown form or kind of labels, or a value that is not positive.
    """

    form: str = "release"
    interval_length: float = INTERVAL_LENGTH
    caption_frame_size: int | None = None
    clip_frame_size: int = 224
    max_duration: float | None = None
    keep_duplicates: bool = False
    keep_last_clip: bool | None = None
    labels: CorpusLabels = "window"

    def __post_init__(self) -> None:
        get_form(self.form)
        if self.labels not in get_args(CorpusLabels):
            raise ValueError(unknown_name("kind of labels", self.labels, get_args(CorpusLabels)))
        for name in ("interval_length", "caption_frame_size", "clip_frame_size", "max_duration"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be positive, got {value}.")
        if not math.isfinite(self.interval_length):
            raise ValueError(f"`interval_length` must be a finite number of seconds, got {self.interval_length}.")

    @property
    def rules(self) -> CorpusForm:
        """The form's rules."""
        return get_form(self.form)

    @property
    def longest(self) -> float:
        """`max_duration`, or the form's."""
        return self.rules.max_duration if self.max_duration is None else float(self.max_duration)

    @property
    def captioned_size(self) -> int:
        """`caption_frame_size`, or the form's."""
        return self.caption_frame_size or self.rules.caption_frame_size

    @property
    def keeps_last_clip(self) -> bool:
        """`keep_last_clip`, or the form's."""
        return self.rules.keeps_last_clip if self.keep_last_clip is None else self.keep_last_clip

    @property
    def dataset(self) -> str:
        """How the corpus is read and labeled, a key of `videolights_hf.data.DATASETS`."""
        return self.rules.scored_dataset if self.labels == "scores" else "pretraining"


def kept_settings(
    settings: CorpusSettings, clip_length: float, captioner: Captioner, scorer: Scorer
) -> dict[str, Any]:
    """The settings of a corpus as plain values, to be stored beside it."""
    return {
        "form": settings.form,
        "interval_length": float(settings.interval_length),
        "clip_length": float(clip_length),
        "caption_frame_size": settings.captioned_size,
        "clip_frame_size": settings.clip_frame_size,
        "max_duration": None if math.isinf(settings.longest) else settings.longest,
        "keep_duplicates": settings.keep_duplicates,
        "keep_last_clip": settings.keeps_last_clip,
        "captioner": captioner.identity,
        "scorer": scorer.identity,
    }
