"""Damaged and hostile subtitles and annotations end in one of the errors that are expected, and quickly."""

import json
import random

import pytest

from videolights_hf.corpus import annotated_durations, convert_subtitles, read_vids

SRT = "1\n00:00:01,000 --> 00:00:02,000\n<i>one</i> &amp; two\n\n2\n00:00:03,000 --> 00:00:04,000\nthree\n"
VTT = "WEBVTT - title\nKind: captions\n\nNOTE x\n\nid\n00:01.000 --> 00:02.000 align:start\n<v Ann>one<00:01.5> two\n"
JSONL = "".join(
    json.dumps({"vid": "a", "text": "one", "start": i, "end": i + 1, "duration": 9}) + "\n" for i in range(4)
)
PIECES = [
    "-->", "\n", "\n\n", "<", ">", "{\\", "}", "&#x110000;", "&#xD800;", ":", "9" * 400, "-1", "1e999", "NaN", "null", "[]",
    "[" * 2000, "{}", '"', "\0", "\ufeff", "\u2028", "\x85", "\udcff", "WEBVTT", "00:00:99,999 --> 00:00:00,000", "true",
]  # fmt: skip


def mutated(text: str, generator: random.Random) -> bytes:
    for _ in range(generator.randint(1, 4)):
        start = generator.randrange(len(text) + 1)
        end = min(len(text), start + generator.choice([0, 0, 1, 5, 40]))
        text = text[:start] + generator.choice(PIECES) * generator.choice([1, 1, 1, 50]) + text[end:]
    content = text.encode("utf-8", "surrogateescape")
    return content[: generator.randrange(len(content) + 1)] if generator.random() < 0.2 else content


@pytest.mark.parametrize(
    ("name", "text"), [("a.srt", SRT), ("a.vtt", VTT), ("a.jsonl", JSONL)], ids=["srt", "vtt", "jsonl"]
)
def test_mutated_subtitles_give_queries_or_an_error(tmp_path, name, text):
    generator = random.Random(name)
    outcomes = set()
    for _ in range(300):
        (tmp_path / name).write_bytes(mutated(text, generator))
        try:
            convert_subtitles([tmp_path / name], {"a": 10.0}, tmp_path / "out.jsonl")
            outcomes.add("queries")
        except ValueError:
            outcomes.add("error")
    assert outcomes == {"queries", "error"}


def test_mutated_annotations_give_durations_or_an_error(tmp_path):
    generator = random.Random(0)
    messages = []
    for _ in range(300):
        (tmp_path / "a.jsonl").write_bytes(mutated(JSONL, generator))
        for read in (annotated_durations, read_vids):
            try:
                read(tmp_path / "a.jsonl")
            except ValueError as error:
                messages.append(str(error))
    assert 0 < len(messages) < 600
    assert all(str(tmp_path / "a.jsonl") in message for message in messages)


@pytest.mark.parametrize("piece", ["<a", "<1", "{\\", "&", "1 ", "-->", "<a>\n", "x\n"])
def test_long_files_take_time_in_proportion(tmp_path, piece):
    times = "00:01,0 --> 00:02,0\n", "00:02,0 --> 00:03,0\n"
    (tmp_path / "a.srt").write_text("\n\n".join(time + piece * 200_000 for time in times))
    with pytest.raises(ValueError, match=r"a\.srt|None of 1"):
        convert_subtitles([tmp_path / "a.srt"], {"b": 10.0}, tmp_path / "out.jsonl")
