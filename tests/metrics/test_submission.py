import json

import numpy as np
import pytest
import torch

from videolights_hf.metrics.submission import QueryFileError, align_predictions, read_json_lines, write_predictions


def test_predictions_survive_writing_and_reading(tmp_path):
    rows = [
        {"qid": 3, "query": "a drône", "vid": "v_0.0_2.0", "pred_relevant_windows": [[0.0, 2.0, 0.9871]]},
        {"qid": "s1_0", "pred_saliency_scores": [0.25, -1.5], "domain": "VU"},
    ]
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, rows)
    assert read_json_lines(path) == rows
    assert [item.name for item in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_fields_are_written_in_the_published_order(tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, [{"domain": "VU", "pred_saliency_scores": [1.0], "vid": "v", "qid": 3}])
    assert list(json.loads(path.read_text())) == ["qid", "vid", "pred_saliency_scores", "domain"]


def test_arrays_and_tensors_are_written_as_numbers(tmp_path):
    path = tmp_path / "predictions.jsonl"
    row = {
        "qid": np.int64(3),
        "pred_relevant_windows": torch.tensor([[0.0, 2.0, 0.5]]),
        "pred_saliency_scores": np.array([0.1, 0.2], dtype=np.float16),
    }
    write_predictions(path, [row])
    assert read_json_lines(path) == [
        {
            "qid": 3,
            "pred_relevant_windows": [[0.0, 2.0, 0.5]],
            "pred_saliency_scores": [float(np.float16(0.1)), float(np.float16(0.2))],
        }
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"pred_saliency_scores": [1.0]}], "'qid' must be a number or a string, but is None"),
        ([{"qid": 1, "vid": "v"}], "query 1 has neither pred_relevant_windows nor pred_saliency_scores"),
        ([{"qid": 1, "pred_saliency_scores": [float("nan")]}], "the prediction of query 1 cannot be written"),
        ([{"qid": 1, "pred_saliency_scores": {1.0}}], "query 1 cannot be written: set is neither"),
        ([{"qid": 1, "pred_saliency_scores": [1]}] * 2, "qid 1 occurs twice"),
    ],
)
def test_a_bad_prediction_is_not_written_and_leaves_the_file_as_it_was(tmp_path, rows, message):
    path = tmp_path / "predictions.jsonl"
    path.write_text("before")
    with pytest.raises(ValueError, match=message):
        write_predictions(path, rows)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "predictions.jsonl"
    folder.mkdir()
    with pytest.raises(OSError, match=r"predictions\.jsonl"):
        write_predictions(folder, [{"qid": 1, "pred_saliency_scores": [1.0]}])
    assert list(tmp_path.iterdir()) == [folder]


def test_blank_lines_are_skipped(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"qid": 1}\n\n{"qid": 2}\n  \n')
    assert [row["qid"] for row in read_json_lines(path)] == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"qid": 1}\n{"qid": 2,\n', r"rows.jsonl:2: not JSON \("),
        ('{"qid": 1}\n\n[1, 2]\n', "rows.jsonl:3: expected a JSON object, found list"),
        ('{"vid": "a"}\n', "rows.jsonl:1: 'qid' must be a number or a string, but is None"),
        ('{"qid": [1]}\n', r"rows.jsonl:1: 'qid' must be a number or a string, but is \[1\]"),
        ('{"qid": 1}\n{"qid": 2}\n{"qid": 1}\n', "rows.jsonl:3: qid 1 occurs twice, first on line 1"),
        ("\n", "rows.jsonl: is empty"),
        ('{"qid": true}\n', "rows.jsonl:1: 'qid' must be a number or a string, but is True"),
        ('{"qid": 1, "qid": 2}\n', "rows.jsonl:1: not JSON .the key 'qid' occurs twice"),
        ("[" * 100_000 + "\n", "rows.jsonl:1: not JSON"),
        ('{"qid": 1, "pred_saliency_scores": 0}\n', "'pred_saliency_scores' must be a list of numbers, but is 0"),
        ('{"qid": 1, "pred_saliency_scores": [true]}\n', "'pred_saliency_scores' must be a list of numbers"),
        ('{"qid": 1, "pred_saliency_scores": [NaN]}\n', "'pred_saliency_scores' must be a list of numbers"),
        ('{"qid": 1, "pred_relevant_windows": [[1, 2]]}\n', "must be a list of .start, end, score., but is"),
        ('{"qid": 1, "relevant_clip_ids": 0}\n', "'relevant_clip_ids' must be a list of whole numbers, but is 0"),
        ('{"qid": 1, "relevant_windows": [[0, "x"]]}\n', "'relevant_windows' must be a list of .start, end."),
        ('{"qid": 1, "label": [1]}\n', "'label' must be a list of lists of numbers"),
        ('{"qid": 1, "label": [[]]}\n', "'label' must be a list of lists of numbers"),
        ('{"qid": 1, "domain": 5}\n', "'domain' must be text, but is 5"),
        ('{"qid": 1, "duration": "20"}\n', "'duration' must be a number, but is '20'"),
        ('{"qid": 1, "duration": 1' + "0" * 400 + "}\n", "'duration' must be a number, but is 1000.*[.][.][.]"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json_lines(path)


def test_a_line_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"qid": 1}\n{"qid": "\xff"}\n')
    with pytest.raises(ValueError, match=r"rows.jsonl:2: not JSON \("):
        read_json_lines(path)


def test_alignment_follows_the_ground_truth_and_loses_no_id():
    first, third, stray = ({"qid": qid, "pred_saliency_scores": [qid]} for qid in (1, 3, 9))
    aligned = align_predictions(iter([third, stray, first]), [{"qid": 1}, {"qid": 2}, {"qid": 3}])
    assert aligned.predictions == [first, None, third]
    assert aligned.queries_without_prediction == [2]
    assert aligned.predictions_without_ground_truth == [9]


def test_ids_of_another_type_do_not_match_and_are_shown():
    with pytest.raises(ValueError, match="the first of 1 predictions has '1', the first of 2 ground-truth rows 1"):
        align_predictions([{"qid": "1"}], [{"qid": 1}, {"qid": 2}])
    with pytest.raises(ValueError, match="the first of 0 predictions has nothing"):
        align_predictions([], [{"qid": 1}])


@pytest.mark.parametrize(
    ("predictions", "truth", "message"),
    [
        ([{"qid": 1}, {"qid": 1}], [{"qid": 1}], "qid 1 occurs twice in the predictions"),
        ([{"qid": 1}], [{"qid": 1}, {"qid": 1}], "qid 1 occurs twice in the ground truth"),
        ([{"vid": "a"}], [{"qid": 1}], r"a row of the predictions has no 'qid': its fields are \['vid'\]"),
        # Python would take it for 1.
        (
            [{"qid": 1}],
            [{"qid": True}],
            "a row of the ground truth has the 'qid' True: it must be a number or a string",
        ),
        ([{"qid": None}], [{"qid": 1}], "a row of the predictions has the 'qid' None"),
    ],
)
def test_ids_that_are_missing_or_double_are_refused(predictions, truth, message):
    with pytest.raises(ValueError, match=message):
        align_predictions(predictions, truth)


def test_every_problem_of_a_file_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"qid": 1, "duration": "x"}\n{"qid": 1}\n[]\n')
    with pytest.raises(QueryFileError, match=r"2 problem\(s\) in the queries") as caught:
        read_json_lines(path)
    assert [problem.rpartition("rows.jsonl:")[2].partition(":")[0] for problem in caught.value.problems] == ["1", "3"]
