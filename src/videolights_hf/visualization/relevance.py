"""Query-clip relevance through the stages of detectors side by side (paper, Fig. 1, 3 and 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.messages import unknown_name
from .axes import Page, draw_time_axis
from .style import (
    COLUMN_WIDTH,
    MUTED_COLOR,
    PAGE_WIDTH,
    PRINT_SIZE,
    SMALL_PRINT_SIZE,
    TEXT_COLOR,
    require_matplotlib,
)
from .text import drawable_text, fit_text, font_families, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = ("projection", "refinement", "text to video", "fusion", "encoder")
"""Stages in the order of the network. `text to video` is the first attention of Bi-CMF's last layer (Fig. 5)."""


@dataclass(frozen=True)
class StageRelevance:
    """Cosines of L clips with N words after a stage.

    Attributes:
        stage: One of `STAGES`.
        relevance: (N, L).
    """

    stage: str
    relevance: np.ndarray


# Blue to yellow, rising in brightness: the order of values shows in gray print and to the color blind.
COLORS = "cividis"
SALIENCY_LINE = "#D55E00"

# Inches.
TOP, BOTTOM, GAP, TITLE_LINE, RIGHT = 0.06, 0.22, 0.04, 0.15, 0.16
STAGE_MARGIN, WORD_MARGIN = 0.2, 0.08
LEAST_HEIGHT, MOST_HEIGHT, WORD_HEIGHT = 0.55, 1.5, 0.098
LEGEND_LINE, LEGEND_BAR, LEGEND_HEIGHT = 0.17, 0.4, 0.09
COLUMN_GAP = 0.12


def check_stages(stages: Sequence[str]) -> None:
    """Check names of stages.

    Raises:
        ValueError: There is no such stage; the nearest one is named.
    """
    for stage in stages:
        if stage not in STAGES:
            raise ValueError(unknown_name("stage", stage, STAGES))


def plot_relevance(
    models: Mapping[str, Sequence[StageRelevance]],
    duration: float,
    *,
    query: str = "",
    words: Sequence[str] = (),
    saliency: Sequence[float] | np.ndarray | None = None,
    width: float | None = None,
) -> Figure:
    """Draw how near each clip is to each word: a row for each stage, a column for each model.

    A map has its own range of cosines, which stands above it, with the correlation r of the mean over words with the true
    saliency: between stages, compare where a map is bright, not how bright.

    Args:
        models: By name of the model, its maps from `relevance_through_stages`.
        duration: Seconds that the clips cover.
        query: The sentence.
        words: Its N tokens, beside the maps; without them the rows have no names.
        saliency: The true saliency (L,), drawn in as a line from its lowest to its highest value.
        width: Width of the picture in inches; by default a journal's column for one model, else its page.

    Returns:
        The figure, which belongs to no pyplot state.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no maps, or their words differ in number from `words`.
    """
    require_matplotlib()
    maps = [stage for stages in models.values() for stage in stages]
    if not maps:
        raise ValueError("There are no maps to draw.")
    num_words = max(len(one.relevance) for one in maps)
    if words and any(len(one.relevance) != len(words) for one in maps):
        raise ValueError(f"The maps have {num_words} words, but {len(words)} are named.")
    width = width or (COLUMN_WIDTH if len(models) == 1 else PAGE_WIDTH)
    stages = [stage for stage in STAGES if any(one.stage == stage for one in maps)]
    height = min(max(WORD_HEIGHT * num_words, LEAST_HEIGHT), MOST_HEIGHT)
    size = min(SMALL_PRINT_SIZE, 72 * height / num_words)
    names = [drawable_text(word) for word in words]
    left = STAGE_MARGIN + WORD_MARGIN + max((text_width(name, size) for name in names), default=0) / 72
    title = fit_text(query, width - left - RIGHT, PRINT_SIZE, "bold", max_lines=2).lines if query else []
    total = TOP + TITLE_LINE * (len(title) + 1) + len(stages) * (height + TITLE_LINE + GAP) + BOTTOM + 2 * LEGEND_LINE
    page = Page(width, left, RIGHT, total, TOP)
    for line in title:
        style = {"color": TEXT_COLOR, "size": PRINT_SIZE, "weight": "bold", "family": font_families()}
        page.add_text(line, TITLE_LINE, parse_math=False, **style)
    column = (page.inner_width - COLUMN_GAP * (len(models) - 1)) / len(models)
    page.top += TITLE_LINE
    for row, stage in enumerate(stages):
        page.top += TITLE_LINE
        for index, (name, own) in enumerate(models.items()):
            axes = page.add_box(index * (column + COLUMN_GAP), column, height)
            found = next((one.relevance for one in own if one.stage == stage), None)
            _draw_map(axes, found, duration, saliency)
            if row == 0:
                _write(axes, name, 0.5, 0.21, size=PRINT_SIZE, weight="bold", ha="center")
            if index == 0:
                _name_rows(axes, stage, names, size)
            if row == len(stages) - 1:
                draw_time_axis(axes, duration, max(1, int(column / 0.6)), SMALL_PRINT_SIZE)
        page.top += height + GAP
    _draw_legend(page, saliency is not None)
    return page.figure


