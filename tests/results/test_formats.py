"""Every format of results, read back."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import shutil

import av
import numpy as np
import pytest

from tests.support.videos import gray_frames, write_video
from videolights_hf.results.answers import Span, VideoAnswers, merge_spans
from videolights_hf.results.formats import FORMATS
from videolights_hf.results.page import write_page
from videolights_hf.results.timelines import frame_rate

HOSTILE = 'a <b>dog</b> & "cat"</script><script>alert(1)</script>\n--> 日本'


def result(query, moments, saliency=(0.0, 0.1, 0.9, 1.0, 0.2, 0.1, 0.0, 0.0)):
    found = [{"start": start, "end": end, "score": score} for start, end, score in moments]
    return {"query": query, "moments": found, "saliency": list(saliency), "clip_length": 2.0, "duration": 16.0}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "a trip.mp4"
    return str(write_video(path, gray_frames(np.arange(160) * 7 % 240), 10))


@pytest.fixture
def answers(video):
    predictions = [
        result("a dog runs", [(4.0, 8.0, 0.9), (12.0, 14.0, 0.5)]),
        result(HOSTILE, [(7.0, 10.0, 0.75)]),
        result("nothing of it", [(0.0, 2.0, 0.1)]),
    ]
    return VideoAnswers(video, "demo", predictions)


def written(name, answers, folder):
    path = folder / f"out{FORMATS[name].ending}"
    assert FORMATS[name].write(answers, path) is not False
    return path


def test_spans_that_overlap_or_touch_are_one():
    assert merge_spans([(5, 7), (0, 2), (2, 3), (6, 6.5)]) == [Span(0, 3), Span(5, 7)]


def test_json_holds_what_the_pipeline_returned(answers, tmp_path):
    content = json.loads(written("json", answers, tmp_path).read_text(encoding="utf-8"))
    assert content == {"video": answers.video, "model": "demo", "predictions": answers.predictions}


def test_csv_has_a_row_for_each_moment(answers, tmp_path):
    with open(written("csv", answers, tmp_path), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["query"], row["rank"], row["start"], row["end"], row["score"]) for row in rows] == [
        ("a dog runs", "1", "4.0", "8.0", "0.9"),
        ("a dog runs", "2", "12.0", "14.0", "0.5"),
        (HOSTILE, "1", "7.0", "10.0", "0.75"),
        ("nothing of it", "1", "0.0", "2.0", "0.1"),
    ]
    assert {row["video"] for row in rows} == {answers.video}


def test_vtt_has_a_cue_for_each_sure_moment_in_the_order_of_the_video(answers, tmp_path):
    blocks = written("vtt", answers, tmp_path).read_text(encoding="utf-8").strip().split("\n\n")
    assert blocks[0] == "WEBVTT"
    assert [block.splitlines()[1] for block in blocks[1:]] == [
        "00:00:04.000 --> 00:00:08.000",
        "00:00:07.000 --> 00:00:10.000",
        "00:00:12.000 --> 00:00:14.000",
    ]
    text = blocks[2].splitlines()[2]
    assert len(blocks[2].splitlines()) == 3
    assert text.startswith("a &lt;b&gt;dog")
    assert "-->" not in text


def test_edl_has_time_codes_of_the_videos_frames(answers, tmp_path):
    text = written("edl", answers, tmp_path).read_text(encoding="utf-8")
    events = re.findall(r"^(\d{3})  AX       (V|B)     C        (\S+) (\S+) (\S+) (\S+)$", text, re.MULTILINE)
    # Ten frames per second; 7 s are 7 seconds and no frame.
    assert events == [
        ("001", "V", "00:00:04:00", "00:00:08:00", "00:00:00:00", "00:00:04:00"),
        ("002", "V", "00:00:12:00", "00:00:14:00", "00:00:04:00", "00:00:06:00"),
        ("003", "V", "00:00:07:00", "00:00:10:00", "00:00:06:00", "00:00:09:00"),
    ]
    assert text.startswith("TITLE: a trip.mp4\nFCM: NON-DROP FRAME\n")
    assert text.count("* FROM CLIP NAME: a trip.mp4\n") == 3
    assert len(text.splitlines()) == 3 + 3 * 4 - 1


def test_otio_is_read_back_by_opentimelineio(answers, tmp_path):
    otio = pytest.importorskip("opentimelineio")
    timeline = otio.adapters.read_from_file(str(written("otio", answers, tmp_path)))
    assert [track.name for track in timeline.tracks] == [result["query"] for result in answers.predictions]
    clips = [list(track) for track in timeline.tracks]
    assert [len(track) for track in clips] == [2, 1, 0]
    times = [(clip.source_range.start_time.to_seconds(), clip.source_range.duration.to_seconds()) for clip in clips[0]]
    assert times == [(4.0, 4.0), (12.0, 2.0)]
    reference = clips[0][0].media_reference
    assert reference.target_url.startswith("file:///")
    assert reference.target_url.endswith("/a%20trip.mp4")
    assert reference.available_range.duration.to_seconds() == 16.0
    assert clips[1][0].metadata["videolights"]["score"] == 0.75


def test_rates_next_to_a_common_one_are_that_one(video, tmp_path):
    assert frame_rate(video) == pytest.approx(10)
    path = write_video(tmp_path / "film.mp4", gray_frames(range(30)), 29.95)
    assert frame_rate(str(path)) == pytest.approx(30000 / 1001)


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_page_names_the_video_from_its_own_folder_and_takes_any_text(answers, video, tmp_path):
    page = written("html", answers, tmp_path).read_text(encoding="utf-8")
    source = re.search(r'<video [^>]*src="([^"]*)"', page)[1]
    assert source.endswith("/a%20trip.mp4")
    assert source.startswith("../")
    found = data_of(page)["predictions"]
    assert [one["query"] for one in found] == [one["query"] for one in answers.predictions]
    assert [len(one["moments"]) for one in found] == [2, 1, 0]
    assert [one["low"] for one in found] == [False, False, True]
    assert found[0]["highlights"][0]["start"] == 6.0
    # Every field is filled, the title twice.
    assert "{{" not in page
    assert page.count("a trip") == 2
    # Ours, and nothing that a sentence brought.
    assert page.count("<script") == 2
    # Needs nothing from elsewhere.
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)


def test_page_may_hold_the_video(answers, video, tmp_path, monkeypatch):
    page = written("embedded html", answers, tmp_path).read_text(encoding="utf-8")
    content = re.search(r'src="data:video/mp4;base64,([^"]*)"', page)[1]
    with open(video, "rb") as file:
        assert base64.b64decode(content) == file.read()
    monkeypatch.setattr("videolights_hf.results.page.LARGEST_EMBEDDED_MEGABYTES", 0)
    with pytest.raises(ValueError, match="more than the 0 MB that a page can hold"):
        write_page(answers, tmp_path / "large.html", embed=True)


def test_gif_shows_the_moment_of_the_highest_score(answers, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    with Image.open(written("gif", answers, tmp_path)) as picture:
        assert picture.n_frames == pytest.approx(4 * 8, abs=2)
        assert picture.info["duration"] == pytest.approx(125, abs=5)
        shown = np.asarray(picture.convert("L"), dtype=float).mean()
    # The frame on show at 4 s.
    assert shown == pytest.approx(40 * 7 % 240, abs=8)


def test_reel_shows_all_moments_once_in_the_order_of_the_video(answers, tmp_path):
    with av.open(str(written("reel", answers, tmp_path))) as container:
        frames = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
        duration = container.duration / 1e6
    # 4 to 10 s and 12 to 14 s, ten frames per second.
    expected = [index * 7 % 240 for index in (*range(40, 100), *range(120, 140))]
    assert duration == pytest.approx(8, abs=0.15)
    assert len(frames) == len(expected)
    np.testing.assert_allclose(frames, expected, atol=8)


def test_a_file_name_of_any_bytes_is_no_obstacle(answers, video, tmp_path):
    path = tmp_path / os.fsdecode(b"film-\xe9.mp4")
    shutil.copy(video, path)
    strange = VideoAnswers(str(path), "demo", answers.predictions)
    for name in ("json", "csv", "vtt", "edl", "otio", "html", "reel"):
        assert written(name, strange, tmp_path).stat().st_size > 0
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert 'src="film-%E9.mp4"' in page


def test_what_shows_a_moment_is_not_written_without_one(video, tmp_path):
    empty = VideoAnswers(video, "demo", [result("nothing", [(0.0, 2.0, 0.1)])])
    for name in ("gif", "reel"):
        assert FORMATS[name].write(empty, tmp_path / name) is False
    assert list(tmp_path.iterdir()) == []
    assert written("vtt", empty, tmp_path).read_text() == "WEBVTT\n"
