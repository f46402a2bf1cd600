"""Pictures of predictions: saliency, moments, highlights and ground truth over thumbnails of the video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.times import format_time
from ..inference.highlights import Highlight, find_highlights
from ..inference.moments import Moment, MomentResult, low_score_note
from .axes import Page, draw_time_axis, name_row, strip_frame
from .bars import Scale, bar_extent, bar_label, label_place, label_seconds, pack_lanes, visible_bar
from .style import (
    GRID_COLOR,
    LABEL_SIZE,
    MOMENT_COLOR,
    MUTED_COLOR,
    NOTE_SIZE,
    SALIENCY_COLOR,
    TEXT_COLOR,
    TITLE_SIZE,
    TRUTH_COLOR,
    require_matplotlib,
)
from .text import MISSING_NOTE, FittedText, fit_text, font_families
from .thumbnails import read_thumbnails

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Sizes in inches.
LEFT, RIGHT, TOP, BOTTOM = 1.3, 0.25, 0.15, 0.36
TITLE_LINE, NOTE_LINE, CURVE, LANE, GAP = 0.23, 0.2, 0.95, 0.26, 0.28
NAME_MARGIN = LEFT - 0.12
BAR_HEIGHT = 0.72
NUM_THUMBNAILS, THUMBNAIL_PIXELS = 10, 192
GALLERY_COLUMNS, GALLERY_GAP = 8, 0.08
NUM_HIGHLIGHTS = 3
# A curve is drawn to scale down to this range of saliency, so that noise looks like noise.
LEAST_SALIENCY_RANGE = 1.0


def plot_moments(
    predictions: MomentResult | Sequence[MomentResult],
    video: Any = None,
    ground_truth: Sequence[Any] | None = None,
    *,
    fps: float | None = None,
    max_moments: int | None = None,
    width: float = 10.0,
) -> Figure:
    """Draw what the pipeline found: a panel for each sentence, above a strip of thumbnails of the video.

    A panel holds the sentence, the saliency curve with the best highlights marked, one bar for each moment with its
    times and score, and thumbnails of the best moments (of the highlights, if there are no moments). All curves of a
    picture have one scale.

    Args:
        predictions: What `VideoMomentRetrievalPipeline` returned for one video: a result or, for several sentences, a
            list of them.
        video: The video, for the thumbnails: a path, a file object, an array of frames (T, H, W, 3) or a list of
            PIL images. `None` leaves them out.
        ground_truth: The true moments as `(start, end)` in seconds: a list of them for one prediction, a list of
            such lists for several.
        fps: Frames per second, for a video given as frames.
        max_moments: Draw at most this many moments per sentence, best first; `None` draws all.
        width: Width of the picture in inches.

    Returns:
        The figure; `figure.savefig(path)` writes it. It belongs to no pyplot state and needs no display.

    Raises:
        ImportError: matplotlib is not installed (or PyAV, for thumbnails from a file).
        ValueError: There are no predictions, they are of different videos, or the number of ground truths differs
            from theirs.
    """
    require_matplotlib()
    results, truths = _pair_up(predictions, ground_truth)
    duration = results[0]["duration"]
    scale = Scale(seconds_per_inch=duration / (width - LEFT - RIGHT), saliency=_saliency_limits(results))
    panels = [_Panel.arrange(*pair, max_moments, scale) for pair in zip(results, truths, strict=True)]
    strip: list[np.ndarray] = []
    if video is not None:
        strip = _add_thumbnails(panels, video, fps)

    note = any(panel.title.has_missing for panel in panels)
    strip_height = _height(strip, (width - LEFT - RIGHT) / NUM_THUMBNAILS)
    height = TOP + sum(panel.height + GAP for panel in panels) + strip_height + BOTTOM + NOTE_LINE * note
    page = Page(width, LEFT, RIGHT, height, TOP)
    for panel in panels:
        last = panel.draw(page)
        page.top += GAP
    if strip:
        page.top -= GAP / 2
        last = page.add_row(strip_height, duration)
        _draw_strip(last, strip, panels[0].moments[0] if len(panels) == 1 and panels[0].moments else None)
    draw_time_axis(last, duration)
    if note:
        page.top = height - NOTE_LINE
        page.add_text(MISSING_NOTE, NOTE_LINE, color=MUTED_COLOR, size=NOTE_SIZE)
    return page.figure


@dataclass
class _Panel:
    """What one sentence's panel shows; `lanes` holds for each moment the row of its bar."""

    result: MomentResult
    title: FittedText
    note: str | None
    moments: list[Moment]
    highlights: list[Highlight]
    labels: list[str]
    lanes: list[int]
    truth: list[tuple[float, float]]
    scale: Scale
    thumbnails: list[np.ndarray]

    @classmethod
    def arrange(
        cls, result: MomentResult, truth: Sequence[tuple[float, float]], max_moments: int | None, scale: Scale
    ) -> _Panel:
        moments = sorted(result["moments"], key=lambda moment: -moment["score"])[:max_moments]
        labels = [bar_label(rank, moment) for rank, moment in enumerate(moments, start=1)]
        return cls(
            result=result,
            title=fit_text(result["query"], result["duration"] / scale.seconds_per_inch, TITLE_SIZE, "bold"),
            note=low_score_note(moments),
            moments=moments,
            highlights=find_highlights(result, NUM_HIGHLIGHTS),
            labels=labels,
            lanes=pack_lanes([bar_extent(*pair, result["duration"], scale) for pair in zip(moments, labels)]),
            truth=[(float(start), float(end)) for start, end in truth],
            scale=scale,
            thumbnails=[],
        )

    @property
    def shown(self) -> Sequence[Moment | Highlight]:
        """What the thumbnails show: the best moments, or else the highlights."""
        return (self.moments or self.highlights)[:GALLERY_COLUMNS]

    @property
    def num_moment_lanes(self) -> int:
        return max(self.lanes, default=0) + 1

    @property
    def lanes_height(self) -> float:
        return LANE * (self.num_moment_lanes + bool(self.truth))

    @property
    def gallery_width(self) -> float:
        inner_width = self.result["duration"] / self.scale.seconds_per_inch
        return (inner_width - GALLERY_GAP * (GALLERY_COLUMNS - 1)) / GALLERY_COLUMNS

    @property
    def gallery_height(self) -> float:
        return _height(self.thumbnails, self.gallery_width)

    @property
    def height(self) -> float:
        gallery = self.gallery_height + GALLERY_GAP if self.thumbnails else 0.0
        text = TITLE_LINE * len(self.title.lines) + NOTE_LINE * bool(self.note)
        return text + CURVE + self.lanes_height + gallery

    def draw(self, page: Page) -> Axes:
        """Draw the panel below what is on the page; its last row over time is returned."""
        for line in self.title.lines:
            style = {"color": TEXT_COLOR, "size": TITLE_SIZE, "weight": "bold", "family": font_families()}
            page.add_text(line, TITLE_LINE, parse_math=False, **style)
        if self.note:
            page.add_text(self.note, NOTE_LINE, color=MUTED_COLOR, size=NOTE_SIZE)
        _draw_curve(page.add_row(CURVE, self.result["duration"]), self)
        lanes = page.add_row(self.lanes_height, self.result["duration"])
        _draw_lanes(lanes, self)
        if self.thumbnails:
            page.top += GALLERY_GAP
            _draw_gallery(page, self)
        return lanes


