"""The published scripts' own numbers, to the last digit: needs VIDEOLIGHTS_GOLDEN_ROOT."""

import json
import os
from pathlib import Path

import pytest

from videolights_hf.metrics import evaluate_predictions, read_json_lines

ROOT = os.environ.get("VIDEOLIGHTS_GOLDEN_ROOT")
pytestmark = pytest.mark.skipif(not ROOT, reason="VIDEOLIGHTS_GOLDEN_ROOT is not set")


def score(predictions, annotations):
    root = Path(ROOT)
    return evaluate_predictions(
        read_json_lines(root / "golden/data/metrics" / predictions),
        read_json_lines(root / "data/annotations" / annotations),
    )


def golden(name):
    return json.loads((Path(ROOT) / "golden/data/metrics" / name).read_text())


def test_qvhighlights_val_equals_the_release():
    actual = score("qvhighlights_val_moment_detr_preds.jsonl", "qvhighlights/highlight_val_release.jsonl")
    assert actual == golden("qvhighlights_val_moment_detr.json")


def test_charades_sta_test_equals_the_release():
    actual = score("charades_test_preds.jsonl", "charades_sta/charades_sta_test_tvr_format.jsonl")
    expected = golden("charades_test.json")
    # No query has a long moment, and the release prints other thresholds for an empty range than for a filled one.
    empty, expected_empty = actual.pop("long"), expected.pop("long")
    assert actual == expected
    assert {value for metrics in expected_empty.values() for value in metrics.values()} == {0.0}
    assert empty["MR-mIoU"] == 0.0
    assert {value for name in ("MR-mAP", "MR-R1") for value in empty[name].values()} == {0.0}


@pytest.mark.parametrize(
    ("dataset", "predictions", "annotations"),
    [
        ("tvsum", "tvsum_val_preds.jsonl", "tvsum/tvsum_val_release.jsonl"),
        (
            "youtube_highlights",
            "youtube_highlights_val_preds.jsonl",
            "youtube_highlights/youtube_highlight_val_release.jsonl",
        ),
    ],
)
def test_every_domain_equals_the_release(dataset, predictions, annotations):
    assert score(predictions, annotations)[dataset] == golden("highlight_map_by_domain.json")[dataset]


@pytest.mark.parametrize(
    ("dataset", "annotations"),
    [
        ("tvsum", "tvsum/tvsum_val_release.jsonl"),
        ("youtube_highlights", "youtube_highlights/youtube_highlight_val_release.jsonl"),
    ],
)
def test_float32_scores_of_highlight_data_are_scored_as_they_are(dataset, annotations):
    case = golden(f"{dataset}_float32.json")
    truth = read_json_lines(Path(ROOT) / "data/annotations" / annotations)
    results = evaluate_predictions(case["predictions"], truth)
    assert results[dataset] == case["map_by_domain"]
    assert results["brief"]["HL-mAP"] == case["map"] != case["map_if_cast_to_float16"]
