"""Ids of videos and queries, which become file names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PureWindowsPath


def is_plain_name(item_id: int | str) -> bool:
    """Whether an id names a file of one folder and cannot lead out of it."""
    name = str(item_id)
    # Windows rules are the stricter ones: both slashes, and drive letters.
    return name not in ("", ".", "..") and "\0" not in name and PureWindowsPath(name).name == name


def check_ids(ids: Iterable[int | str]) -> None:
    """Check that ids can be file names.

    Raises:
        ValueError: An id is empty or would lead out of its folder.
    """
    for item_id in ids:
        if not is_plain_name(item_id):
            raise ValueError(f"The id {str(item_id)!r} cannot be a file name: remove slashes and leading dots.")
