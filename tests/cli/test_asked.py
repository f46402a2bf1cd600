"""Which words of a command line are videos, and which are sentences."""

import os

import pytest

from videolights_hf.cli.asked import read_sentences, split_words


@pytest.fixture
def videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mkv", "my trip.mp4", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found", "sentences"),
    [
        (["a.mp4", "a dog"], {"a": "a.mp4"}, ["a dog"]),
        (["a.mp4"], {"a": "a.mp4"}, []),
        (["-", "a dog"], {"standard-input": "-"}, ["a dog"]),
        (["nowhere.mp4", "a dog"], {"nowhere": "nowhere.mp4"}, ["a dog"]),
        (
            ["a.mp4", "b.mkv", "my trip.mp4", "a dog"],
            {"a": "a.mp4", "b": "b.mkv", "my trip": "my trip.mp4"},
            ["a dog"],
        ),
        (["*.m*", "a dog"], {"a": "a.mp4", "b": "b.mkv", "my trip": "my trip.mp4"}, ["a dog"]),
        ([".", "a dog", "a cat"], {"a": "a.mp4", "b": "b.mkv", "my trip": "my trip.mp4"}, ["a dog", "a cat"]),
        (["a.mp4", "someone opens song.mp4 and sings"], {"a": "a.mp4"}, ["someone opens song.mp4 and sings"]),
    ],
)
def test_videos_come_first(videos, words, found, sentences):
    assert split_words(words) == (found, sentences)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["a.mp4", "a dog", "b.mkv"], ValueError, "b.mkv looks like a video"),
        (["a.mp4", "c.mp4", "a dog"], FileNotFoundError, "No such video file: 'c.mp4'"),
        (["empty", "a dog"], ValueError, "No videos found in empty"),
        (["*.avi", "a dog"], FileNotFoundError, "No file matches"),
        (["https://example.org/a.mp4"], ValueError, "is an address"),
        (["a.mp4", "\udce9t\udce9"], ValueError, "not valid UTF-8"),
    ],
)
def test_what_makes_no_sense_is_refused(videos, words, error, message):
    with pytest.raises(error, match=message):
        split_words(words)


def test_sentences_are_the_lines_of_a_file(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_text("\ufeffa dog runs\n\n  people eat  \n", encoding="utf-8")
    assert read_sentences(path) == ["a dog runs", "people eat"]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        read_sentences(path)
    path.write_text("\n \n")
    with pytest.raises(ValueError, match="has no sentence"):
        read_sentences(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is a named pipe"):
        read_sentences(path)
