"""Predictions of several models against the truth, query by query (paper, Fig. 6), and pages of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..inference.moments import Moment
from .answers import QueryAnswers
from .axes import Page, draw_time_axis, strip_frame
from .bars import pack_lanes
from .style import (
    GRID_COLOR,
    MUTED_COLOR,
    PAGE_WIDTH,
    PRINT_SIZE,
    SMALL_PRINT_SIZE,
    TEXT_COLOR,
    TRUTH_COLOR,
    Series,
    require_matplotlib,
    series,
)
from .text import fit_text, font_families, text_width
from .thumbnails import read_thumbnails

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches.
TOP, RIGHT, BOTTOM, GAP, SECTION = 0.06, 0.2, 0.06, 0.1, 0.24
TITLE_LINE, NOTE_LINE, LANE, CURVE, TIME = 0.15, 0.13, 0.135, 0.5, 0.22
EDGE, SAMPLE, NAME_GAP, LONGEST_NAME = 0.08, 0.22, 0.07, 1.25
FRAME_WIDTH, FRAME_PIXELS, MOST_FRAMES = 0.62, 144, 12
LEAST_BAR = 0.02

TRUTH = "truth"
SALIENCY = "saliency"


def plot_predictions(
    queries: QueryAnswers | Sequence[QueryAnswers],
    *,
    max_moments: int | None = None,
    width: float = PAGE_WIDTH,
) -> Figure:
    """Draw what models answer beside the truth: frames of the video, moments in rows, and saliency.

    A panel for each query. Each model has a row of bars with their scores, as many as there are true moments, and a curve,
    scaled to its own lowest and highest value in the video; the true saliency is filled, from 0 to its highest value.

    Args:
        queries: One query, or a page of them.
        max_moments: Draw at most this many moments of each model.
        width: Width of the picture in inches.

    Returns:
        The figure, which belongs to no pyplot state.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no queries.
    """
    page = [queries] if isinstance(queries, QueryAnswers) else list(queries)
    return plot_sections({"": page}, max_moments=max_moments, width=width)


def plot_sections(
    sections: Mapping[str, Sequence[QueryAnswers]], *, max_moments: int | None = None, width: float = PAGE_WIDTH
) -> Figure:
    """Draw pages of queries below headings; see `plot_predictions`.

    Args:
        sections: Queries by heading; an empty heading is left out.
        max_moments: See `plot_predictions`.
        width: See `plot_predictions`.

    Raises:
        ImportError: See `plot_predictions`.
        ValueError: See `plot_predictions`.
    """
    require_matplotlib()
    queries = [query for section in sections.values() for query in section]
    if not queries:
        raise ValueError("There are no queries to draw.")
    names = list(dict.fromkeys(name for query in queries for name in query.answers))
    styles = {name: series(index) for index, name in enumerate(names)}
    labels = {name: (fit_text(name, LONGEST_NAME, PRINT_SIZE, max_lines=1).lines or [""])[0] for name in names}
    widths = [text_width(name, PRINT_SIZE) / 72 for name in (*labels.values(), TRUTH, SALIENCY)]
    left = EDGE + SAMPLE + 2 * NAME_GAP + max(widths)
    inner = width - left - RIGHT
    panels = {
        heading: [_Panel.arrange(query, (styles, labels), max_moments, inner) for query in section]
        for heading, section in sections.items()
        if section
    }
    height = TOP + BOTTOM - GAP
    for heading, section in panels.items():
        height += SECTION * bool(heading) + sum(panel.height + GAP for panel in section)
    page = Page(width, left, RIGHT, height, TOP)
    for heading, section in panels.items():
        if heading:
            page.figure.text(
                EDGE / width, 1 - (page.top + 0.02) / height, heading, va="top", size=PRINT_SIZE + 1.5, weight="bold"
            )
            page.top += SECTION
        for panel in section:
            panel.draw(page)
            page.top += GAP
    return page.figure


@dataclass
class _Panel:
    """One query on the page; `labels` are the models' names cut to fit, `lanes` their moments and the rows of these."""

    query: QueryAnswers
    styles: Mapping[str, Series]
    labels: Mapping[str, str]
    title: list[str]
    lanes: dict[str, tuple[list[Moment], list[int]]]
    frames: list[np.ndarray]
    frame_width: float

    @classmethod
    def arrange(
        cls,
        query: QueryAnswers,
        looks: tuple[Mapping[str, Series], Mapping[str, str]],
        at_most: int | None,
        inner: float,
    ) -> _Panel:
        lanes = {}
        for name in query.answers:
            moments = query.best_moments(name, at_most)
            lanes[name] = moments, pack_lanes([(moment["start"], moment["end"]) for moment in moments])
        num_frames = min(MOST_FRAMES, max(1, round(inner / FRAME_WIDTH)))
        times = [(index + 0.5) * query.duration / num_frames for index in range(num_frames)]
        frames = [] if query.video is None else read_thumbnails(query.video, None, times, FRAME_PIXELS)
        title = fit_text(query.query, inner, PRINT_SIZE, "bold", max_lines=2).lines
        return cls(query, *looks, title, lanes, frames, inner / num_frames)

    @property
    def strip_height(self) -> float:
        return self.frame_width * self.frames[0].shape[0] / self.frames[0].shape[1] if self.frames else 0.0

    @property
    def num_lanes(self) -> int:
        return bool(self.query.moments) + sum(max(rows, default=0) + 1 for _, rows in self.shown_lanes.values())

    @property
    def shown_lanes(self) -> dict[str, tuple[list[Moment], list[int]]]:
        """The rows of models; none on data without moments."""
        has_moments = self.query.moments or any(moments for moments, _ in self.lanes.values())
        return self.lanes if has_moments else {}

    @property
    def has_curves(self) -> bool:
        return self.query.saliency is not None or any(answer["saliency"] for answer in self.query.answers.values())

    @property
    def curve_height(self) -> float:
        # Without rows of moments, the names of the models stand beside the curves.
        names = 0 if self.shown_lanes else len(self.query.answers)
        return max(CURVE, LANE * names) if self.has_curves else 0.0

    @property
    def height(self) -> float:
        text = TITLE_LINE * len(self.title) + NOTE_LINE * bool(self.query.note)
        return text + self.strip_height + LANE * self.num_lanes + self.curve_height + TIME

    def draw(self, page: Page) -> None:
        """Draw the panel below what is on the page."""
        duration = self.query.duration
        for line in self.title:
            style = {"color": TEXT_COLOR, "size": PRINT_SIZE, "weight": "bold", "family": font_families()}
            page.add_text(line, TITLE_LINE, parse_math=False, **style)
        if self.query.note:
            page.add_text(self.query.note, NOTE_LINE, color=MUTED_COLOR, size=SMALL_PRINT_SIZE)
        last = None
        if self.frames:
            last = page.add_row(self.strip_height, duration)
            self._draw_strip(last)
        if self.num_lanes:
            last = page.add_row(LANE * self.num_lanes, duration)
            self._draw_lanes(last, page)
        if self.has_curves:
            last = page.add_row(self.curve_height, duration)
            self._draw_curves(last, page)
        if last is not None:
            draw_time_axis(last, duration, max(2, int(page.inner_width / 0.55)), SMALL_PRINT_SIZE)
        page.top += TIME

    def _draw_strip(self, axes: Axes) -> None:
        slot = self.query.duration / len(self.frames)
        for index, frame in enumerate(self.frames):
            axes.imshow(frame, extent=(index * slot, (index + 1) * slot, 0, 1), aspect="auto")
            axes.axvline(index * slot, color="white", linewidth=1.0)
        axes.set_xlim(0, self.query.duration)
        axes.set_ylim(0, 1)
        strip_frame(axes)

    def _draw_lanes(self, axes: Axes, page: Page) -> None:
        axes.set_ylim(self.num_lanes, 0)
        strip_frame(axes)
        seconds_per_inch = self.query.duration / page.inner_width
        row = 0
        if self.query.moments:
            for start, end in self.query.moments:
                _draw_bar(axes, row, (start, end), seconds_per_inch, facecolor=TRUTH_COLOR, alpha=0.9)
            _name(axes, page, row + 0.5, TRUTH, None)
            row += 1
        for name, (moments, rows) in self.shown_lanes.items():
            axes.axhline(row, color=GRID_COLOR, linewidth=0.5, zorder=0)
            style = self.styles[name]
            for moment, lane in zip(moments, rows, strict=True):
                span = moment["start"], moment["end"]
                look = {"facecolor": "white", "edgecolor": style.color, "hatch": 2 * style.hatch, "linewidth": 0.9}
                if not style.hatch:
                    look["facecolor"] = style.color
                _draw_bar(axes, row + lane, span, seconds_per_inch, **look)
            _label_bars(axes, row, moments, rows, seconds_per_inch)
            height = max(rows, default=0) + 1
            _name(axes, page, row + height / 2, self.labels[name], style)
            row += height

    def _draw_curves(self, axes: Axes, page: Page) -> None:
        duration, truth = self.query.duration, self.query.saliency
        axes.set_ylim(-0.06, 1.1)
        if truth is not None and len(truth):
            highest = float(np.max(truth))
            edges = np.minimum(np.arange(len(truth) + 1) * self.query.clip_length, duration)
            axes.stairs(
                truth / highest if highest > 0 else truth, edges, fill=True, color=TRUTH_COLOR, alpha=0.3, linewidth=0
            )
        for name, answer in self.query.answers.items():
            saliency = np.asarray(answer["saliency"], dtype=np.float64)
            if not len(saliency):
                continue
            low, high = saliency.min(), saliency.max()
            middles = (np.arange(len(saliency)) + 0.5) * answer["clip_length"]
            scaled = (saliency - low) / (high - low) if high > low else np.full_like(saliency, 0.5)
            style = self.styles[name]
            axes.plot(middles, scaled, color=style.color, linestyle=style.line, linewidth=1.1)
        axes.set_xlim(0, duration)
        axes.set_yticks([])
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED_COLOR)
        axes.spines[:].set_linewidth(0.6)
        if self.shown_lanes:
            _name(axes, page, 0.5, SALIENCY, None)
            return
        step = LANE / self.curve_height
        for index, name in enumerate(self.query.answers):
            _name(
                axes,
                page,
                0.5 + step * ((len(self.query.answers) - 1) / 2 - index),
                self.labels[name],
                self.styles[name],
            )


