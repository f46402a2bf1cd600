import warnings

import pytest

from videolights_hf.metrics import check_ground_truth, describe_unmatched, evaluate_predictions, infer_dataset


def moment_row(qid, **fields):
    return {"qid": qid, "relevant_windows": [[0, 10]], **fields}


def qvhighlights_row(qid, **fields):
    return moment_row(qid, duration=8, relevant_clip_ids=[0], saliency_scores=[[4, 4, 4]], **fields)


def domain_row(qid, domain, label=((1,), (0,))):
    return {"qid": qid, "domain": domain, "label": label, "relevant_windows": None}


def prediction(qid, windows=((0, 10, 0.5),), saliency=(1.0, 0.0, 0.0, 0.0)):
    row = {"qid": qid, "pred_relevant_windows": windows, "pred_saliency_scores": saliency}
    return {name: value for name, value in row.items() if value is not None}


@pytest.mark.parametrize(
    ("rows", "dataset"),
    [
        ([domain_row(1, "VU", [[1, 2], [3, 4]])], "tvsum"),
        ([domain_row(1, "dog")], "youtube_highlights"),
        ([qvhighlights_row(1)], "qvhighlights"),
        ([moment_row(1)], "moment_retrieval"),
        ([{"qid": 1, "saliency_scores": [], "relevant_windows": None}], "highlight_detection"),
    ],
)
def test_dataset_is_told_from_the_fields(rows, dataset):
    assert infer_dataset(rows) == dataset


def test_ground_truth_without_labels_is_refused():
    with pytest.raises(ValueError, match="no row has relevant_windows, saliency_scores or label"):
        evaluate_predictions([prediction(1)], [{"qid": 1, "query": "a", "duration": 150}])


def test_qvhighlights_is_scored_on_windows_and_saliency_in_any_order():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = evaluate_predictions([prediction(2), prediction(1)], [qvhighlights_row(1), qvhighlights_row(2)])
    assert set(results) == {
        *("brief", "full", "short", "middle", "long"),
        *("HL-min-Fair", "HL-min-Good", "HL-min-VeryGood"),
    }
    assert len(results["brief"]) == 16
    assert results["brief"]["MR-full-mAP"] == results["brief"]["HL-min-Good-Hit1"] == 100.0


@pytest.mark.parametrize(
    ("row", "keys"),
    [
        (prediction(1, saliency=None), {"brief", "full", "short", "middle", "long"}),
        (prediction(1, windows=None), {"brief", "HL-min-Fair", "HL-min-Good", "HL-min-VeryGood"}),
    ],
)
def test_predictions_of_one_kind_are_scored_on_it_alone(row, keys):
    assert set(evaluate_predictions([row], [qvhighlights_row(1)])) == keys


def test_dataset_overrides_what_the_fields_tell():
    results = evaluate_predictions([prediction(1)], [qvhighlights_row(1)], dataset="moment_retrieval")
    assert set(results) == {"brief", "full", "short", "middle", "long"}
    results = evaluate_predictions([prediction(1)], [qvhighlights_row(1)], dataset="highlight_detection")
    assert set(results) == {"brief", "HL-min-Fair", "HL-min-Good", "HL-min-VeryGood"}
    results = evaluate_predictions([prediction(1)], [domain_row(1, "dog")], dataset="tvsum")
    assert results == {"brief": {"HL-mAP": 1.0}, "tvsum": {"dog": 1.0}}


def test_ids_without_a_counterpart_score_zero_and_are_reported():
    truth = [moment_row(1), moment_row(2), moment_row(3), moment_row(4)]
    rows = [prediction(1), prediction(2, windows=None), prediction(3, windows=[]), prediction(9)]
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        results = evaluate_predictions(rows, truth)
    assert [str(warning.message) for warning in given] == describe_unmatched(results["unmatched"])
    assert results["unmatched"] == {
        "queries_without_prediction": [4],
        "predictions_without_ground_truth": [9],
        "queries_without_windows": [2],
    }
    assert results["brief"]["MR-full-R1@0.5"] == 25.0
    assert results["brief"]["MR-full-mAP"] == 25.0
    assert results["brief"]["MR-full-mIoU"] == 25.0


