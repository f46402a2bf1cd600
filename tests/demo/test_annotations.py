from __future__ import annotations

import itertools
import json

import pytest

from videolights_hf.demo import (
    ANNOTATIONS_FILE,
    MAX_RADIUS,
    MIN_RADIUS,
    SPLITS,
    annotate,
    grade_clip,
    make_world,
    plan_video,
)

PLANS = [plan_video("validation", index) for index in range(30)]


def test_annotations_have_the_fields_of_qvhighlights():
    for line in annotate(PLANS[0]):
        assert list(line) == [
            "qid",
            "query",
            "vid",
            "duration",
            "relevant_windows",
            "relevant_clip_ids",
            "saliency_scores",
        ]
        assert line["vid"] == PLANS[0].vid
        assert line["duration"] == PLANS[0].duration
        assert json.loads(json.dumps(line)) == line


@pytest.mark.parametrize("plan", PLANS[:10], ids=lambda plan: plan.vid)
def test_relevant_clips_are_those_inside_the_windows(plan):
    for line in annotate(plan):
        inside = [c for c in range(plan.duration) if any(s <= c and c + 1 <= e for s, e in line["relevant_windows"])]
        assert line["relevant_clip_ids"] == inside
        assert len(line["saliency_scores"]) == len(inside)
        assert all(len(grades) == 3 and all(0 <= g <= 4 for g in grades) for grades in line["saliency_scores"])


def test_every_query_has_a_clip_that_every_annotator_likes():
    for plan in PLANS:
        for line in annotate(plan):
            assert [4, 4, 4] in line["saliency_scores"]


def test_relevant_clips_are_not_all_alike():
    grades = [set(map(tuple, line["saliency_scores"])) for plan in PLANS for line in annotate(plan)]
    assert sum(len(distinct) > 1 for distinct in grades) > 0.95 * len(grades)


def test_grades_rise_with_size_and_fall_with_strictness():
    radii = [MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * i / 20 for i in range(21)]
    grades = [grade_clip(radius) for radius in radii]
    assert all(lenient >= middling >= strict for lenient, middling, strict in grades)
    assert all(before <= after for a, b in itertools.pairwise(grades) for before, after in zip(a, b))
    assert grades[0] == [1, 0, 0]
    assert grades[-1] == [4, 4, 4]


def test_grades_of_a_clip_follow_the_size_of_its_object():
    plan = PLANS[3]
    for line in annotate(plan):
        for clip, grades in zip(line["relevant_clip_ids"], line["saliency_scores"]):
            scene = plan.scene_at(clip + 0.5)
            assert grades == grade_clip(scene.radius(clip + 0.5 - scene.start))


def test_make_world_writes_every_video_and_numbers_the_queries(tmp_path):
    annotations = make_world(tmp_path / "world", "validation", [4, 2])
    lines = (tmp_path / "world" / ANNOTATIONS_FILE).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == annotations
    qids = [line["qid"] for line in annotations]
    assert qids == list(range(qids[0], qids[0] + len(annotations)))
    assert {path.stem for path in (tmp_path / "world").glob("*.mp4")} == {line["vid"] for line in annotations}
    assert annotations[0]["vid"] == plan_video("validation", 4).vid


def test_queries_of_different_splits_have_different_qids(tmp_path):
    qids = [line["qid"] for split in SPLITS for line in make_world(tmp_path / split, split, [0])]
    assert len(set(qids)) == len(qids)


def test_make_world_writes_nothing_for_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="Unknown split"):
        make_world(tmp_path / "world", "holdout", [0])
    assert not (tmp_path / "world").exists()