def _draw_bar(axes: Axes, row: int, span: tuple[float, float], seconds_per_inch: float, **look: object) -> None:
    length = max(span[1] - span[0], LEAST_BAR * seconds_per_inch)
    axes.barh(row + 0.5, length, left=span[0], height=0.72, **look)  # type: ignore[arg-type]


def _label_bars(
    axes: Axes, row: int, moments: Sequence[Moment], lanes: Sequence[int], seconds_per_inch: float
) -> None:
    """The scores: after their bars, before or in them, where there is room, else nowhere."""
    duration, pad = axes.get_xlim()[1], 0.03 * seconds_per_inch
    taken = [(lane, moment["start"], moment["end"]) for moment, lane in zip(moments, lanes, strict=True)]
    for moment, lane in zip(moments, lanes, strict=True):
        label = f"{moment['score']:.2f}"
        room = text_width(label, SMALL_PRINT_SIZE) / 72 * seconds_per_inch + 2 * pad
        others = [(start, end) for other, start, end in taken if other == lane]
        places = [moment["end"], moment["start"] - room]
        free = [
            place
            for place in places
            if place >= 0
            and place + room <= duration
            and all(place >= end or place + room <= start for start, end in others)
        ]
        if not free and moment["end"] - moment["start"] >= room:
            free = [(moment["start"] + moment["end"] - room) / 2]
        if not free:
            continue
        taken.append((lane, free[0], free[0] + room))
        axes.text(
            free[0] + room / 2, row + lane + 0.5, label, ha="center", va="center_baseline", color=TEXT_COLOR,
            fontsize=SMALL_PRINT_SIZE - 0.5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )  # fmt: skip


def _name(axes: Axes, page: Page, row: float, name: str, style: Series | None) -> None:
    """Name of a row in the left margin, after a sample of the model's line."""
    transform = axes.get_yaxis_transform()
    if style is not None:
        start, end = ((inch - page.left) / page.inner_width for inch in (EDGE, EDGE + SAMPLE))
        axes.plot(
            [start, end], [row, row], transform=transform, color=style.color, linestyle=style.line, linewidth=1.4,
            clip_on=False,
        )  # fmt: skip
    axes.text(
        -NAME_GAP / page.inner_width, row, name, transform=transform, ha="right", va="center",
        fontsize=PRINT_SIZE, color=TRUTH_COLOR if name == TRUTH else TEXT_COLOR, parse_math=False,
        family=font_families(),
    )  # fmt: skip


__all__ = ["plot_predictions", "plot_sections"]
