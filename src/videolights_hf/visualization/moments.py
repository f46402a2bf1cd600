"""Pictures of predictions: saliency, moments and ground truth over thumbnails of the video (needs the `viz` extra)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.times import format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Okabe and Ito's colours: told apart with every kind of colour blindness, and in print by their brightness.
MOMENT_COLOR = "#D55E00"
TRUTH_COLOR = "#009E73"
SALIENCY_COLOR = "#0072B2"
TEXT_COLOR = "#222222"
MUTED_COLOR = "#6B6B6B"

# Sizes in inches, so that text keeps its size and place whatever the number of panels.
LEFT, RIGHT, TOP, BOTTOM = 1.3, 0.25, 0.15, 0.36
TITLE_LINE, CURVE, LANE, GAP = 0.23, 0.95, 0.26, 0.24
BAR_HEIGHT = 0.72
SCORE_LABEL = 0.42
TITLE_FONT: dict[str, Any] = {"size": 11, "weight": "bold"}
TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MAX_TICKS = 11
NUM_THUMBNAILS, THUMBNAIL_PIXELS = 10, 192


def plot_moments(
    predictions: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    video: Any = None,
    ground_truth: Sequence[Any] | None = None,
    *,
    fps: float | None = None,
    max_moments: int = 3,
    width: float = 10.0,
) -> Figure:
    """Draw what the pipeline found: a panel for each sentence, above a strip of thumbnails of the video.

    A panel holds the sentence, the saliency curve and, below it, one bar for each moment with its score. The moment
    is tinted through the curve as well, the stronger the higher its score.

    Args:
        predictions: What `VideoMomentRetrievalPipeline` returned for one video: a dictionary or, for several
            sentences, a list of them.
        video: The video, for the thumbnails: a path, a file object, an array of frames (T, H, W, 3) or a list of
            PIL images. `None` leaves the strip out.
        ground_truth: The true moments as `(start, end)` in seconds: a list of them for one prediction, a list of
            such lists for several.
        fps: Frames a second, for a video given as frames.
        max_moments: How many moments to draw for each sentence, best first.
        width: Width of the picture in inches.

    Returns:
        The figure; `figure.savefig(path)` writes it. It belongs to no pyplot state and needs no display.

    Raises:
        ImportError: matplotlib is not installed (or PyAV, for thumbnails from a file).
        ValueError: There are no predictions, they are of different videos, or the number of ground truths differs
            from theirs.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "videolights-hf[viz]".') from error

    if isinstance(predictions, Mapping):
        predictions = [predictions]
        ground_truth = None if ground_truth is None else [ground_truth]
    if not predictions:
        raise ValueError("There is nothing to draw: the list of predictions is empty.")
    truths = [[] for _ in predictions] if ground_truth is None else list(ground_truth)
    if len(truths) != len(predictions):
        raise ValueError(f"Got {len(predictions)} predictions, but the ground truth of {len(truths)}.")
    duration = predictions[0]["duration"]
    if any(prediction["duration"] != duration for prediction in predictions):
        raise ValueError("The predictions are of videos of different lengths. Draw each video on its own.")

    inner_width = width - LEFT - RIGHT
    seconds_per_inch = duration / inner_width
    panels = [
        _Panel.arrange(prediction, truth, max_moments, seconds_per_inch)
        for prediction, truth in zip(predictions, truths, strict=True)
    ]
    thumbnails: Sequence[np.ndarray] = [] if video is None else _thumbnails(video, fps)
    strip_height = inner_width / NUM_THUMBNAILS if len(thumbnails) else 0.0
    height = TOP + sum(panel.height + GAP for panel in panels) + strip_height + BOTTOM
    figure = Figure(figsize=(width, height), facecolor="white")

    def add_axes(top: float, axes_height: float) -> Axes:
        return figure.add_axes(
            (LEFT / width, 1 - (top + axes_height) / height, inner_width / width, axes_height / height),
            xlim=(0, duration),
        )

    top = TOP
    for panel in panels:
        for line in panel.title_lines:
            figure.text(LEFT / width, 1 - top / height, line, color=TEXT_COLOR, va="top", **TITLE_FONT)
            top += TITLE_LINE
        _draw_curve(add_axes(top, CURVE), panel)
        top += CURVE
        last = add_axes(top, panel.lanes_height)
        _draw_lanes(last, panel)
        top += panel.lanes_height + GAP
    if len(thumbnails):
        last = add_axes(top - GAP / 2, strip_height)
        _draw_strip(last, thumbnails, panels[0].moments[0] if len(panels) == 1 and panels[0].moments else None)
    _draw_time_axis(last, duration)
    return figure