def _pair_up(predictions: Any, ground_truth: Sequence[Any] | None) -> tuple[list[MomentResult], list[Any]]:
    if isinstance(predictions, Mapping):
        predictions = [predictions]
        ground_truth = None if ground_truth is None else [ground_truth]
    results: list[MomentResult] = list(predictions)
    if not results:
        raise ValueError("There is nothing to draw: the list of predictions is empty.")
    truths = [[] for _ in results] if ground_truth is None else list(ground_truth)
    if len(truths) != len(results):
        raise ValueError(f"Got {len(results)} predictions, but the ground truth of {len(truths)}.")
    if any(result["duration"] != results[0]["duration"] for result in results):
        raise ValueError("The predictions are of videos of different lengths. Draw each video on its own.")
    return results, truths


def _saliency_limits(results: Sequence[MomentResult]) -> tuple[float, float]:
    values = np.concatenate([np.asarray(result["saliency"], dtype=float) for result in results])
    low, high = float(values.min()), float(values.max())
    return low, max(high, low + LEAST_SALIENCY_RANGE)


def _draw_curve(axes: Axes, panel: _Panel) -> None:
    result, (low, high) = panel.result, panel.scale.saliency
    saliency, duration = np.asarray(result["saliency"], dtype=float), result["duration"]
    times = (np.arange(len(saliency)) + 0.5) * result["clip_length"]
    inside = times < duration
    times = np.concatenate([[0.0], times[inside], [duration]])
    values = np.concatenate([saliency[:1], saliency[inside], saliency[inside][-1:]])
    # Room above for the times of the highlights.
    axes.set_ylim(low - 0.08 * (high - low), high + 0.32 * (high - low))
    axes.fill_between(times, values, axes.get_ylim()[0], color=SALIENCY_COLOR, alpha=0.13, linewidth=0, zorder=0)
    axes.plot(times, values, color=SALIENCY_COLOR, linewidth=1.8, solid_joinstyle="round")
    for moment in panel.moments:
        start, end = visible_bar(moment["start"], moment["end"], duration, panel.scale)
        axes.axvspan(start, end, color=MOMENT_COLOR, alpha=0.06 + 0.2 * moment["score"], linewidth=0, zorder=0)
    _mark_highlights(axes, panel)
    axes.set_xticks([])
    # Saliency has no unit: only a clip's place between the lowest and highest scores of the picture counts.
    axes.set_yticks([low, high], ["low", "high"])
    axes.tick_params(axis="y", labelsize=8, labelcolor=MUTED_COLOR, color=MUTED_COLOR, length=2)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(MUTED_COLOR)
    name_row(axes, (low + high) / 2, "saliency", SALIENCY_COLOR, NAME_MARGIN)


