import json
import os
from pathlib import Path

import numpy as np
import pytest

from videolights_hf.common.time_axis import TimeAxis
from videolights_hf.data.labels import draw_generator, make_labels, span_targets
from videolights_hf.data.specs import DATASETS


def rng(epoch=0):
    return draw_generator(1, epoch, "q")


def labels_of(row, num_clips, clip_length, rule, rng):
    """Labels where the features cover the video, unless the row says how long that is."""
    axis = TimeAxis(row.get("duration", num_clips * clip_length), num_clips, clip_length)
    return make_labels(row, axis, rule, rng)


def graded(ids, scores, **extra):
    return {"qid": "q", "relevant_clip_ids": ids, "saliency_scores": scores, **extra}


def test_spans_are_fractions_of_the_features_and_are_not_clipped():
    spans = span_targets([[10, 20], [82, 150]], TimeAxis(150, 74, 2.0), rng())
    np.testing.assert_allclose(spans, [[15 / 148, 10 / 148], [116 / 148, 68 / 148]], rtol=1e-6)
    assert spans[1, 0] + spans[1, 1] / 2 > 1
    assert spans.dtype == np.float32


def test_more_than_five_windows_leave_five_different_ones_that_change_with_the_epoch():
    windows = [[2 * i, 2 * i + 1] for i in range(12)]
    everything = {tuple(span) for span in span_targets(windows, TimeAxis(24, 12, 2.0), rng(), max_windows=12).tolist()}
    draws = [
        frozenset(map(tuple, span_targets(windows, TimeAxis(24, 12, 2.0), rng(epoch)).tolist())) for epoch in range(8)
    ]
    assert all(len(draw) == 5 and draw < everything for draw in draws)
    assert len(set(draws)) > 1
    assert draws[3] == frozenset(map(tuple, span_targets(windows, TimeAxis(24, 12, 2.0), rng(3)).tolist()))


@pytest.mark.parametrize("windows", [None, []])
def test_no_windows_give_no_spans(windows):
    assert span_targets(windows, TimeAxis(20, 10, 2.0), rng()).shape == (0, 2)


def test_graded_saliency_is_the_sum_of_the_annotators_on_relevant_clips():
    labels = labels_of(graded([1, 3], [[4, 4, 3], [0, 1, 0]], relevant_windows=[[2, 8]]), 5, 2.0, "graded", rng())
    assert labels["saliency"].tolist() == [0, 11, 0, 1, 0]
    assert labels["positive_clips"][0] == 1
    assert labels["negative_clips"][0] == 3


def test_second_graded_pair_is_a_relevant_and_an_irrelevant_clip():
    row = graded([1, 3], [[4, 4, 3], [0, 1, 0]])
    pairs = [labels_of(row, 5, 2.0, "graded", rng(epoch)) for epoch in range(40)]
    assert {int(pair["positive_clips"][1]) for pair in pairs} == {1, 3}
    assert {int(pair["negative_clips"][1]) for pair in pairs} == {0, 2, 4}


def test_graded_pair_repeats_where_every_clip_is_relevant():
    labels = labels_of(graded([0, 1, 2], [[1], [4], [2]]), 3, 2.0, "graded", rng())
    assert labels["positive_clips"].tolist() == [1, 1]
    assert labels["negative_clips"].tolist() == [0, 0]


def test_graded_saliency_is_scaled_to_three_annotators():
    labels = labels_of(graded([0], [[4, 2]]), 2, 2.0, "graded", rng())
    assert labels["saliency"].tolist() == [9, 0]


def test_relevant_clips_beyond_the_features_are_dropped():
    labels = labels_of(graded([1, 4], [[1, 1, 1], [4, 4, 4]]), 4, 2.0, "graded", rng())
    assert labels["saliency"].tolist() == [0, 3, 0, 0]
    assert labels["positive_clips"].max() < 4
    nothing_left = labels_of(graded([7], [[4, 4, 4]]), 4, 2.0, "graded", rng())
    assert nothing_left["saliency"].tolist() == [0, 0, 0, 0]
    assert nothing_left["positive_clips"].tolist() == nothing_left["negative_clips"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("window", "clips"),
    [
        ([24.3, 30.4], (24, 29)),
        ([0.0, 0.5], (0, 0)),  # shorter than a clip: the first one
        ([30.5, 30.9], (29, 29)),  # start after end: start = end
        ([0.0, 99.0], (0, 30)),
    ],
)
def test_window_clips_are_counted_with_the_features_own_clip_length(window, clips):
    assert TimeAxis(30.96, 31, 1.0).clips_of(window) == clips