@dataclass(frozen=True)
class _Panel:
    """What one sentence's panel shows; `lanes` holds for each moment the row of its bar."""

    title_lines: list[str]
    saliency: np.ndarray
    clip_length: float
    duration: float
    moments: list[Mapping[str, float]]
    lanes: list[int]
    truth: list[tuple[float, float]]
    seconds_per_inch: float

    @classmethod
    def arrange(
        cls,
        prediction: Mapping[str, Any],
        truth: Sequence[tuple[float, float]],
        max_moments: int,
        seconds_per_inch: float,
    ) -> _Panel:
        duration = prediction["duration"]
        moments = sorted(prediction["moments"], key=lambda moment: -moment["score"])[:max_moments]
        return cls(
            title_lines=_wrap(prediction["query"], duration / seconds_per_inch),
            saliency=np.asarray(prediction["saliency"], dtype=float),
            clip_length=prediction["clip_length"],
            duration=duration,
            moments=moments,
            lanes=_pack_lanes(moments, gap=SCORE_LABEL * seconds_per_inch),
            truth=[(float(start), float(end)) for start, end in truth],
            seconds_per_inch=seconds_per_inch,
        )

    @property
    def num_moment_lanes(self) -> int:
        return max(self.lanes, default=0) + 1

    @property
    def lanes_height(self) -> float:
        return LANE * (self.num_moment_lanes + bool(self.truth))

    @property
    def height(self) -> float:
        return TITLE_LINE * len(self.title_lines) + CURVE + self.lanes_height


