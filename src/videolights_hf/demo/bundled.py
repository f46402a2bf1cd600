"""Where the package keeps the demo's checkpoint and videos."""

from __future__ import annotations

from pathlib import Path

_ASSETS = Path(__file__).resolve().parent / "assets"


def demo_checkpoint() -> Path:
    """Folder of the VideoLights checkpoint trained on this world, with its CLIP inside."""
    return _ASSETS / "demo_checkpoint"


def demo_videos() -> Path:
    """Folder of the bundled videos, none of which was trained on, and their annotations."""
    return _ASSETS / "demo_videos"
