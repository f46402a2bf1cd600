"""Frames whose brightness tells when they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def gray_frames(levels: Sequence[int], width: int = 64, height: int = 48) -> np.ndarray:
    """One-colour frames (T, height, width, 3) uint8 of these grey levels."""
    column = np.asarray(levels, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(column, (len(levels), height, width, 3)).copy()