def window_row(*windows, duration=10.0):
    return {"qid": "q", "duration": duration, "relevant_windows": [list(window) for window in windows]}


def test_window_saliency_is_one_inside_and_pairs_are_drawn_from_both_sides():
    labels = labels_of(window_row((2, 5)), 10, 1.0, "window", rng())
    assert labels["saliency"].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    positives, negatives = labels["positive_clips"], labels["negative_clips"]
    assert len(set(positives.tolist())) == len(set(negatives.tolist())) == 2
    assert (labels["saliency"][positives] == 1).all()
    assert (labels["saliency"][negatives] == 0).all()


def test_single_positive_is_taken_twice():
    assert labels_of(window_row((3, 4)), 10, 1.0, "window", rng())["positive_clips"].tolist() == [3, 3]


def test_positives_stand_in_where_there_is_no_negative():
    labels = labels_of(window_row((0, 10)), 10, 1.0, "window", rng())
    assert labels["negative_clips"].tolist() == labels["positive_clips"].tolist()


def test_clips_of_every_window_are_positive():
    assert labels_of(window_row((0, 1), (8, 10)), 10, 1.0, "window", rng())["saliency"].tolist() == [
        1, 0, 0, 0, 0, 0, 0, 0, 1, 1,
    ]  # fmt: skip


SCORED = graded([1, 2, 7], [[2.5], [-0.25], [1.0]], relevant_windows=[[1, 4]], duration=6.0)


@pytest.mark.parametrize(
    ("rule", "expected"), [("scores", [0, 2.5, 0, 0, 0, 0]), ("similarities", [0, 30, 0, 0, 0, 0])]
)
def test_scores_of_a_corpus_are_taken_as_they_are_or_twelvefold_if_cosines(rule, expected):
    labels = labels_of(SCORED, 6, 1.0, rule, rng())
    assert labels["saliency"].tolist() == expected
    # The moment decides what is relevant and what the pairs are: clip 3 lies in it, but has no score.
    assert labels["relevant_clips"].tolist() == [0, 1, 1, 1, 0, 0]
    windowed = labels_of(SCORED, 6, 1.0, "window", rng())
    for name in ("spans", "positive_clips", "negative_clips", "relevant_clips"):
        assert labels[name].tolist() == windowed[name].tolist()


def test_scores_of_several_scorers_are_averaged_and_an_interval_without_clips_has_none():
    row = graded([0, 1], [[2, 4], [1, 2]], relevant_windows=[[0, 2]])
    assert labels_of(row, 3, 1.0, "scores", rng())["saliency"].tolist() == [3, 1.5, 0]
    assert labels_of(window_row((0, 2)), 3, 1.0, "scores", rng())["saliency"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("num_clips", "expected"), [(2, [0, 6]), (3, [0, 6, 12]), (5, [0, 6, 12, 0, 0])])
def test_annotators_are_scaled_to_twelve_and_cut_or_padded(num_clips, expected):
    label = [[1] * 20, [3] * 20, [5] * 20]
    labels = labels_of({"qid": "q", "label": label}, num_clips, 2.0, "annotators", rng())
    np.testing.assert_allclose(labels["saliency"], expected, rtol=1e-6)
    assert labels["positive_clips"].tolist() == [int(np.argmax(expected))]
    assert labels["saliency"][labels["negative_clips"]].tolist() == [0]
    assert labels["spans"].shape == (0, 2)
    assert labels["relevant_clips"].sum() == np.ceil(len(labels["saliency"]) / 2)


def test_binary_label_is_cut_or_padded():
    row = {"qid": "q", "label": [[0], [1], [1]]}
    assert labels_of(row, 2, 1.0, "binary", rng())["saliency"].tolist() == [0, 1]
    assert labels_of(row, 2, 1.0, "binary", rng())["relevant_clips"].tolist() == [0, 1]
    assert labels_of(row, 4, 1.0, "binary", rng())["saliency"].tolist() == [0, 1, 1, 0]