def agreement(relevance: np.ndarray, saliency: Sequence[float] | np.ndarray) -> float:
    """Correlation of the mean over words (N, L) with the true saliency; NaN where one of them is constant."""
    num_clips = min(relevance.shape[1], len(saliency))
    means, truth = relevance.mean(axis=0)[:num_clips], np.asarray(saliency, dtype=np.float64)[:num_clips]
    if np.ptp(means) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(np.corrcoef(means, truth)[0, 1])


def _draw_map(
    axes: Axes, relevance: np.ndarray | None, duration: float, saliency: Sequence[float] | np.ndarray | None
) -> None:
    axes.set_xlim(0, duration)
    axes.set_ylim(0, 1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_linewidth(0.5)
    if relevance is None:
        axes.set_facecolor("#F2F2F2")
        axes.text(
            0.5, 0.5, "no such stage", transform=axes.transAxes, ha="center", va="center", color=MUTED_COLOR,
            fontsize=SMALL_PRINT_SIZE,
        )  # fmt: skip
        return
    # The first word on top.
    axes.imshow(relevance, cmap=COLORS, aspect="auto", extent=(0, duration, 0, 1), interpolation="nearest")
    note = f"{relevance.min():.2f} to {relevance.max():.2f}".replace("-", "−")
    if saliency is not None and len(saliency):
        value = agreement(relevance, saliency)
        note += "" if np.isnan(value) else f",  r {value:.2f}".replace("-", "−")
        _draw_saliency(axes, np.asarray(saliency, dtype=np.float64), duration)
    _write(axes, note, 1.0, 0.04, size=SMALL_PRINT_SIZE, ha="right", color=MUTED_COLOR)


def _draw_saliency(axes: Axes, saliency: np.ndarray, duration: float) -> None:
    from matplotlib.patheffects import Normal, Stroke

    low, high = saliency.min(), saliency.max()
    heights = 0.06 + 0.88 * (saliency - low) / (high - low if high > low else 1)
    edges = np.linspace(0, duration, len(saliency) + 1)
    halo = [Stroke(linewidth=2.6, foreground="white"), Normal()]
    axes.stairs(heights, edges, baseline=None, color=SALIENCY_LINE, linewidth=1.2, path_effects=halo)


def _name_rows(axes: Axes, stage: str, words: Sequence[str], size: float) -> None:
    axes.annotate(
        stage, (0, 0.5), xycoords="axes fraction", xytext=(-72 * _left_inches(axes) + 2, 0), textcoords="offset points",
        rotation=90, ha="left", va="center", fontsize=PRINT_SIZE, color=TEXT_COLOR, annotation_clip=False,
    )  # fmt: skip
    if not words:
        return
    places = [1 - (index + 0.5) / len(words) for index in range(len(words))]
    axes.set_yticks(places, words, fontsize=size, color=TEXT_COLOR, family=font_families(), parse_math=False)
    axes.tick_params(axis="y", length=0, pad=2)


def _left_inches(axes: Axes) -> float:
    figure: Any = axes.figure
    return axes.get_position().x0 * figure.get_figwidth()


def _write(axes: Axes, text: str, x: float, inches_above: float, **style: Any) -> None:
    axes.annotate(
        text, (x, 1), xycoords="axes fraction", xytext=(0, 72 * inches_above), textcoords="offset points", va="bottom",
        annotation_clip=False, **{"color": TEXT_COLOR, **style},
    )  # fmt: skip


def _draw_legend(page: Page, with_saliency: bool) -> None:
    text = "cosine of clip and word, low to high"
    place = LEGEND_BAR + text_width(text, SMALL_PRINT_SIZE) / 72 + 0.25
    is_narrow = place + 1 > page.inner_width
    page.top = page.height - LEGEND_LINE * (1 + (with_saliency and is_narrow))
    bar = page.add_box(0.0, LEGEND_BAR, LEGEND_HEIGHT)
    bar.imshow(np.linspace(0, 1, 64)[None], cmap=COLORS, aspect="auto")
    bar.set_xticks([])
    bar.set_yticks([])
    bar.spines[:].set_linewidth(0.5)
    _beside(bar, text)
    if with_saliency:
        page.top += LEGEND_LINE * is_narrow
        line = page.add_box(0.0 if is_narrow else place, LEGEND_BAR, LEGEND_HEIGHT)
        line.axhline(0.5, color=SALIENCY_LINE, linewidth=1.2)
        line.axis("off")
        _beside(line, "true saliency")


def _beside(axes: Axes, text: str) -> None:
    axes.annotate(
        text, (1, 0.5), xycoords="axes fraction", xytext=(3, 0), textcoords="offset points", va="center",
        fontsize=SMALL_PRINT_SIZE, color=TEXT_COLOR, annotation_clip=False,
    )  # fmt: skip


__all__ = ["STAGES", "StageRelevance", "agreement", "check_stages", "plot_relevance"]