def _mark_highlights(axes: Axes, panel: _Panel) -> None:
    duration = panel.result["duration"]
    written: list[tuple[float, float]] = []
    for highlight in panel.highlights:
        middle, label = (highlight["start"] + highlight["end"]) / 2, format_time(highlight["start"])
        axes.plot([middle], [highlight["saliency"]], marker="*", markersize=8, color=SALIENCY_COLOR, clip_on=False)
        half = label_seconds(label, panel.scale) / 2
        center = min(max(middle, half), duration - half)
        if all(center + half <= start or center - half >= end for start, end in written):
            axes.annotate(
                label,
                (center, highlight["saliency"]),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=LABEL_SIZE,
                color=SALIENCY_COLOR,
                weight="bold",
            )
            written.append((center - half, center + half))


def _draw_lanes(axes: Axes, panel: _Panel) -> None:
    duration, scale = panel.result["duration"], panel.scale
    rows = panel.num_moment_lanes + bool(panel.truth)
    axes.set_ylim(rows, 0)
    for row in range(rows):
        axes.axhline(row, color=GRID_COLOR, linewidth=0.6, zorder=0)
    for moment, label, lane in zip(panel.moments, panel.labels, panel.lanes, strict=True):
        bar = visible_bar(moment["start"], moment["end"], duration, scale)
        _draw_bar(axes, lane, bar, facecolor=MOMENT_COLOR, alpha=0.3 + 0.7 * moment["score"])
        side, time = label_place(moment, label, duration, scale)
        color = "white" if side == "center" and moment["score"] > 0.75 else TEXT_COLOR
        style: dict[str, Any] = {"fontsize": LABEL_SIZE, "va": "center_baseline", "weight": "bold"}
        axes.text(time, lane + 0.5, label, color=color, ha=side, **style)
    if not panel.moments:
        text = "none found; the highlights are marked above" if panel.highlights else "none found"
        axes.text(duration / 2, 0.5, text, color=MUTED_COLOR, fontsize=9, ha="center", va="center")
    for start, end in panel.truth:
        bar = visible_bar(start, end, duration, scale)
        _draw_bar(axes, rows - 1, bar, facecolor="#FFFFFF", edgecolor=TRUTH_COLOR, hatch="////", linewidth=1.2)
    name_row(axes, panel.num_moment_lanes / 2, "moments", MOMENT_COLOR, NAME_MARGIN)
    if panel.truth:
        name_row(axes, rows - 0.5, "truth", TRUTH_COLOR, NAME_MARGIN)
    strip_frame(axes)


