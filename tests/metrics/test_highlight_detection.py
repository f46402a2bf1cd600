import numpy as np
import pytest

from tests.support import metric_reference as reference
from tests.support.metric_samples import random_saliency_queries
from videolights_hf.metrics import common
from videolights_hf.metrics.common import flatten_rows
from videolights_hf.metrics.highlight_detection import (
    SALIENCY_LEVELS,
    ClipRatings,
    average_precision,
    clip_ratings,
    highlight_detection_metrics,
    hit_at_one,
    rated_highlight_metrics,
)


def labels_of(*rows):
    return np.array(rows, dtype=bool)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_equals_the_definition_query_by_query(seed):
    predictions, ratings = random_saliency_queries(200, seed=seed)
    padded, mask = flatten_rows(ratings, name="ratings", columns=3).pad()
    actual = average_precision(predictions, padded >= 2, mask)
    expected = [
        [reference.highlight_ap(scores, [value >= 2 for value in column]) for column in zip(*rows)]
        for scores, rows in zip(predictions, ratings)
    ]
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    assert len(np.unique(np.round(expected, 6))) > 20


def test_without_ties_it_is_the_recall_weighted_average_precision():
    # Positives at ranks 1 and 3: (1 + 2/3) / 2.
    assert average_precision([[0.9, 0.5, 0.1, 0.0]], labels_of([1, 0, 1, 0])).tolist() == [pytest.approx(5 / 6)]


def test_tied_clips_are_one_point_and_points_are_not_weighted_by_recall():
    # Distinct scores 2, 1, 0 retrieve 1 of 1, 3 of 4 and 4 of 6 positives: the mean of 1, 3/4 and 2/3.
    scores = [[2.0, 1.0, 1.0, 1.0, 0.0, 0.0]]
    labels = labels_of([1, 1, 1, 0, 1, 0])
    assert average_precision(scores, labels)[0] == pytest.approx((1 + 3 / 4 + 2 / 3) / 3)
    weighted_by_recall = (1 + 2 * 3 / 4 + 2 / 3) / 4
    assert average_precision(scores, labels)[0] != pytest.approx(weighted_by_recall)


def test_scores_that_float16_makes_equal_are_ties():
    exact = np.array([0.50001, 0.5, 0.1])
    labels = labels_of([0, 1, 0])
    assert average_precision([exact], labels)[0] == pytest.approx(0.5)
    rounded = exact.astype(np.float16)
    assert rounded[0] == rounded[1]
    # Both orders of tied clips give the same.
    assert average_precision([rounded], labels)[0] == average_precision([rounded], labels[:, [1, 0, 2]])[0] == 0.5
    assert average_precision([exact], labels[:, [1, 0, 2]])[0] == 1.0


def test_precision_is_made_monotone_from_the_lowest_score_up():
    # A miss before two hits: precision 1/2 at the first hit, lifted to the 2/3 that comes below it.
    assert average_precision([[0.9, 0.8, 0.7, 0.0]], labels_of([0, 1, 1, 0]))[0] == pytest.approx(2 / 3)


def test_no_positive_clip_scores_zero_and_all_positive_one():
    labels = labels_of([0, 0, 0], [1, 1, 1])
    assert average_precision([[0.1, 0.2, 0.3]] * 2, labels).tolist() == [0.0, 1.0]


def test_a_video_too_short_for_a_clip_scores_zero():
    ratings, mask = clip_ratings([1.0, 2.0], [[], [0]], [[], [[4]]])
    assert average_precision([[0.5], [0.5]], ratings >= 2, mask).tolist() == [[0.0], [1.0]]


def test_an_empty_prediction_scores_zero_even_if_all_clips_are_positive():
    labels = labels_of([1, 1, 1], [1, 1, 0])
    assert average_precision([[], []], labels).tolist() == [0.0, 0.0]
    assert hit_at_one([[], []], labels).tolist() == [False, False]
    assert hit_at_one([[], [0.5]], labels).tolist() == [False, True]
    assert average_precision([], np.zeros((0, 4, 3), dtype=bool)).shape == (0, 3)


