"""The picture that one can use, which a page and the app show: its data, its script and its style."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from typing import Any

from ..inference.highlights import Highlight, find_highlights
from ..inference.moments import MomentResult
from .answers import VideoAnswers, sure_moments

THUMBNAIL_PIXELS = 144


def picture_style() -> str:
    """The style sheet of a picture."""
    return _read("picture.css")


def picture_script() -> str:
    """The script that defines `videolightsPicture(element)`, a function that gives a function to show data."""
    return _read("picture.js")


def picture_data(answers: VideoAnswers) -> dict[str, Any]:
    """What a picture shows, as plain values: for each sentence its curve, its moments, and its highlights with thumbnails.

    Raises:
        FileNotFoundError: The video does not exist.
        ValueError: It cannot be read.
    """
    highlights = [find_highlights(result) for result in answers.predictions]
    pictures = iter(_thumbnails(answers.file, [highlight for found in highlights for highlight in found]))
    return {
        "predictions": [
            _prediction(result, [{**highlight, "picture": next(pictures)} for highlight in found])
            for result, found in zip(answers.predictions, highlights, strict=True)
        ]
    }


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _prediction(result: MomentResult, highlights: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "query": result["query"],
        "duration": result["duration"],
        "clip_length": result["clip_length"],
        "saliency": result["saliency"],
        "moments": sure_moments(result),
        "highlights": highlights,
        "low": bool(result["moments"]) and not sure_moments(result),
    }


def _thumbnails(video: str, highlights: list[Highlight]) -> list[str]:
    """The middle of each highlight as an address that holds a JPEG."""
    from PIL import Image

    from ..visualization.thumbnails import read_thumbnails

    times = [(highlight["start"] + highlight["end"]) / 2 for highlight in highlights]
    addresses = []
    for picture in read_thumbnails(video, None, times, THUMBNAIL_PIXELS) if times else []:
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "JPEG", quality=80)
        addresses.append("data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii"))
    return addresses


__all__ = ["picture_data", "picture_script", "picture_style"]