def test_saliency_that_is_absent_or_empty_scores_zero_and_is_reported():
    truth = [qvhighlights_row(1), qvhighlights_row(2), qvhighlights_row(3)]
    rows = [prediction(1), prediction(2, saliency=None), prediction(3, saliency=[])]
    with pytest.warns(UserWarning, match="2 predictions have no pred_saliency_scores"):
        results = evaluate_predictions(rows, truth)
    assert results["unmatched"] == {"queries_without_saliency": [2, 3]}
    assert results["brief"]["HL-min-Fair-Hit1"] == 33.33
    assert results["brief"]["MR-full-mAP"] == 100.0


def test_one_domain_can_be_scored_and_still_reports_strange_ids():
    truth = [domain_row("a", "dog"), domain_row("b", "dog"), domain_row("c", "skiing")]
    rows = [prediction("a"), prediction("c"), prediction("x")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = evaluate_predictions(rows, truth, domain="dog")
    assert results["youtube_highlights"] == {"dog": 0.5}
    assert results["unmatched"] == {
        "queries_without_prediction": ["b"],
        "predictions_without_ground_truth": ["x"],
    }


def test_a_domain_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="the ground truth has no domain 'cat'; it has dog, skiing"):
        evaluate_predictions([], [domain_row(1, "dog"), domain_row(2, "skiing")], domain="cat")
    with pytest.raises(ValueError, match="moment_retrieval has no domains"):
        evaluate_predictions([], [moment_row(1)], domain="dog")


def test_clip_length_sets_the_clips_that_ratings_belong_to():
    row = qvhighlights_row(1) | {"relevant_clip_ids": [6]}
    with pytest.raises(ValueError, match=r"relevant clip 6 lies outside the video, which has 4 clips of 2 s"):
        evaluate_predictions([prediction(1)], [row])
    assert evaluate_predictions([prediction(1)], [row], clip_length=1.0)["brief"]["HL-min-Fair-Hit1"] == 0.0


@pytest.mark.parametrize(
    ("rows", "truth", "dataset", "message"),
    [
        ([prediction(1)], [moment_row(1)], "activitynet", "unknown dataset 'activitynet'; choose from qvhighlights"),
        ([prediction(1)], [moment_row(1)], "tvsum", "ground truth of query 1 has no label, domain, which tvsum needs"),
        ([prediction(1)], [qvhighlights_row(1), moment_row(2)], None, "ground truth of query 2 has no duration"),
        ([prediction(1, windows=None)], [moment_row(1)], None, "no prediction has pred_relevant_windows, on which"),
        ([{"qid": 1}], [qvhighlights_row(1)], None, "pred_relevant_windows or pred_saliency_scores, on which qvhigh"),
        ([prediction(1, windows=[[0, 1, float("nan")]])], [moment_row(1)], None, "predicted windows of query 1 hold"),
        ([prediction(1, saliency=[float("nan")])], [qvhighlights_row(1)], None, "saliency scores of query 1 hold a"),
        ([prediction("7")], [moment_row(7)], None, "no prediction has a qid of the ground truth"),
        ([prediction(1)], [], "moment_retrieval", "no prediction has a qid of the ground truth"),
    ],
)
def test_what_cannot_be_scored_is_refused(rows, truth, dataset, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(rows, truth, dataset=dataset)


def test_unmatched_ids_are_described_with_the_first_few():
    unmatched = {"queries_without_prediction": [1, 2, 3], "predictions_without_ground_truth": ["a"]}
    assert describe_unmatched(unmatched, max_ids=2) == [
        "3 queries have no prediction and score 0: 1, 2, ...",
        "1 predictions have a qid that is not in the ground truth and do not count: a",
    ]


def test_ground_truth_is_checked_before_there_are_predictions():
    assert check_ground_truth([qvhighlights_row(1)]) == "qvhighlights"
    assert check_ground_truth([domain_row(1, "dog")]) == "youtube_highlights"
    with pytest.raises(ValueError, match="relevant clip 6 lies outside"):
        check_ground_truth([qvhighlights_row(1) | {"relevant_clip_ids": [6]}])
    with pytest.raises(ValueError, match="nothing to score against"):
        check_ground_truth([{"qid": 1}])
    with pytest.raises(ValueError, match="domain must be text, but is 5"):
        check_ground_truth([domain_row(1, 5)])