def test_predictions_are_cut_or_padded_with_zeros_to_the_video():
    labels = labels_of([1, 0, 0])
    assert average_precision([[0.5, 0.1, 0.2, 9.0]], labels)[0] == 1.0
    # The missing third score is 0, above the second and tied with none.
    assert average_precision([[-0.5, -1.0]], labels)[0] == pytest.approx(1 / 2)
    assert average_precision([[0.5]], labels)[0] == 1.0


def test_padding_of_a_batch_changes_no_query():
    short, long = [0.3, 0.1], [-3.0, -1.0, -2.0, -5.0]
    labels = np.zeros((2, 4), dtype=bool)
    labels[0, :2] = True
    labels[1, 2] = True
    mask = labels_of([1, 1, 0, 0], [1, 1, 1, 1])
    together = average_precision([short, long], labels, mask)
    assert together.tolist() == [1.0, average_precision([long], labels[1:])[0]]


def test_labels_outside_the_video_do_not_count():
    labels = labels_of([0, 1, 1])
    assert average_precision([[0.9, 0.1, 0.8]], labels, labels_of([1, 1, 0]))[0] == pytest.approx(0.5)


def test_hit_is_the_first_best_clip_for_any_annotator():
    labels = np.zeros((1, 3, 2), dtype=bool)
    labels[0, 1, 1] = True
    assert hit_at_one([[0.1, 0.9, 0.3]], labels).tolist() == [True]
    assert hit_at_one([[0.9, 0.1, 0.3]], labels).tolist() == [False]
    assert hit_at_one([[0.1, 0.9, 0.9]], labels).tolist() == [True]
    assert hit_at_one([[0.9, 0.9, 0.1]], labels).tolist() == [False]


def test_a_best_clip_past_the_end_of_the_video_is_a_miss():
    assert hit_at_one([[0.1, 0.2, 0.9]], labels_of([1, 1])).tolist() == [False]


def test_clips_outside_the_relevant_ones_are_rated_zero():
    ratings, mask = clip_ratings([8.0, 5.9], [[3, 1], []], [[[4, 2], [1, 0]], []])
    assert ratings[0].tolist() == [[0, 0], [1, 0], [0, 0], [4, 2]]
    assert ratings[1].tolist() == [[0, 0]] * 4
    # The last, shorter clip of 5.9 s counts.
    assert mask.tolist() == [[True] * 4, [True, True, True, False]]


@pytest.mark.parametrize(
    ("duration", "clip_length", "clips"),
    [(61.2, 2.0, 31), (1.5, 2.0, 1), (2.4, 0.8, 3), (0.7, 0.1, 7), (150, 2.0, 75), (150.0000001, 2.0, 75)],
)
def test_the_last_shorter_clip_counts_and_rounding_dust_does_not(duration, clip_length, clips):
    assert clip_ratings([duration], [[clips - 1]], [[[4]]], clip_length)[1].sum() == clips
    with pytest.raises(ValueError, match=f"relevant clip {clips} lies outside the video, which has {clips} clips"):
        clip_ratings([duration], [[clips]], [[[4]]], clip_length)


@pytest.mark.parametrize("duration", [1e9, float("inf"), 10**400])
def test_a_duration_of_more_clips_than_any_video_has_is_refused(duration):
    with pytest.raises(ValueError, match=r"query #0: a duration of .* more than 1,000,000 clips"):
        clip_ratings([duration], [[0]], [[[4]]])


@pytest.mark.parametrize("duration", [0, -1, float("nan"), "20", True, None])
def test_a_duration_that_is_no_positive_number_is_refused(duration):
    with pytest.raises(ValueError, match="query #0: duration must be a positive number of seconds"):
        clip_ratings([duration], [[0]], [[[4]]])


