import json
import os
from pathlib import Path

import pytest

from videolights_hf.common.time_axis import TimeAxis
from videolights_hf.data.annotations import (
    AnnotationError,
    domains_of,
    expected_num_clips,
    read_annotations,
    select_domain,
)
from videolights_hf.data.specs import DatasetSpec, get_dataset_spec


def moment(**changes):
    row = {
        "qid": 1,
        "query": "a dog runs",
        "vid": "v1",
        "duration": 20,
        "relevant_windows": [[2, 6]],
        "relevant_clip_ids": [1, 2],
        "saliency_scores": [[1, 2, 3], [4, 4, 4]],
    }
    return {key: value for key, value in (row | changes).items() if value is not ...}


def highlight(**changes):
    row = {"qid": "h", "query": "dog", "vid": "h", "duration": 3, "domain": "dog", "label": [[0], [1], [1]]}
    return row | changes


def write(tmp_path, *lines):
    path = tmp_path / "annotations.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_rows_are_read_as_they_stand_and_blank_lines_are_skipped(tmp_path):
    rows = [moment(), moment(qid="b", note={"kept": [1]})]
    assert read_annotations(write(tmp_path, rows[0], "", rows[1]), "qvhighlights") == rows


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(moment()).encode())
    assert read_annotations(path) == [moment()]


@pytest.mark.parametrize("line", ["{not json", "\udcff"])
def test_a_line_that_is_not_json_is_named_by_file_and_line(tmp_path, line):
    path = tmp_path / "broken.jsonl"
    path.write_bytes(json.dumps(moment()).encode() + b"\n" + line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(AnnotationError, match=r"broken\.jsonl:2: not JSON"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qid": ...}, "'qid' must be"),
        ({"qid": True}, "'qid' must be"),
        ({"qid": ""}, "'qid' must be"),
        ({"query": "  "}, "'query' must be a non-empty string"),
        ({"query": "half \ud83d"}, "'query' must be a non-empty string"),
        ({"vid": 7}, "'vid' must be a non-empty string"),
        ({"duration": 0}, "'duration' must be a positive number"),
        ({"duration": float("nan")}, "'duration' must be a positive number"),
        ({"domain": 3}, "'domain' must be a non-empty string"),
        ({"saliency_scores": ...}, "'saliency_scores' missing; dataset 'qvhighlights' needs it"),
        ({"relevant_windows": []}, "must be a list of"),
        ({"relevant_windows": [[1, 2, 3]]}, "is not .start, end."),
        ({"relevant_windows": [[6, 2]]}, "is empty or reversed"),
        ({"relevant_windows": [[2, 2]]}, "is empty or reversed"),
        ({"relevant_windows": [[-1, 2]]}, "is outside the video of 20 s"),
        ({"relevant_windows": [[0, 20.5]]}, "is outside the video of 20 s"),
        ({"relevant_clip_ids": [1]}, "lists of the same length"),
        ({"relevant_clip_ids": [1, 1]}, "whole numbers, each once"),
        ({"relevant_clip_ids": [1, 2.5]}, "whole numbers, each once"),
        ({"relevant_clip_ids": [1, 10]}, r"relevant clips \[10\] are outside"),
        ({"saliency_scores": [[1, 2], [3]]}, "same number of scores"),
        ({"saliency_scores": [[1], [5]]}, "scores from 0 to 4"),
    ],
)
def test_a_faulty_row_is_named_with_what_is_wrong(tmp_path, changes, message):
    path = write(tmp_path, moment(qid=0), moment(**changes))
    with pytest.raises(AnnotationError, match=rf"annotations\.jsonl:2: .*{message}"):
        read_annotations(path, "qvhighlights")


@pytest.mark.parametrize(
    ("dataset", "changes", "message"),
    [
        ("youtube_highlights", {"label": [[0], [2]]}, "scores from 0 to 1"),
        ("youtube_highlights", {"domain": None}, "'domain' missing"),
        ("tvsum", {"label": [[0] * 20]}, "scores from 1 to 5"),
        ("tvsum", {"label": [[1, 2], [1]]}, "same number of scores"),
        ("tvsum", {"label": 3}, "same number of scores"),
        ("custom", {"label": [[0, 3]]}, "scores from 1 to 5"),
    ],
)
def test_faulty_highlight_labels_are_named(tmp_path, dataset, changes, message):
    with pytest.raises(AnnotationError, match=message):
        read_annotations(write(tmp_path, highlight(**changes)), dataset)


def test_a_corpus_that_is_labeled_by_its_scores_must_have_some(tmp_path):
    unscored = {"saliency_scores": ..., "relevant_clip_ids": ...}
    path = write(tmp_path, moment(qid=0), moment(qid=1, **unscored))
    assert len(read_annotations(path, "pretraining_scores")) == 2
    with pytest.raises(AnnotationError, match="no line has 'saliency_scores'"):
        read_annotations(write(tmp_path, moment(**unscored)), "pretraining_similarities")


def test_windows_may_end_with_the_video(tmp_path):
    row = moment(relevant_windows=[[18, 20.0004]])
    assert read_annotations(write(tmp_path, row)) == [row]


def test_a_line_that_is_no_object_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="expected a JSON object, found list"):
        read_annotations(write(tmp_path, "[1]"))


