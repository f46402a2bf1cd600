"""Kinds of values that files hold, checked before anything is computed with them."""

from __future__ import annotations

import math


def is_text(value: object) -> bool:
    """Whether a value is text that is not blank and that a file can hold."""
    try:
        return isinstance(value, str) and bool(value.strip().encode())
    except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which no file can hold
        return False


def is_number(value: object) -> bool:
    """Whether a value is a finite number that a float can hold; True and False are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def is_whole_number(value: object) -> bool:
    """Whether a value is a whole number; True and False, which Python counts as 1 and 0, are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_qid(value: object) -> bool:
    """Whether a value can be the id of a query: a whole number or text."""
    return is_text(value) or is_whole_number(value)