def test_draws_depend_on_seed_epoch_query_and_purpose_alone():
    def draw(*args):
        return tuple(draw_generator(*args).integers(0, 2**60, 3))

    assert draw(1, 2, 3) == draw(1, 2, "3")
    assert len({draw(1, 2, 3), draw(0, 2, 3), draw(1, 0, 3), draw(1, 2, 4), draw(1, 2, 3, "text")}) == 5


def test_unknown_rule_and_empty_video_are_refused():
    with pytest.raises(ValueError, match="Unknown label rule 'graded2'"):
        labels_of(window_row((0, 1)), 3, 1.0, "graded2", rng())
    with pytest.raises(ValueError, match="at least one clip"):
        labels_of(window_row((0, 1)), 0, 1.0, "window", rng())


@pytest.mark.skipif("VIDEOLIGHTS_GOLDEN_ROOT" not in os.environ, reason="VIDEOLIGHTS_GOLDEN_ROOT is not set")
@pytest.mark.parametrize("dataset", ["qvhighlights", "charades_sta", "tacos", "tvsum", "youtube_highlights"])
def test_labels_equal_the_released_ones(dataset):
    path = Path(os.environ["VIDEOLIGHTS_GOLDEN_ROOT"], "golden", "data", "labels.json")
    cases = json.loads(path.read_text())[dataset]
    rule = DATASETS[dataset].label_rule
    assert cases
    for case in cases:
        row, n = case["annotation"], case["num_clips"]
        labels = make_labels(
            row, TimeAxis.of_query(row, n, case["clip_length"]), rule, draw_generator(0, 0, row["qid"])
        )
        saliency = labels["saliency"]
        # The release's label is a clip too long where a relevant clip lies beyond the features.
        np.testing.assert_allclose(saliency, case["saliency_all_labels"][:n], rtol=1e-6)
        assert ((saliency > 0) == np.asarray(case["saliency_pos_index"][:n], dtype=bool)).all()
        if case["span_labels"] is None:
            assert len(labels["spans"]) == 5
        elif row["relevant_windows"] is None:
            assert case["span_labels"] == [[0, 0]]
            assert len(labels["spans"]) == 0
        else:
            np.testing.assert_allclose(labels["spans"], case["span_labels"], atol=1e-6)
        assert len(labels["positive_clips"]) == len(case["example_pos"])
        assert len(labels["negative_clips"]) == len(case["example_neg"])
        if max(row.get("relevant_clip_ids") or [0]) < n:
            for ours, theirs in (("positive_clips", "example_pos"), ("negative_clips", "example_neg")):
                # The windowed rules draw clips; they and the graded rule's second pair agree in kind, not in value.
                drawn = np.sign(saliency[labels[ours]]), np.sign(saliency[np.asarray(case[theirs])])
                if rule != "graded":
                    np.testing.assert_array_equal(*drawn)
                if rule != "window":
                    assert saliency[labels[ours][0]] == saliency[case[theirs][0]]


@pytest.mark.skipif("VIDEOLIGHTS_GOLDEN_ROOT" not in os.environ, reason="VIDEOLIGHTS_GOLDEN_ROOT is not set")
@pytest.mark.parametrize("name", ["qvhighlights/highlight_val_release.jsonl", "tvsum/tvsum_val_release.jsonl"])
def test_relevant_clips_equal_those_of_tr_detr(name):
    root = Path(os.environ["VIDEOLIGHTS_GOLDEN_ROOT"])
    cases = json.loads((root / "golden" / "detectors" / "tr_detr" / "positive_clips.json").read_text())[name]
    lines = (root / "data" / "annotations" / name).read_text().splitlines()
    rows = {row["qid"]: row for row in map(json.loads, lines)}
    for case in cases:
        rule = "graded" if name.startswith("qvhighlights") else "annotators"
        labels = labels_of(rows[case["qid"]], case["num_clips"], 2.0, rule, rng())
        found, expected = np.flatnonzero(labels["relevant_clips"]), np.asarray(case["positive_clips"])
        if rule == "graded":
            np.testing.assert_array_equal(found, expected)
        else:
            # Clips with equal sums share the last places in any order.
            saliency = labels["saliency"]
            np.testing.assert_array_equal(np.sort(saliency[found]), np.sort(saliency[expected]))
