"""The progress of an extraction: what is done, how fast, and how long the rest will take."""

from __future__ import annotations

import sys
import time

from tqdm.auto import tqdm

# In a log, a line every half minute is enough.
_SECONDS_BETWEEN_LINES = 30.0


class ExtractionBar:
    """A progress bar over items that shows how many of their parts are encoded per second.

    Args:
        description: What is going on.
        unit: What an item is called.
        part: What a part of an item is called.
        total: How many items there are.
        initial: How many were done before; the rate and the time left do not count them.
        show: Whether to show it.
    """

    def __init__(self, description: str, unit: str, part: str, total: int, initial: int, show: bool):
        self._part = part
        self._encoded = 0.0
        self._start = time.monotonic()
        interval = 0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LINES
        self._bar = tqdm(
            total=total, initial=initial, desc=description, unit=unit, disable=not show, mininterval=interval
        )

    def __enter__(self) -> ExtractionBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, items: int = 1) -> None:
        """Count items that are done, or have failed."""
        self._bar.update(items)

    def add_encoded(self, parts: float) -> None:
        """Count parts that a model has encoded."""
        self._encoded += parts
        elapsed = time.monotonic() - self._start
        if elapsed > 0:
            self._bar.set_postfix_str(f"{self._encoded / elapsed:.1f} {self._part}s/s", refresh=False)
