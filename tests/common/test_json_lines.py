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
