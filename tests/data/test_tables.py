import json

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

import videolights_hf.data
from videolights_hf.data import export_parquet, load_feature_dataset
from videolights_hf.data.tables import annotation_to_row, decode_array, encode_array, row_to_annotation


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_matrices_with_trailing_zeros_survive_a_cell(dtype):
    matrix = np.array([[1.5, -2], [0, 0]], dtype=dtype)
    decoded = decode_array(encode_array(matrix))
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded, matrix)


def test_a_flipped_bit_in_a_cell_is_found():
    cell = encode_array(np.ones((2, 2), np.float16))
    assert decode_array(cell).tolist() == decode_array({**cell, "crc32": None}).tolist() == [[1, 1], [1, 1]]
    cell["data"] = b"\x01" + cell["data"][1:]
    with pytest.raises(ValueError, match="do not match its checksum"):
        decode_array(cell)
    assert decode_array(cell, verify=False).shape == (2, 2)


def test_fields_without_a_column_survive_a_row():
    annotation = {"qid": 3, "query": "q", "vid": "v", "duration": 4.5, "match": [-1, 0], "fps": 27.17}
    assert row_to_annotation(annotation_to_row(annotation)) == annotation


def test_the_packages_names_resolve():
    for name in videolights_hf.data.__all__:
        assert getattr(videolights_hf.data, name) is not None
    assert videolights_hf.data.export_parquet is export_parquet
    assert set(videolights_hf.data.__all__) <= set(dir(videolights_hf.data))
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = videolights_hf.data.nothing


@pytest.mark.parametrize(
    "cell",
    [
        {"data": bytes(8), "shape": [2, 2], "dtype": "junk"},
        {"data": bytes(8), "shape": [4], "dtype": "float16"},
        {"data": bytes(8), "shape": [2**31 - 1, 2**31 - 1], "dtype": "float16"},
        {"data": bytes(8), "shape": [-2, -2], "dtype": "float16"},
        {"data": bytes(8), "shape": [2, 2], "dtype": "float32"},
        {"data": None, "shape": [2, 2], "dtype": "float16"},
        {"data": bytes(8), "shape": None, "dtype": None},
    ],
)
def test_a_cell_that_does_not_hold_what_it_declares_is_refused(cell):
    with pytest.raises(ValueError, match=r"A feature cell declares .* the dataset is damaged"):
        decode_array(cell)


# All that a table's state has, but no file of rows.
NO_FILES = json.dumps(
    {"_data_files": [], "_fingerprint": "0", "_format_columns": None, "_format_kwargs": {}, "_format_type": None}
    | {"_output_all_columns": False, "_split": None}
)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dataset_dict.json", "{}"),
        ("dataset_dict.json", "[" * 100_000),
        ("dataset_dict.json", '{"splits": 5}'),
        ("train/state.json", "[]"),
        ("train/state.json", NO_FILES),
        ("train/state.json", "{}"),
        ("videos/dataset_info.json", "[]"),
        ("train/data-00000-of-00001.arrow", "cut"),
    ],
)
def test_a_damaged_folder_is_named_in_one_error(corpus, file, content):
    corpus.build()
    (corpus.root / "built" / file).write_text(content)
    with pytest.raises(ValueError, match=r"built (cannot be read as|is not) a feature dataset"):
        load_feature_dataset(corpus.root / "built")


def test_tables_of_something_else_are_refused(tmp_path):
    DatasetDict({"train": Dataset.from_dict({"text": ["a"]})}).save_to_disk(tmp_path / "other")
    with pytest.raises(ValueError, match=r"no table 'videos'.*table 'train' has no column clip_length, domain"):
        load_feature_dataset(tmp_path / "other")
