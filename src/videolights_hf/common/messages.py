"""Messages about names that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'nearest'?` with its leading space, or an empty string when nothing is near."""
    nearest = {candidate.lower(): candidate for candidate in sorted(known)}
    matches = difflib.get_close_matches(str(name).lower(), nearest, n=1, cutoff=0.5)
    return f" Did you mean {nearest[matches[0]]!r}?" if matches else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Error message for an unknown name: the nearest known one, then all of them."""
    names = sorted(known)
    return f"Unknown {kind} {name!r}.{did_you_mean(name, names)} Known: {', '.join(names)}."
