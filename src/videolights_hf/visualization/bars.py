"""Bars of moments over the time of a video: wide enough to be seen, labeled, and in rows in which none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.times import format_time
from ..inference.moments import Moment
from .style import LABEL_SIZE
from .text import text_width

# Inches.
LEAST_BAR, LABEL_PAD = 0.06, 0.06


@dataclass(frozen=True)
class Scale:
    """What all panels share: seconds per inch, and the lowest and highest saliency of the curves' axis."""

    seconds_per_inch: float
    saliency: tuple[float, float]


def bar_label(rank: int, moment: Moment) -> str:
    """Rank, times and score of a moment."""
    times = "–".join(format_time(moment[name]) for name in ("start", "end"))
    return f"{rank}   {times}   {moment['score']:.2f}"


def visible_bar(start: float, end: float, duration: float, scale: Scale) -> tuple[float, float]:
    """Start and end of a bar that can be seen, inside the video."""
    width = max(end - start, min(LEAST_BAR * scale.seconds_per_inch, duration))
    if width == end - start:
        return start, end
    first = min(max((start + end - width) / 2, 0.0), duration - width)
    return first, first + width


def label_seconds(label: str, scale: Scale) -> float:
    """Seconds that a label takes, with room on both sides."""
    return (text_width(label, LABEL_SIZE, "bold") / 72 + 2 * LABEL_PAD) * scale.seconds_per_inch


def label_place(moment: Moment, label: str, duration: float, scale: Scale) -> tuple[str, float]:
    """Where the label of a bar stands (`center`, or `left` or `right` aligned), and at what time."""
    room, pad = label_seconds(label, scale), LABEL_PAD * scale.seconds_per_inch
    start, end = visible_bar(moment["start"], moment["end"], duration, scale)
    if end - start >= room:
        return "center", (start + end) / 2
    return ("left", end + pad) if end + room <= duration else ("right", start - pad)


def bar_extent(moment: Moment, label: str, duration: float, scale: Scale) -> tuple[float, float]:
    """Seconds that a bar and its label take."""
    start, end = visible_bar(moment["start"], moment["end"], duration, scale)
    side, _ = label_place(moment, label, duration, scale)
    room = label_seconds(label, scale)
    return (start, end + room) if side == "left" else (start - room, end) if side == "right" else (start, end)


def pack_lanes(extents: Sequence[tuple[float, float]]) -> list[int]:
    """Give each bar the first row in which it covers no other."""
    rows: list[list[tuple[float, float]]] = []
    lanes = []
    for start, end in extents:
        free = (index for index, row in enumerate(rows) if all(start >= last or end <= first for first, last in row))
        lane = next(free, len(rows))
        if lane == len(rows):
            rows.append([])
        rows[lane].append((start, end))
        lanes.append(lane)
    return lanes


__all__ = ["Scale", "bar_extent", "bar_label", "label_place", "label_seconds", "pack_lanes", "visible_bar"]
