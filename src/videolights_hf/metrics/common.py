"""Shared by the metrics: ragged per-query rows as padded arrays, and the published rounding."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import chain

import numpy as np

# Numbers that a padded array holds at most (128 MB of float64): queries are scored in groups of similar length where
# one array of all would be larger.
_MAX_CELLS = 2**24


@dataclass(frozen=True)
class RaggedRows:
    """Rows of different lengths, end to end.

    Attributes:
        flat: All entries, float64, `(N,)` or `(N, columns)`.
        lengths: Entries of each row, `(Q,)`.
    """

    flat: np.ndarray
    lengths: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where in `flat` each row begins, `(Q,)`."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def row_numbers(self) -> np.ndarray:
        """The row of each entry of `flat`, `(N,)`."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def pad(self, rows: np.ndarray | None = None, limits: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Some rows as one array.

        Args:
            rows: Their numbers; all by default.
            limits: Longest length of each of these rows, to which it is cut.

        Returns:
            The values, `(R, L)` or `(R, L, columns)` with L the longest row and 0 on padding, and the mask `(R, L)`,
            True where a value is real.
        """
        rows = np.arange(len(self.lengths)) if rows is None else rows
        lengths = self.lengths[rows] if limits is None else np.minimum(self.lengths[rows], limits)
        columns = np.arange(lengths.max(initial=0))
        mask = columns < lengths[:, None]
        values = np.zeros((*mask.shape, *self.flat.shape[1:]))
        values[mask] = self.flat[(self.starts[rows][:, None] + columns)[mask]]
        return values, mask


def flatten_rows(
    rows: Sequence[Sequence],
    *,
    name: str,
    columns: int | None = None,
    qids: Sequence[Hashable] | None = None,
) -> RaggedRows:
    """Rows of numbers, checked.

    Args:
        rows: One sequence per query, of `N_q` numbers, or of `N_q` sequences of `columns` numbers.
        name: What a row holds, for error messages.
        columns: Numbers per entry; `None` for plain numbers.
        qids: The queries' ids, for error messages. Defaults to the row numbers.

    Raises:
        ValueError: An entry has another number of columns, or a value is not a finite number; the message names the
            query.
    """
    for row, entries in enumerate(rows):
        if not hasattr(entries, "__len__") or isinstance(entries, (str, dict)):
            raise ValueError(f"{name} of query {label_of(qids, row)} must be a list, but are {entries!r}")
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    shape = (-1,) if columns is None else (-1, columns)
    try:
        flat = np.array(list(chain.from_iterable(rows)), dtype=np.float64)
        flat = flat.reshape(shape) if flat.size == 0 and not lengths.any() else flat
        malformed = flat.ndim != len(shape) or (columns is not None and flat.shape[1] != columns)
    except (TypeError, ValueError, OverflowError):
        malformed = True
    if malformed:
        raise ValueError(_describe_malformed_row(rows, name, columns, qids))

    finite = np.isfinite(flat) if columns is None else np.isfinite(flat).all(axis=1)
    ragged = RaggedRows(flat, lengths)
    if not finite.all():
        row = int(ragged.row_numbers[np.argmin(finite)])
        raise ValueError(f"{name} of query {label_of(qids, row)} hold a value that is not a finite number")
    return ragged


def flatten_windows(
    rows: Sequence[Sequence],
    *,
    name: str,
    columns: int,
    qids: Sequence[Hashable] | None = None,
) -> RaggedRows:
    """Like `flatten_rows`, for windows `[start, end, ...]`, which may not end before they start.

    Raises:
        ValueError: A window is malformed, not finite or reversed; the message names the query.
    """
    windows = flatten_rows(rows, name=name, columns=columns, qids=qids)
    is_reversed = windows.flat[:, 1] < windows.flat[:, 0]
    if is_reversed.any():
        entry = int(np.argmax(is_reversed))
        start, end = windows.flat[entry, :2].tolist()
        row = int(windows.row_numbers[entry])
        raise ValueError(f"{name} of query {label_of(qids, row)}: [{start}, {end}] ends before it starts")
    return windows


def group_rows(lengths: np.ndarray, cells_per_entry: int = 1) -> Iterator[np.ndarray]:
    """Row numbers in groups that can be padded without much memory, every row once.

    Args:
        lengths: Length of each row, `(Q,)`.
        cells_per_entry: Numbers that an entry takes.
    """
    if len(lengths) * int(lengths.max(initial=0)) * cells_per_entry <= _MAX_CELLS:
        yield np.arange(len(lengths))
        return
    # From the shortest to the longest: only rows that are themselves long are padded to a great length.
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        sizes = np.arange(1, len(order) - start + 1) * lengths[order[start:]] * cells_per_entry
        stop = start + max(1, int(np.searchsorted(sizes, _MAX_CELLS, side="right")))
        yield np.sort(order[start:stop])
        start = stop


def first_entry_length(rows: Sequence[Sequence]) -> int:
    """Length of the first entry of all rows, 1 if there is none: the columns that the others must have, too."""
    for row in rows:
        for entry in row if isinstance(row, Iterable) else ():
            return max(1, len(entry)) if isinstance(entry, Sized) else 1
    return 1


def check_same_length(first: Sized, second: Sized, names: str) -> None:
    """Check that both have one entry per query.

    Raises:
        ValueError: The lengths differ; `names` says of what.
    """
    if len(first) != len(second):
        raise ValueError(f"{names} must have one entry per query each, but have {len(first)} and {len(second)}")


def as_percent(fraction: float | np.floating) -> float:
    """A fraction as percent with two decimals, rounded as Python formats it (as the published scripts do)."""
    return float(f"{100 * fraction:.2f}")


def label_of(qids: Sequence[Hashable] | None, row: int) -> str:
    """How error messages name a query: by its id, or by its row number where ids are not known."""
    return f"#{row}" if qids is None else repr(qids[row])


def _describe_malformed_row(
    rows: Sequence[Sequence], name: str, columns: int | None, qids: Sequence[Hashable] | None
) -> str:
    shape = () if columns is None else (columns,)
    expected = "one number" if columns is None else f"{columns} numbers"
    for row, entries in enumerate(rows):
        for entry in entries:
            if _shape(entry) != shape:
                return f"{name} of query {label_of(qids, row)}: each entry must be {expected}, but one is {entry!r}"
    return f"{name}: each entry must be {expected}"


def _shape(entry: object) -> tuple[int, ...] | None:
    try:
        return np.asarray(entry, dtype=np.float64).shape
    except (TypeError, ValueError, OverflowError):
        return None
