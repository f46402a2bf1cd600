"""Highlights without a sentence, and summaries."""

from pathlib import Path

import pytest

from videolights_hf.inference.generic import GENERIC_QUERIES, choose_summary, combine_generic


def result(saliency, duration=None, clip_length=2.0):
    duration = len(saliency) * clip_length if duration is None else duration
    return {"query": "q", "moments": [], "saliency": saliency, "clip_length": clip_length, "duration": duration}


def test_saliency_is_the_mean_of_curves_on_their_own_scale():
    found = combine_generic([result([0.0, 10.0, 5.0, 0.0]), result([-1.0, -1.0, 0.0, -1.0]), result([3.0] * 4)])
    assert found["saliency"] == [0.0, 0.3333, 0.5, 0.0]
    assert (found["query"], found["duration"]) == ("highlights", 8.0)
    # Of four clips, the two highest.
    assert found["moments"] == [{"start": 2.0, "end": 6.0, "score": 0.4167}]


def test_stretches_come_best_first_and_end_with_the_video():
    found = combine_generic([result([0.8, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.9], duration=19.0)])
    assert found["moments"] == [{"start": 16.0, "end": 19.0, "score": 0.95}, {"start": 0.0, "end": 2.0, "score": 0.8}]
    assert len(combine_generic([result([0.8, 0.0, 0.0, 1.0])], top_k=1)["moments"]) == 1


def test_the_lowest_clips_are_none_however_few_stand_out():
    assert combine_generic([result([0.0] * 8 + [1.0])])["moments"] == [{"start": 16.0, "end": 18.0, "score": 1.0}]


def test_the_docs_name_every_generic_sentence():
    page = (Path(__file__).parents[2] / "docs" / "predicting.md").read_text()
    assert [line[2:] for line in page.splitlines() if line.startswith("- ")] == list(GENERIC_QUERIES)


def test_a_flat_video_has_no_highlights():
    assert combine_generic([result([1.0, 1.0]), result([2.0, 2.0])])["moments"] == []


def test_a_summary_takes_the_best_clips_with_their_neighbors_in_order():
    saliency = [0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0]
    # Means of three: 2 around clip 2, 3 around clip 6.
    assert choose_summary(result(saliency), 8.0) == [(2.0, 4.0), (10.0, 16.0)]
    assert choose_summary(result(saliency), 12.0) == [(2.0, 8.0), (10.0, 16.0)]


def test_a_summary_is_never_longer_than_asked_but_for_its_first_clip():
    assert choose_summary(result([0.0, 5.0, 0.0, 0.0], clip_length=4.0), 1.0) == [(0.0, 4.0)]
    for length in (3.0, 5.0, 9.0):
        pieces = choose_summary(result([0.3, 0.1, 0.9, 0.2, 0.8, 0.1, 0.4], duration=13.5), length)
        assert sum(end - start for start, end in pieces) <= length


def test_a_short_video_is_its_own_summary():
    assert choose_summary(result([0.0, 1.0], duration=3.5), 30.0) == [(0.0, 3.5)]
    with pytest.raises(ValueError, match="positive number of seconds"):
        choose_summary(result([0.0, 1.0]), 0)
