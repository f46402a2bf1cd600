"""Results for editing programs: an edit decision list (CMX 3600), and OpenTimelineIO's JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..common.files import write_json, write_text
from ..inference.moments import Moment
from ..video.film import FileSource
from ..video.reader import read_video_metadata
from ..video.sound import sound_format
from .answers import VideoAnswers

# What cameras and editing programs count by; a file's average is a little off.
_COMMON_RATES = (24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 60.0)
_LARGEST_DEVIATION = 0.005
_LAST_EVENT = 999


def write_edl(answers: VideoAnswers, path: Path) -> None:
    """Write an event for each moment, one after the other, sentence by sentence.

    Time codes count every frame (non-drop) at the nearest whole number of frames per second. The format ends at 999
    events.
    """
    rate = frame_rate(answers.file)
    channels = "V" if sound_format(FileSource(answers.file)) is None else "B"
    name = _one_line(answers.title)
    lines = [f"TITLE: {name}", "FCM: NON-DROP FRAME", ""]
    record = 0
    for event, (query, moment) in enumerate(_moments(answers), start=1):
        if event > _LAST_EVENT:
            break
        first, last = _frames(moment, rate)
        codes = [_timecode(frame, rate) for frame in (first, last, record, record + last - first)]
        record += last - first
        lines += [
            f"{event:03d}  AX       {channels:<5} C        {' '.join(codes)}",
            f"* FROM CLIP NAME: {name}",
            f"* COMMENT: {_one_line(query)} ({moment['score']:.2f})",
            "",
        ]
    write_text(path, "\n".join(lines), errors="replace")


def write_otio(answers: VideoAnswers, path: Path) -> None:
    """Write a timeline with a track for each sentence, whose clips are its moments; the media is the video's file."""
    rate = frame_rate(answers.file)
    duration = read_video_metadata(answers.file).duration
    media = {
        **_schema("ExternalReference.1"),
        "available_range": _time_range(0, round(duration * rate), rate),
        "available_image_bounds": None,
        "target_url": _address(answers),
    }
    tracks = [
        {
            **_item("Track.1", query),
            "kind": "Video",
            "children": [_clip(query, moment, media, rate) for moment in moments],
        }
        for query, moments in answers.shown()
    ]
    stack = {**_item("Stack.1", "tracks"), "children": tracks}
    write_json(path, {**_schema("Timeline.1", answers.title), "global_start_time": None, "tracks": stack})


def _address(answers: VideoAnswers) -> str:
    """Where the video is; of one that was only passed through, its name alone."""
    return Path(answers.file).absolute().as_uri() if answers.path is None else quote(os.fsencode(answers.title))


def frame_rate(video: str) -> float:
    """Frames per second: the common rate that is next to the video's average, or the average itself."""
    fps = read_video_metadata(video).fps
    nearest = min(_COMMON_RATES, key=lambda rate: abs(rate - fps))
    return nearest if abs(nearest - fps) <= _LARGEST_DEVIATION * nearest else fps


def _moments(answers: VideoAnswers) -> Iterator[tuple[str, Moment]]:
    for query, moments in answers.shown():
        for moment in moments:
            yield query, moment


def _frames(moment: Moment, rate: float) -> tuple[int, int]:
    """First frame of a moment, and the one behind its last."""
    first = round(moment["start"] * rate)
    return first, max(first + 1, round(moment["end"] * rate))


def _timecode(frame: int, rate: float) -> str:
    base = max(1, round(rate))
    seconds, frames = divmod(frame, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}:{frames:02d}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _schema(name: str, label: str = "") -> dict[str, Any]:
    return {"OTIO_SCHEMA": name, "metadata": {}, "name": label}


def _item(name: str, label: str) -> dict[str, Any]:
    return {**_schema(name, label), "source_range": None, "effects": [], "markers": [], "enabled": True}


def _clip(query: str, moment: Moment, media: dict[str, Any], rate: float) -> dict[str, Any]:
    first, last = _frames(moment, rate)
    return {
        **_item("Clip.2", query),
        "source_range": _time_range(first, last - first, rate),
        "metadata": {"videolights": {"query": query, "score": moment["score"]}},
        "media_references": {"DEFAULT_MEDIA": media},
        "active_media_reference_key": "DEFAULT_MEDIA",
    }


def _time_range(start: int, duration: int, rate: float) -> dict[str, Any]:
    times = {
        name: {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": float(value)}
        for name, value in (("start_time", start), ("duration", duration))
    }
    return {"OTIO_SCHEMA": "TimeRange.1", **times}