def _wrap(text: str, width: float) -> list[str]:
    """Break a title into lines at most `width` inches wide; a word that is wider is broken as well."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    def fits(line: str) -> bool:
        return TextPath((0, 0), line, prop=FontProperties(**TITLE_FONT)).get_extents().width <= 72 * width

    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if fits(longer):
            lines[-1] = longer
            continue
        lines.append("")
        for character in word:
            if not fits(lines[-1] + character):
                lines.append("")
            lines[-1] += character
    return [line for line in lines if line]


def _pack_lanes(moments: Sequence[Mapping[str, float]], gap: float) -> list[int]:
    """Give each moment the first row in which it keeps `gap` seconds, the room of a score, from the others there."""

    def fits(moment: Mapping[str, float], row: list[Mapping[str, float]]) -> bool:
        return all(moment["start"] >= other["end"] + gap or moment["end"] + gap <= other["start"] for other in row)

    rows: list[list[Mapping[str, float]]] = []
    lanes = []
    for moment in moments:
        lane = next((index for index, row in enumerate(rows) if fits(moment, row)), len(rows))
        if lane == len(rows):
            rows.append([])
        rows[lane].append(moment)
        lanes.append(lane)
    return lanes


def _draw_curve(axes: Axes, panel: _Panel) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    times = (np.arange(len(panel.saliency)) + 0.5) * panel.clip_length
    inside = times < panel.duration
    times = np.concatenate([[0.0], times[inside], [panel.duration]])
    values = np.concatenate([panel.saliency[:1], panel.saliency[inside], panel.saliency[inside][-1:]])
    low, high = values.min(), values.max()
    margin = 0.12 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    axes.fill_between(times, values, low - margin, color=SALIENCY_COLOR, alpha=0.13, linewidth=0, zorder=0)
    axes.plot(times, values, color=SALIENCY_COLOR, linewidth=1.8, solid_joinstyle="round")
    for moment in panel.moments:
        axes.axvspan(
            moment["start"],
            moment["end"],
            color=MOMENT_COLOR,
            alpha=0.06 + 0.2 * moment["score"],
            linewidth=0,
            zorder=0,
        )
    axes.set_xticks([])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    # As many decimals as tell the ticks apart: a curve may be nearly flat far from zero.
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.tick_params(axis="y", labelsize=8, labelcolor=MUTED_COLOR, color=MUTED_COLOR, length=2)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(MUTED_COLOR)
    _name_row(axes, (low + high) / 2, "saliency", SALIENCY_COLOR)


def _draw_lanes(axes: Axes, panel: _Panel) -> None:
    rows = panel.num_moment_lanes + bool(panel.truth)
    axes.set_ylim(rows, 0)
    for row in range(rows):
        axes.axhline(row, color="#DDDDDD", linewidth=0.6, zorder=0)
    for moment, lane in zip(panel.moments, panel.lanes, strict=True):
        _draw_bar(
            axes, lane, moment["start"], moment["end"], facecolor=MOMENT_COLOR, alpha=0.45 + 0.55 * moment["score"]
        )
        _label_bar(axes, panel, lane, moment)
    if not panel.moments:
        axes.text(panel.duration / 2, 0.5, "none found", color=MUTED_COLOR, fontsize=9, ha="center", va="center")
    for start, end in panel.truth:
        _draw_bar(axes, rows - 1, start, end, facecolor="#FFFFFF", edgecolor=TRUTH_COLOR, hatch="////", linewidth=1.2)
    _name_row(axes, panel.num_moment_lanes / 2, "moments", MOMENT_COLOR)
    if panel.truth:
        _name_row(axes, rows - 0.5, "truth", TRUTH_COLOR)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_bar(axes: Axes, row: int, start: float, end: float, **style: Any) -> None:
    axes.barh(row + 0.5, end - start, left=start, height=BAR_HEIGHT, **style)


def _label_bar(axes: Axes, panel: _Panel, row: int, moment: Mapping[str, float]) -> None:
    room = SCORE_LABEL * panel.seconds_per_inch
    pad = 0.05 * panel.seconds_per_inch
    style: dict[str, Any] = {"fontsize": 8.5, "va": "center_baseline", "weight": "bold"}
    text = f"{moment['score']:.2f}"
    if moment["end"] - moment["start"] >= room:
        middle = (moment["start"] + moment["end"]) / 2
        axes.text(
            middle, row + 0.5, text, color="white" if moment["score"] > 0.75 else TEXT_COLOR, ha="center", **style
        )
    elif moment["end"] + room <= panel.duration:
        axes.text(moment["end"] + pad, row + 0.5, text, color=TEXT_COLOR, ha="left", **style)
    else:
        axes.text(moment["start"] - pad, row + 0.5, text, color=TEXT_COLOR, ha="right", **style)


def _draw_strip(axes: Axes, thumbnails: Sequence[np.ndarray], best: Mapping[str, float] | None) -> None:
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
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_time_axis(axes: Axes, duration: float) -> None:
    longest = math.ceil(duration / MAX_TICKS / 3600) * 3600
    step = next((step for step in TICK_STEPS if duration / step <= MAX_TICKS), longest)
    times = np.arange(0, duration + step / 1000, step)
    axes.set_xticks(times, [format_time(time, decimals=int(step < 1)) for time in times])
    axes.tick_params(axis="x", labelsize=9, labelcolor=TEXT_COLOR, color=MUTED_COLOR, length=4)


def _name_row(axes: Axes, row: float, name: str, color: str) -> None:
    """Write the name of a row, at height `row` in its own coordinates, into the left margin."""
    axes.annotate(
        name,
        (0, row),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-72 * (LEFT - 0.12), 0),
        textcoords="offset points",
        color=color,
        fontsize=9,
        weight="bold",
        ha="left",
        va="center",
        annotation_clip=False,
    )


def _thumbnails(video: Any, fps: float | None) -> list[np.ndarray]:
    """Square pictures (NUM_THUMBNAILS, side, side, 3), uint8, from the middles of equal parts of the video."""
    from ..video.reader import FrameRequirement, VideoReader

    reader = VideoReader(video, fps)
    batches = reader.clip_frames([FrameRequirement(THUMBNAIL_PIXELS)], reader.metadata.duration / NUM_THUMBNAILS)
    return list(np.concatenate([frames for _, frames in batches]))
