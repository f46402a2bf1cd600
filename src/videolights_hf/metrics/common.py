"""Shared by the metrics: ragged per-query rows as padded arrays, and the published rounding."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain

import numpy as np


def pad_rows(
    rows: Sequence[Sequence],
    *,
    name: str,
    columns: int | None = None,
    qids: Sequence[Hashable] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Put rows of different lengths into one float64 array.

    Args:
        rows: One sequence per query, of `N_q` numbers, or of `N_q` sequences of `columns` numbers.
        name: What a row holds, for error messages.
        columns: Numbers per entry; `None` for plain numbers.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Returns:
        The values, `(Q, N)` or `(Q, N, columns)` with N the longest row and 0 on padding, and the mask `(Q, N)`,
        True where a value is real.

    Raises:
        ValueError: If an entry has another number of columns, or a value is not a finite number; the message
            names the query.
    """
    for row, entries in enumerate(rows):
        if not hasattr(entries, "__len__"):
            raise ValueError(f"{name} of query {label_of(qids, row)} must be a list, but are {entries!r}")
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    shape = (-1,) if columns is None else (-1, columns)
    try:
        flat = np.array(list(chain.from_iterable(rows)), dtype=np.float64)
        flat = flat.reshape(shape) if flat.size == 0 else flat
        malformed = flat.ndim != len(shape) or (columns is not None and flat.shape[1] != columns)
    except (TypeError, ValueError):
        malformed = True
    if malformed:
        raise ValueError(_describe_malformed_row(rows, name, columns, qids))

    finite = np.isfinite(flat) if columns is None else np.isfinite(flat).all(axis=1)
    if not finite.all():
        row = int(np.repeat(np.arange(len(rows)), lengths)[np.argmin(finite)])
        raise ValueError(f"{name} of query {label_of(qids, row)} hold a value that is not a finite number")

    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    values = np.zeros(mask.shape if columns is None else (*mask.shape, columns))
    values[mask] = flat
    return values, mask


def pad_windows(
    rows: Sequence[Sequence],
    *,
    name: str,
    columns: int,
    qids: Sequence[Hashable] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Like `pad_rows`, for windows `[start, end, ...]`, which may not end before they start.

    Raises:
        ValueError: If a window is malformed, not finite or reversed; the message names the query.
    """
    values, mask = pad_rows(rows, name=name, columns=columns, qids=qids)
    is_reversed = values[..., 1] < values[..., 0]
    if is_reversed.any():
        row, column = np.argwhere(is_reversed)[0]
        start, end = values[row, column, :2].tolist()
        raise ValueError(f"{name} of query {label_of(qids, row)}: [{start}, {end}] ends before it starts")
    return values, mask


def check_same_length(first: Sequence, second: Sequence, names: str) -> None:
    """Raise a ValueError unless both sequences have one entry per query.

    Raises:
        ValueError: If the lengths differ; `names` says of what.
    """
    if len(first) != len(second):
        raise ValueError(f"{names} must have one entry per query each, but have {len(first)} and {len(second)}")


def as_percent(fraction: float) -> float:
    """A fraction as percent with two decimals, rounded as Python formats it (as the published scripts do)."""
    return float(f"{100 * fraction:.2f}")


def label_of(qids: Sequence[Hashable] | None, row: int) -> str:
    """How error messages name a query: by its id, or by its row number where ids are not known."""
    return f"#{row}" if qids is None else repr(qids[row])


def _describe_malformed_row(
    rows: Sequence[Sequence], name: str, columns: int | None, qids: Sequence[Hashable] | None
) -> str:
    shape = () if columns is None else (columns,)
    row, entry = next((row, entry) for row, entries in enumerate(rows) for entry in entries if _shape(entry) != shape)
    expected = "one number" if columns is None else f"{columns} numbers"
    return f"{name} of query {label_of(qids, row)}: each entry must be {expected}, but one is {entry!r}"


def _shape(entry: object) -> tuple[int, ...] | None:
    try:
        return np.asarray(entry, dtype=np.float64).shape
    except (TypeError, ValueError):
        return None