def test_duplicate_qids_are_refused_with_both_lines(tmp_path):
    path = write(tmp_path, moment(qid=5), moment(qid=6), moment(qid="5"))
    with pytest.raises(AnnotationError, match=r":3: qid '5' is already on line 1"):
        read_annotations(path)


def test_every_problem_is_kept_and_the_first_ones_are_listed(tmp_path):
    path = write(tmp_path, *(moment(qid=k, relevant_windows=[[6, 2]]) for k in range(25)))
    with pytest.raises(AnnotationError, match="25 problem") as caught:
        read_annotations(path)
    assert len(caught.value.problems) == 25
    assert "and 15 more" in str(caught.value)


def test_an_empty_split_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="no annotations"):
        read_annotations(write(tmp_path, ""))


def test_a_test_split_without_labels_is_read_but_a_half_labeled_file_is_refused(tmp_path):
    bare = moment(relevant_windows=..., relevant_clip_ids=..., saliency_scores=...)
    assert read_annotations(write(tmp_path, bare), "qvhighlights") == [bare]
    with pytest.raises(AnnotationError, match=":2: no labels, while other lines have them"):
        read_annotations(write(tmp_path, moment(qid=3), bare), "qvhighlights")


def test_domains_are_selected_and_an_unknown_one_names_the_nearest(tmp_path):
    path = write(tmp_path, highlight(), highlight(qid="s", domain="surfing"))
    rows = read_annotations(path, "youtube_highlights")
    assert domains_of(rows) == ["dog", "surfing"]
    assert [row["qid"] for row in read_annotations(path, "youtube_highlights", domain="surfing")] == ["s"]
    with pytest.raises(ValueError, match=r"Unknown domain 'surfin'\. Did you mean 'surfing'\? Known: dog, surfing\."):
        select_domain(rows, "surfin")
    with pytest.raises(ValueError, match="no domains"):
        select_domain([moment()], "dog")


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'qvhighlights'"):
        get_dataset_spec("QVHighlight")


@pytest.mark.parametrize(
    ("row", "clips"), [({"duration": 150}, 75), ({"duration": 30.96}, 16), ({"duration": 0.5}, 1)]
)
def test_clips_that_an_annotation_implies(row, clips):
    assert expected_num_clips(row, 2.0) == clips
    assert expected_num_clips(row | {"label": [[1]] * 9}, 2.0) == 9


@pytest.mark.skipif("VIDEOLIGHTS_GOLDEN_ROOT" not in os.environ, reason="VIDEOLIGHTS_GOLDEN_ROOT is not set")
def test_the_published_annotations_are_read_whole():
    folder = Path(os.environ["VIDEOLIGHTS_GOLDEN_ROOT"], "data", "annotations")
    files = sorted(folder.glob("*/*.jsonl"))
    assert files
    for path in files:
        rows = read_annotations(path, path.parent.name)
        assert len(rows) == sum(bool(line.strip()) for line in path.read_text().splitlines())
    assert len(domains_of(read_annotations(folder / "tvsum" / "tvsum_train_release.jsonl", "tvsum"))) == 10


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"qid": 1, "query": "a", "vid": "v", "duration": 1' + "0" * 400 + "}",
            "'duration' must be a positive number",
        ),
        ('{"qid": 1, "qid": 2, "query": "a", "vid": "v", "duration": 1}', "the key 'qid' occurs twice"),
        ("[" * 100_000, "not JSON"),
        ('{"qid": 1, "query": "a", "vid": "v", "duration": ' + "1" * 10_000 + "}", "not JSON"),
        (json.dumps(moment(relevant_clip_ids=[1, 2**70])), "are outside the video"),
        (json.dumps(moment(relevant_clip_ids=[-1, 2])), r"relevant clips \[-1\] are outside the video"),
        (json.dumps(moment(relevant_windows=[[True, 6]])), "is not .start, end."),
    ],
)
def test_a_hostile_line_is_named_like_any_other_fault(tmp_path, line, message):
    with pytest.raises(AnnotationError, match=rf"annotations\.jsonl:1: .*{message}"):
        read_annotations(write(tmp_path, line), "qvhighlights")


def test_the_last_shorter_clip_may_be_relevant(tmp_path):
    row = moment(duration=61.2, relevant_windows=[[56.0, 61.2]], relevant_clip_ids=[29, 30])
    assert read_annotations(write(tmp_path, row), "qvhighlights") == [row]


@pytest.mark.parametrize("clip_length", [0, -1, float("nan"), float("inf")])
def test_a_clip_length_is_a_positive_number(clip_length):
    with pytest.raises(ValueError, match="A clip length is a positive number of seconds"):
        DatasetSpec("mine", clip_length, "auto")


def test_the_time_axis_of_a_row_that_scores_every_clip_counts_these():
    # YouTube Highlights: 63 clips in 106.5 s; TVSum: the duration is the number of clips.
    assert TimeAxis.of_query({"duration": 106.5, "label": [[1]] * 63}, 63, 1.0).is_covered
    assert TimeAxis.of_query({"duration": 74, "label": [[1]] * 74}, 74, 2.0).seconds == 148.0
    assert TimeAxis.of_query({"duration": 400}, 75, 2.0).seconds == 150.0