def test_groups_of_queries_score_as_all_together(monkeypatch):
    predictions, rows = random_saliency_queries(60)
    durations = [2.0 * len(ratings) for ratings in rows]
    ids = [list(range(len(ratings))) for ratings in rows]
    together = rated_highlight_metrics(predictions, ClipRatings.of(durations, ids, rows))
    assert together == highlight_detection_metrics(predictions, *clip_ratings(durations, ids, rows))
    monkeypatch.setattr(common, "_MAX_CELLS", 100)
    assert rated_highlight_metrics(predictions, ClipRatings.of(durations, ids, rows)) == together


def test_clip_length_sets_the_number_of_clips():
    assert clip_ratings([8.0], [[]], [[]], clip_length=1.0)[1].shape == (1, 8)


def test_metrics_by_level_computed_by_hand():
    ratings = np.array([[[2, 0], [3, 1], [4, 4]]], dtype=float)
    metrics = highlight_detection_metrics([[0.1, 0.9, 0.5]], ratings)
    # Best clip: rated 3 and 1. Fair, first annotator: all clips; second: only the last, at rank 2.
    assert metrics["HL-min-Fair"] == {"HL-mAP": 75.0, "HL-Hit1": 100.0}
    assert metrics["HL-min-Good"] == {"HL-mAP": 75.0, "HL-Hit1": 100.0}
    assert metrics["HL-min-VeryGood"] == {"HL-mAP": 50.0, "HL-Hit1": 0.0}
    assert metrics["brief"] == {
        f"HL-min-{level}-{name}": metrics[f"HL-min-{level}"][f"HL-{name}"]
        for level in SALIENCY_LEVELS
        for name in ("mAP", "Hit1")
    }


def test_metrics_are_means_over_annotators_and_queries():
    predictions, rows = random_saliency_queries(120, seed=4)
    ratings, mask = flatten_rows(rows, name="ratings", columns=3).pad()
    metrics = highlight_detection_metrics(predictions, ratings, mask)
    for level, lowest in SALIENCY_LEVELS.items():
        expected = np.mean(
            [
                reference.highlight_ap(scores, [value >= lowest for value in column])
                for scores, query in zip(predictions, rows)
                for column in zip(*query)
            ]
        )
        assert metrics[f"HL-min-{level}"]["HL-mAP"] == pytest.approx(100 * expected, abs=0.0051)


def test_no_queries_score_zero():
    metrics = highlight_detection_metrics([], np.zeros((0, 0, 1)))
    assert set(metrics["brief"].values()) == {0.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([8.0], [[4]], [[[1]]]), "query 'q7': relevant clip 4 lies outside the video, which has 4 clips of 2 s"),
        (([8.0], [[-1]], [[[1]]]), "query 'q7': relevant clip -1 lies outside"),
        (([8.0], [[1, 2]], [[[1]]]), "query 'q7' has 2 relevant_clip_ids but 1 saliency_scores"),
        (([8.0], [[1, 2]], [[[1, 2], [1]]]), "saliency_scores of query 'q7': each entry must be 2 numbers"),
        (([8.0, 8.0], [[1]], [[[1]]]), "durations and relevant_clip_ids must have one entry per query"),
    ],
)
def test_malformed_ratings_are_refused_with_the_qid(arguments, message):
    with pytest.raises(ValueError, match=message):
        clip_ratings(*arguments, qids=["q7"])


def test_a_saliency_that_is_no_number_is_refused_with_the_qid():
    ratings = np.zeros((2, 2, 1))
    with pytest.raises(ValueError, match="saliency scores of query 8 hold a value that is not a finite number"):
        highlight_detection_metrics([[0.1, 0.2], [0.1, float("nan")]], ratings, qids=[7, 8])
    with pytest.raises(ValueError, match="saliency scores of query 7: each entry must be one number"):
        hit_at_one([[[0.1]]], np.zeros((1, 2)), qids=[7])
