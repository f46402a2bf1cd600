import pickle

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, concatenate_datasets

from videolights_hf.data.rows import BatchReader, RowReader
from videolights_hf.data.tables import decode_array, encode_array, video_schema


def matrix(number):
    return np.full((number + 1, 3), number, np.float16)


@pytest.fixture
def table():
    rows = [
        {"vid": f"v{number}", "num_clips": number + 1, "video_clip": encode_array(matrix(number))}
        for number in range(10)
    ]
    schema = video_schema(["clip"])
    return concatenate_datasets([Dataset.from_list(part, features=schema) for part in (rows[:4], rows[4:5], rows[5:])])


def test_rows_of_a_selection_are_those_of_the_table(table):
    chosen = [9, 0, 4, 4, 3]
    for rows, numbers in (
        (table, range(10)),
        (table.select(chosen), chosen),
        (table.select(range(3, 8)), range(3, 8)),
    ):
        reader = RowReader(rows, ["vid", "video_clip"])
        assert len(reader) == len(numbers)
        for index, number in enumerate(numbers):
            row = reader[index]
            assert list(row) == ["vid", "video_clip"]
            assert row["vid"] == f"v{number}"
            np.testing.assert_array_equal(decode_array(row["video_clip"]), matrix(number))
            assert dict(row["video_clip"], data=bytes(row["video_clip"]["data"])) == encode_array(matrix(number))
        assert reader[-1] == reader[len(numbers) - 1]
        with pytest.raises(IndexError, match=f"of {len(numbers)} rows"):
            reader[len(numbers)]


def test_a_matrix_lies_in_the_table_and_is_not_copied(table):
    cell = RowReader(table, ["video_clip"])[7]["video_clip"]
    batch = table.data.table.to_batches()[2].column(2)
    buffer = batch.field("data").buffers()[2]
    address = decode_array(cell).ctypes.data
    assert buffer.address <= address < buffer.address + buffer.size


def test_a_reader_is_sent_to_a_worker_without_the_features(tmp_path):
    rows = [{"vid": "v", "num_clips": 1, "video_clip": encode_array(np.ones((500, 500), np.float32))}]
    Dataset.from_list(rows, features=video_schema(["clip"])).save_to_disk(tmp_path / "table")
    sent = pickle.dumps(RowReader(Dataset.load_from_disk(tmp_path / "table"), ["video_clip"]))
    assert len(sent) < 100_000
    np.testing.assert_array_equal(decode_array(pickle.loads(sent)[0]["video_clip"]), 1)


def test_a_cell_that_points_outside_the_table_is_an_error_and_no_crash():
    data = pa.Array.from_buffers(
        pa.large_binary(), 2, [None, pa.py_buffer(np.array([0, 2**40, 8], np.int64)), pa.py_buffer(bytes(8))]
    )
    column = pa.StructArray.from_arrays([data, pa.array(["a", "b"])], ["data", "dtype"])
    reader = BatchReader([pa.record_batch([column], ["cell"])])
    for row, cell in enumerate(("bytes 0 to 1099511627776 of 8", "bytes 1099511627776 to 8 of 8")):
        with pytest.raises(ValueError, match=cell):
            reader.row(row)


def test_cells_without_a_value_are_none():
    column = pa.array([None, {"data": b"ab"}, {"data": None}], pa.struct({"data": pa.large_binary()}))
    reader = BatchReader([pa.record_batch([column], ["cell"])])
    assert reader.row(0) == {"cell": None}
    assert [bytes(reader.row(row)["cell"]["data"]) for row in (1, 2)] == [b"ab", b""]
