"""Single rows of a table, read from where Arrow maps them: no copy of the features, no Python list of their bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from datasets import Dataset

_Read = Callable[[int], Any]


class RowReader:
    """Random access to the rows of some columns.

    A row is a dictionary of Python values. The cell of a feature matrix is what `encode_array` makes, except that its
    `data` is a view of the table and not a copy.

    Args:
        table: A table of a feature dataset, or rows that were selected from one.
        columns: The columns to read.

    Example:

    ```python
    >>> from datasets import Dataset
    >>> from videolights_hf.data.rows import RowReader

    >>> table = Dataset.from_dict({"vid": ["a", "b", "c"], "num_clips": [75, 74, 75]})
    >>> RowReader(table.select([2, 1]), ["num_clips"])[1]
    {'num_clips': 74}
    ```
    """

    def __init__(self, table: Dataset, columns: Iterable[str]) -> None:
        self._table = table.select_columns(list(columns))
        self._open()

    def _open(self) -> None:
        selected = self._table._indices
        self._row_numbers = None if selected is None else selected.column(0).to_numpy()
        self._batches = BatchReader.of_table(self._table.data.table)

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is spawned maps the files itself; Arrow's buffers would be sent to it whole.
        return {"_table": self._table}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> dict[str, Any]:
        """A row.

        Raises:
            IndexError: There are fewer rows; a negative `row` counts from the end.
            ValueError: The table is damaged.
        """
        size = len(self)
        if not -size <= row < size:
            raise IndexError(f"Row {row} of a table of {size} rows.")
        row %= size
        number = row if self._row_numbers is None else int(self._row_numbers[row])
        try:
            return self._batches.row(number)
        except (MemoryError, OverflowError, IndexError, ValueError, pa.ArrowException) as error:
            # Arrow believes the sizes that a damaged file gives.
            raise ValueError(
                f"Row {row} of a table cannot be read ({error!r}): the dataset is damaged, build it again."
            ) from error


class BatchReader:
    """Random access to the rows of record batches.

    Args:
        batches: Record batches of the same columns.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = [batch for batch in batches if batch.num_rows]
        self._starts = [0, *accumulate(batch.num_rows for batch in self._batches)]
        self._readers: dict[int, dict[str, _Read]] = {}

    @classmethod
    def of_table(cls, table: pa.Table) -> BatchReader:
        """The rows of an Arrow table."""
        return cls(table.to_batches())

    def row(self, number: int) -> dict[str, Any]:
        """A row, counted from zero over all batches; see `RowReader`."""
        batch = bisect_right(self._starts, number) - 1
        if batch not in self._readers:
            columns = zip(self._batches[batch].schema.names, self._batches[batch].columns)
            self._readers[batch] = {name: _reader(column) for name, column in columns}
        index = number - self._starts[batch]
        return {name: read(index) for name, read in self._readers[batch].items()}


def _reader(column: pa.Array) -> _Read:
    if not pa.types.is_struct(column.type):
        return lambda index: column[index].as_py()
    fields = {field.name: column.field(field.name) for field in column.type}
    data = _bytes_reader(fields.pop("data"))
    # Asking a cell itself would read its bytes, wherever a damaged table says that they are.
    valid = column.is_valid().to_numpy(zero_copy_only=False)

    def cell(index: int) -> dict[str, Any] | None:
        if not valid[index]:
            return None
        return {"data": data(index), **{name: values[index].as_py() for name, values in fields.items()}}

    return cell


def _bytes_reader(column: pa.Array) -> _Read:
    """Reads a cell of bytes where it lies, if it lies in the table."""
    _, offsets, data = column.buffers()
    offset_type = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    bounds = np.frombuffer(offsets, offset_type)[column.offset : column.offset + len(column) + 1]
    content = memoryview(b"" if data is None else data)

    def read(index: int) -> memoryview:
        start, end = int(bounds[index]), int(bounds[index + 1])
        if not 0 <= start <= end <= len(content):
            raise ValueError(f"a cell takes bytes {start} to {end} of {len(content)}")
        return content[start:end]

    return read
