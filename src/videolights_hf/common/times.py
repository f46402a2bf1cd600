"""Times as people read them."""

from __future__ import annotations


def format_time(seconds: float, decimals: int = 0) -> str:
    """Write a time as mm:ss, as h:mm:ss from one hour on.

    Args:
        seconds: The time.
        decimals: Digits after the seconds.

    Returns:
        For instance `02:05` or, with one decimal, `02:05.0`.
    """
    scale = 10**decimals
    minutes, rest = divmod(round(seconds * scale), 60 * scale)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02d}:{rest / scale:0{2 + bool(decimals) + decimals}.{decimals}f}"
    return f"{hours}:{text}" if hours else text


__all__ = ["format_time"]
