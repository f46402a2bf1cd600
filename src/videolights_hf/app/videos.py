"""The videos of the app: those that it offers, and those that people upload."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..common.json_lines import iterate_json_lines
from ..demo.bundled import demo_videos

NUM_EXAMPLES = 2


@dataclass(eq=False)
class AppVideo:
    """A video that people ask about.

    Attributes:
        name: Its file's name, as the user or the operator gave it.
        path: Where it lies.
        is_bundled: Whether it came with the package.
        examples: Sentences to ask about it.
        key: Its id with the service that has encoded it.
        lock: Held while it is encoded.
    """

    name: str
    path: Path
    is_bundled: bool = False
    examples: tuple[str, ...] = ()
    key: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


def offered_videos(own: Iterable[Path]) -> dict[str, AppVideo]:
    """The videos to choose from, by the names that the page shows: the operator's, then the bundled ones."""
    offered: dict[str, AppVideo] = {}
    for path in own:
        name = path.name
        while name in offered:
            # Of several folders.
            name += " (another)"
        offered[name] = AppVideo(path.name, path)
    sentences: dict[str, list[str]] = {}
    for line in iterate_json_lines(demo_videos() / "annotations.jsonl"):
        sentences.setdefault(line.row["vid"], []).append(line.row["query"])
    for number, (vid, examples) in enumerate(sentences.items(), start=1):
        path = demo_videos() / f"{vid}.mp4"
        offered[f"Colored shapes {number} (bundled)"] = AppVideo(path.name, path, True, tuple(examples[:NUM_EXAMPLES]))
    return offered


__all__ = ["AppVideo", "offered_videos"]