def _draw_bar(axes: Axes, row: int, bar: tuple[float, float], **style: Any) -> None:
    axes.barh(row + 0.5, bar[1] - bar[0], left=bar[0], height=BAR_HEIGHT, **style)


def _draw_gallery(page: Page, panel: _Panel) -> None:
    """Thumbnails of the best moments, numbered as their bars, or of the highlights, with their times."""
    color = MOMENT_COLOR if panel.moments else SALIENCY_COLOR
    for column, (picture, shown) in enumerate(zip(panel.thumbnails, panel.shown, strict=True)):
        axes = page.add_box(column * (panel.gallery_width + GALLERY_GAP), panel.gallery_width, panel.gallery_height)
        axes.imshow(picture, aspect="auto", interpolation="antialiased")
        axes.text(
            0.04,
            0.95,
            str(column + 1) if panel.moments else f"★ {format_time(shown['start'])}",
            transform=axes.transAxes,
            va="top",
            color="white",
            fontsize=LABEL_SIZE,
            weight="bold",
            bbox={"facecolor": color, "edgecolor": "none", "pad": 1.5},
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(color)
    page.top += panel.gallery_height


def _draw_strip(axes: Axes, thumbnails: Sequence[np.ndarray], best: Moment | None) -> None:
    duration = axes.get_xlim()[1]
    slot = duration / len(thumbnails)
    for index, thumbnail in enumerate(thumbnails):
        axes.imshow(
            thumbnail, extent=(index * slot, (index + 1) * slot, 0, 1), aspect="auto", interpolation="antialiased"
        )
        axes.axvline(index * slot, color="white", linewidth=1.5)
    axes.set_xlim(0, duration)
    axes.set_ylim(0, 1)
    if best is not None:
        axes.axvspan(
            best["start"], best["end"], facecolor="none", edgecolor=MOMENT_COLOR, linewidth=2.5, clip_on=False
        )
    strip_frame(axes)


def _add_thumbnails(panels: Sequence[_Panel], video: Any, fps: float | None) -> list[np.ndarray]:
    """Give the panels the thumbnails of what they show; those of the strip are returned. The video is decoded once."""
    duration = panels[0].result["duration"]
    times = [(index + 0.5) * duration / NUM_THUMBNAILS for index in range(NUM_THUMBNAILS)]
    times += [(shown["start"] + shown["end"]) / 2 for panel in panels for shown in panel.shown]
    pictures = read_thumbnails(video, fps, times, THUMBNAIL_PIXELS)
    strip, rest = pictures[:NUM_THUMBNAILS], iter(pictures[NUM_THUMBNAILS:])
    for panel in panels:
        panel.thumbnails = [next(rest) for _ in panel.shown]
    return strip


def _height(pictures: Sequence[np.ndarray], width: float) -> float:
    return width * pictures[0].shape[0] / pictures[0].shape[1] if pictures else 0.0


__all__ = ["plot_moments"]
