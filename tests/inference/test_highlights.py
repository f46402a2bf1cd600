import pytest

from videolights_hf.inference.highlights import find_highlights


def result(*saliency, duration=None):
    return {
        "query": "a dog",
        "moments": [],
        "saliency": list(saliency),
        "clip_length": 2.0,
        "duration": duration or 2.0 * len(saliency),
    }


def test_the_best_clip_of_every_rise_is_a_highlight_best_first():
    found = find_highlights(result(-8.0, -6.0, -5.5, -8.0, -8.0, -5.0, -5.2, -7.9))
    assert found == [{"start": 10.0, "end": 12.0, "saliency": -5.0}, {"start": 4.0, "end": 6.0, "saliency": -5.5}]


def test_rises_at_both_ends_count():
    assert [item["start"] for item in find_highlights(result(3.0, 0.0, 0.0, 2.0))] == [0.0, 6.0]


def test_at_most_so_many_as_asked_for():
    assert [item["start"] for item in find_highlights(result(3.0, 0.0, 2.0, 0.0, 4.0), top_k=2)] == [8.0, 0.0]


def test_a_curve_that_hardly_changes_has_none():
    assert find_highlights(result(-8.82, -8.81, -8.82, -8.81)) == []
    assert find_highlights(result(1.0)) == []


@pytest.mark.parametrize(("duration", "expected"), [(7.5, [(6.0, 7.5)]), (6.0, [(2.0, 4.0)])])
def test_highlights_end_with_the_video(duration, expected):
    found = find_highlights(result(0.0, 2.0, 0.0, 3.0, duration=duration), top_k=1)
    assert [(item["start"], item["end"]) for item in found] == expected
