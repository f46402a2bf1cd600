"""The progress of an extraction: what is done, how fast, and how long the rest will take."""

from __future__ import annotations

import sys
import time

from tqdm.auto import tqdm

from ..common.times import format_time

# In a log, a line every half minute is enough.
_SECONDS_BETWEEN_LINES = 30.0


class ExtractionBar:
    """A progress bar over items that shows how many of their parts are encoded per second; lines where that is no terminal.

    Args:
        description: What is going on.
        unit: What an item is called.
        part: What a part of an item is called.
        total: How many items there are.
        initial: How many were done before; the rate and the time left do not count them.
        show: Whether to show it.
    """

    def __init__(self, description: str, unit: str, part: str, total: int, initial: int, show: bool):
        self._description, self._unit, self._part = description, unit, part
        self._total, self._initial, self._done, self._written = total, initial, initial, initial
        self._encoded = 0.0
        self._start = self._said = time.monotonic()
        is_terminal = sys.stderr.isatty()
        self._writes_lines = show and not is_terminal
        self._bar = tqdm(total=total, initial=initial, desc=description, unit=unit, disable=not (show and is_terminal))

    def __enter__(self) -> ExtractionBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._writes_lines and self._done > self._written:
            self._write_line()

    def update(self, items: int = 1) -> None:
        """Count items that are done, or have failed."""
        self._done += items
        self._bar.update(items)
        if self._writes_lines and time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self._write_line()

    def add_encoded(self, parts: float) -> None:
        """Count parts that a model has encoded."""
        self._encoded += parts
        self._bar.set_postfix_str(self._rate(), refresh=False)

    def _rate(self) -> str:
        return f"{self._encoded / max(time.monotonic() - self._start, 1e-9):.1f} {self._part}s/s"

    def _write_line(self) -> None:
        self._said, self._written = time.monotonic(), self._done
        left = (self._said - self._start) * (self._total - self._done) / max(self._done - self._initial, 1)
        parts = [f"{self._description}: {self._done}/{self._total} {self._unit}s"]
        parts += [self._rate()] if self._encoded else []
        parts += [f"{format_time(left)} left"] if self._done < self._total else []
        print(", ".join(parts), file=sys.stderr, flush=True)
