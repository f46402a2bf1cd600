import numpy as np
import pytest

from tests.support import metric_reference as reference
from tests.support.metric_samples import random_saliency_queries
from videolights_hf.metrics import common
from videolights_hf.metrics.common import flatten_rows
from videolights_hf.metrics.domain_highlights import domain_highlight_metrics, ranked_average_precision


@pytest.mark.parametrize("top_k", [5, None])
def test_ranked_average_precision_equals_the_definition_video_by_video(top_k):
    predictions, ratings = random_saliency_queries(200, num_annotators=4, seed=1)
    padded, mask = flatten_rows(ratings, name="ratings", columns=4).pad()
    actual = ranked_average_precision(predictions, padded > 1, mask, top_k)
    expected = [
        [reference.ranked_ap(scores, [value > 1 for value in column], top_k) for column in zip(*rows)]
        for scores, rows in zip(predictions, ratings)
    ]
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    assert len(np.unique(np.round(expected, 6))) > 20


def test_area_of_a_case_computed_by_hand():
    # A miss, a hit, a hit: precisions 0, 1/2, 2/3 and recalls 0, 1/2, 1.
    labels = np.array([[[False], [True], [True]]])
    expected = (0 + 1 / 2) / 2 / 2 + (1 / 2 + 2 / 3) / 2 / 2
    assert ranked_average_precision([[0.9, 0.8, 0.7]], labels)[0, 0] == pytest.approx(expected)


def test_only_the_best_clips_count_and_recall_is_relative_to_them():
    labels = np.array([[[True], [False], [True]]])
    assert ranked_average_precision([[0.9, 0.8, 0.7]], labels, top_k=2).tolist() == [[1.0]]
    assert ranked_average_precision([[0.1, 0.9, 0.0]], labels, top_k=1).tolist() == [[0.0]]


def test_equal_scores_rank_in_the_order_of_the_clips():
    labels = np.array([[[True], [False]]])
    assert ranked_average_precision([[0.5, 0.5]], labels, top_k=1).tolist() == [[1.0]]
    assert ranked_average_precision([[0.5, 0.5]], labels[:, ::-1], top_k=1).tolist() == [[0.0]]


def test_clips_without_a_score_rank_last_and_scores_without_a_clip_are_cut():
    labels = np.array([[[False], [True], [True]]])
    assert ranked_average_precision([[-5.0, -6.0]], labels, top_k=2)[0, 0] == pytest.approx(0.25)
    assert ranked_average_precision([[0.1, 0.5, 0.6, 9.0]], labels, top_k=2).tolist() == [[1.0]]


def test_labels_outside_the_video_do_not_count():
    labels = np.array([[[True], [False], [True]]])
    mask = np.array([[True, True, False]])
    assert ranked_average_precision([[0.2, 0.1, 0.9]], labels, mask).tolist() == [[1.0]]


def test_a_video_without_a_prediction_scores_zero():
    assert ranked_average_precision([[], [1.0]], np.ones((2, 1, 1), dtype=bool)).tolist() == [[0.0], [1.0]]


def test_tvsum_counts_clips_above_each_annotators_own_median_among_the_top_five():
    predictions, ratings = random_saliency_queries(12, num_annotators=20, seed=2)
    domains = ["VU", "BK", "GA"] * 4
    metrics = domain_highlight_metrics(predictions, ratings, domains, "tvsum")
    assert list(metrics["tvsum"]) == ["VU", "BK", "GA"]
    for domain, value in metrics["tvsum"].items():
        expected = np.mean(
            [
                reference.ranked_ap(scores, labels, 5)
                for scores, rows, name in zip(predictions, ratings, domains)
                for labels in reference.above_median(rows)
                if name == domain
            ]
        )
        assert value == round(expected, 5) > 0
    assert metrics["brief"]["HL-mAP"] == pytest.approx(np.mean(list(metrics["tvsum"].values())), abs=1e-5)


def test_youtube_counts_positive_labels_over_all_clips():
    metrics = domain_highlight_metrics(
        [[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]],
        [[[1], [0]], [[1], [0]], [[0], [-1]]],
        ["dog", "dog", "surfing"],
        "youtube_highlights",
    )
    # The hit at rank 2 after a miss is worth (0 + 1/2) / 2; a video without a positive clip 0. The mean is of domains.
    assert metrics == {"brief": {"HL-mAP": 0.3125}, "youtube_highlights": {"dog": 0.625, "surfing": 0.0}}


def test_nothing_to_score_is_zero():
    assert domain_highlight_metrics([], [], [], "tvsum") == {"brief": {"HL-mAP": 0.0}, "tvsum": {}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([[0.1]], [[[1]]], ["dog"], "tacos"),
            "'tacos' is not scored by domain; choose from tvsum, youtube_highlights",
        ),
        (([[0.1]], [[]], ["dog"], "tvsum"), "query 'q7' has no ratings"),
        (([[0.1]], [[[1, 2], [1]]], ["dog"], "tvsum"), "ratings of query 'q7': each entry must be 2 numbers"),
        (([[float("nan")]], [[[1]]], ["dog"], "tvsum"), "saliency scores of query 'q7' hold a value that is not a"),
        (([[0.1]], [[[1]]], [], "tvsum"), "ratings and domains must have one entry per query"),
    ],
)
def test_malformed_input_is_refused_with_the_qid(arguments, message):
    with pytest.raises(ValueError, match=message):
        domain_highlight_metrics(*arguments, qids=["q7"])


def test_top_k_must_be_positive():
    with pytest.raises(ValueError, match="top_k must be at least 1, but is 0"):
        ranked_average_precision([[0.1]], np.ones((1, 1, 1), dtype=bool), top_k=0)


@pytest.mark.parametrize("ratings", [[[1]], [3], [[[]]], ["ab"], [{"a": 1}]])
def test_ratings_of_another_kind_are_refused(ratings):
    with pytest.raises(ValueError, match="ratings"):
        domain_highlight_metrics([[0.1]], ratings, ["dog"], "youtube_highlights")


def test_groups_of_videos_score_as_all_together(monkeypatch):
    predictions, ratings = random_saliency_queries(30, num_annotators=20)
    together = domain_highlight_metrics(predictions, ratings, ["VU", "BK", "GA"] * 10, "tvsum")
    monkeypatch.setattr(common, "_MAX_CELLS", 500)
    assert domain_highlight_metrics(predictions, ratings, ["VU", "BK", "GA"] * 10, "tvsum") == together
