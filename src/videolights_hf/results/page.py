"""Results as one web page: a player, and under it the saliency curve of each sentence with its moments."""

from __future__ import annotations

import base64
import html
import json
import mimetypes
import os
import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from ..common.files import write_text
from .answers import VideoAnswers, video_beside
from .picture import picture_data, picture_script, picture_style

# A page holds a third more than the video, and browsers keep all of it in memory.
LARGEST_EMBEDDED_MEGABYTES = 200


def write_page(answers: VideoAnswers, path: Path, embed: bool = False) -> None:
    """Write a page that needs nothing but the video, whose path from the page it holds.

    Args:
        answers: What was found.
        path: The page.
        embed: Put the video into the page. A video from standard input always is.

    Raises:
        ValueError: The video is too large for that.
    """
    # A file name may hold bytes that are no text.
    beside = quote(os.fsencode(video_beside(answers, path)))
    source = _embedded(answers.file) if embed or answers.path is not None else beside
    page = (files(__package__) / "page.html").read_text(encoding="utf-8")
    fields = {
        "title": html.escape(answers.title),
        "model": html.escape(answers.model),
        "video": html.escape(source),
        # No text of a user can end the script.
        "data": json.dumps(picture_data(answers), allow_nan=False).replace("<", "\\u003c"),
        "style": picture_style(),
        "script": picture_script(),
    }
    # All in one pass, since a title may look like a field.
    page = re.sub(r"{{(\w+)}}", lambda mark: fields[mark[1]], page)
    write_text(path, page, errors="replace")


def _embedded(video: str) -> str:
    size = Path(video).stat().st_size / 2**20
    if size > LARGEST_EMBEDDED_MEGABYTES:
        raise ValueError(
            f"{video} has {size:.0f} MB, more than the {LARGEST_EMBEDDED_MEGABYTES} MB that a page can hold: leave the "
            "video beside the page, or shorten it."
        )
    kind = mimetypes.guess_type(video)[0] or "video/mp4"
    return f"data:{kind};base64,{base64.b64encode(Path(video).read_bytes()).decode('ascii')}"
