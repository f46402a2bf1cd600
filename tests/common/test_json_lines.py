import os

import pytest

from videolights_hf.common.json_lines import iterate_json_lines, write_json_lines


def test_rows_come_back_with_their_line_numbers(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_json_lines(path, [{"a": 1}, {"b": "é\ud800"}])
    assert [(line.number, line.row, line.fault) for line in iterate_json_lines(path)] == [
        (1, {"a": 1}, None),
        (2, {"b": "é\ud800"}, None),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"{", "not JSON"),
        (b"[1]", "expected a JSON object, found list"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_faulty_line_is_named_and_the_others_are_read(tmp_path, line, fault):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n' + line + b"\n{}\n")
    first, faulty, last = iterate_json_lines(path)
    assert first.row == {"a": 1}
    assert (faulty.number, faulty.row) == (3, {})
    assert fault in faulty.fault
    assert (last.number, last.fault) == (4, None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_named_pipe_does_not_hang_and_the_shells_own_are_read(tmp_path):
    os.mkfifo(tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match=r"rows\.jsonl is a named pipe"):
        list(iterate_json_lines(tmp_path / "rows.jsonl"))

    reader, writer = os.pipe()
    os.write(writer, b'{"a": 1}\n')
    os.close(writer)
    assert [line.row for line in iterate_json_lines(f"/dev/fd/{reader}")] == [{"a": 1}]
    os.close(reader)
