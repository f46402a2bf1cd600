"""The world's truth, in the format of the QVHighlights annotation files, and whole folders of videos with it.

Each line has qid, query, vid, duration, relevant_windows (seconds), relevant_clip_ids and saliency_scores (a 0 to 4 grade
from each of three annotators for each relevant clip).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from .rendering import render_video
from .scenes import SPLITS, VideoPlan, moments_of, plan_video

CLIP_SECONDS = 1
"""Length of a clip in seconds; scenes begin and end on clip boundaries."""

ANNOTATIONS_FILE = "annotations.jsonl"

# Queries of different splits have different qids, so that their features can lie in one folder.
_QIDS_PER_SPLIT = 1_000_000

_GRADE_RADII = (0.14, 0.18, 0.22, 0.26)
_ANNOTATOR_SHIFTS = (-0.015, 0.0, 0.015)


def grade_clip(radius: float) -> list[int]:
    """Grades of the three annotators for a relevant clip.

    The larger the object, the higher the grade; a lenient, a middling and a strict annotator draw their lines at
    slightly different sizes.

    Args:
        radius: Radius of the object in the middle of the clip, as a fraction of the frame's side.

    Returns:
        Three grades from 0 to 4.
    """
    return [sum(radius >= line + shift for line in _GRADE_RADII) for shift in _ANNOTATOR_SHIFTS]


def annotate(plan: VideoPlan, first_qid: int = 0) -> list[dict[str, Any]]:
    """The annotation lines of a video, one for each query, with qids from `first_qid` on."""
    lines = []
    for i, (query, sentence) in enumerate(plan.queries):
        windows = moments_of(query, plan.scenes)
        clip_ids = [clip for start, end in windows for clip in range(start // CLIP_SECONDS, end // CLIP_SECONDS)]
        lines.append(
            {
                "qid": first_qid + i,
                "query": sentence,
                "vid": plan.vid,
                "duration": plan.duration,
                "relevant_windows": [list(window) for window in windows],
                "relevant_clip_ids": clip_ids,
                "saliency_scores": [grade_clip(_radius_in_clip(plan, clip)) for clip in clip_ids],
            }
        )
    return lines


def make_world(
    folder: str | PathLike[str], split: str, indices: Iterable[int], seed: int = 0, show_progress: bool = False
) -> list[dict[str, Any]]:
    """Render videos of the world into a folder: `{vid}.mp4` files and their `annotations.jsonl`.

    Args:
        folder: Folder to write to; made if it does not exist.
        split: Family of videos, one of `videolights_hf.demo.SPLITS`.
        indices: Numbers of the videos within the split.
        seed: Seed of the world.
        show_progress: Whether to show a progress bar.

    Returns:
        All annotation lines, as written.

    Raises:
        ValueError: Unknown `split`, or an index or the seed is out of range.
    """
    plans = [plan_video(split, index, seed) for index in indices]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    annotations: list[dict[str, Any]] = []
    first_qid = SPLITS.index(split) * _QIDS_PER_SPLIT
    for plan in tqdm(plans, desc=f"Rendering {split} videos", unit="video", disable=not show_progress):
        render_video(plan, folder / f"{plan.vid}.mp4")
        annotations.extend(annotate(plan, first_qid=first_qid + len(annotations)))
    lines = "".join(json.dumps(annotation) + "\n" for annotation in annotations)
    (folder / ANNOTATIONS_FILE).write_text(lines, encoding="utf-8")
    return annotations


def _radius_in_clip(plan: VideoPlan, clip: int) -> float:
    middle = (clip + 0.5) * CLIP_SECONDS
    scene = plan.scene_at(middle)
    return scene.radius(middle - scene.start)
