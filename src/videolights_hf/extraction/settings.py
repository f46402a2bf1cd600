"""How features are extracted: one object instead of ten arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..common.processes import Processes
from .store import check_dtype

DEFAULT_CLIP_LENGTH = 2.0
_MAX_DEFAULT_THREADS = 4


@dataclass(frozen=True)
class ExtractionSettings:
    """How features are extracted.

    Args:
        clip_length: Seconds per clip; by default the dataset's, or 2 where there is no dataset.
        dtype: Floating-point type of the feature files; `"float16"` as in the published archives.
        checkpoints: Where the backbones came from, by name, to be kept with the features.
        num_threads: Videos decoded at the same time in the background; by default up to 4.
        processes: The processes that share the work; by default those that were launched.
        progress: Show progress bars.

    Raises:
        ValueError: A value is out of range.
    """

    clip_length: float | None = None
    dtype: Literal["float16", "float32"] = "float16"
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    num_threads: int | None = None
    processes: Processes | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if self.clip_length is not None and not 0 < self.clip_length < float("inf"):
            raise ValueError(f"`clip_length` must be a positive number of seconds, got {self.clip_length}.")
        if self.num_threads is not None and self.num_threads < 1:
            raise ValueError(f"`num_threads` must be at least 1, got {self.num_threads}.")

    @property
    def seconds_per_clip(self) -> float:
        """`clip_length`, or its default."""
        return DEFAULT_CLIP_LENGTH if self.clip_length is None else float(self.clip_length)

    @property
    def decoding_threads(self) -> int:
        """`num_threads`, or its default."""
        return self.num_threads or min(_MAX_DEFAULT_THREADS, os.cpu_count() or 1)

    def connect(self) -> Processes:
        """`processes`, or those that were launched."""
        return self.processes or Processes.current()
