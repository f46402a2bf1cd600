"""Results as WebVTT: chapters that players list, each named by its sentence."""

from __future__ import annotations

import html
from pathlib import Path

from ..common.files import write_text
from .answers import VideoAnswers


def write_vtt(answers: VideoAnswers, path: Path) -> None:
    """Write a cue for each moment, in the order of the video."""
    cues = sorted((m["start"], m["end"], query) for query, moments in answers.shown() for m in moments)
    blocks = ["WEBVTT"]
    for number, (start, end, query) in enumerate(cues, start=1):
        # Line breaks would end the cue, and angle brackets are tags.
        text = html.escape(" ".join(query.split()), quote=False)
        blocks.append(f"{number}\n{_timestamp(start)} --> {_timestamp(end)}\n{text}")
    write_text(path, "\n\n".join(blocks) + "\n")


def _timestamp(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
