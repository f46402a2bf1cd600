from __future__ import annotations

import numpy as np
import pytest

from videolights_hf.demo import (
    MAX_RADIUS,
    MIN_RADIUS,
    SPLITS,
    Query,
    SceneKind,
    all_kinds,
    draw_scene,
    moments_of,
    plan_video,
)

PLANS = [plan_video("validation", index) for index in range(60)]


def words_of(kind: SceneKind) -> tuple[str, str, str]:
    return kind.color, kind.shape, kind.background


def make_scenes(*kinds_and_ends: tuple[SceneKind, int]):
    rng = np.random.default_rng(0)
    starts = [0, *(end for _, end in kinds_and_ends)]
    return tuple(draw_scene(rng, kind, start, end) for start, (kind, end) in zip(starts, kinds_and_ends))


def test_same_arguments_give_the_same_plan():
    assert plan_video("train", 7, seed=3) == plan_video("train", 7, seed=3)


def test_split_index_and_seed_each_change_the_plan():
    plans = [plan_video("train", 0), plan_video("train", 1), plan_video("train", 0, seed=1), plan_video("test", 0)]
    assert len({plan.scenes for plan in plans}) == len(plans)
    assert len({plan.vid for plan in plans}) == len(plans)


def test_no_scene_of_one_split_occurs_in_another():
    scenes = [{scene for index in range(20) for scene in plan_video(split, index).scenes} for split in SPLITS]
    assert len(set.union(*scenes)) == sum(map(len, scenes))


@pytest.mark.parametrize("plan", PLANS[:20], ids=lambda plan: plan.vid)
def test_scenes_follow_one_another_and_last_3_to_12_seconds(plan):
    assert plan.scenes[0].start == 0
    assert all(before.end == after.start for before, after in zip(plan.scenes, plan.scenes[1:]))
    assert all(3 <= scene.duration <= 12 for scene in plan.scenes)
    assert 45 <= plan.duration <= 72


@pytest.mark.parametrize("plan", PLANS[:20], ids=lambda plan: plan.vid)
def test_every_scene_is_asked_for_and_every_query_has_one_to_three_moments(plan):
    for scene in plan.scenes:
        assert any(query.matches(scene.kind) for query, _ in plan.queries)
    for query, _ in plan.queries:
        assert 1 <= len(moments_of(query, plan.scenes)) <= 3
    assert len({query for query, _ in plan.queries}) == len(plan.queries) >= 4


@pytest.mark.parametrize("plan", PLANS[:20], ids=lambda plan: plan.vid)
def test_every_query_has_a_distractor_that_shares_a_word(plan):
    kinds = {scene.kind for scene in plan.scenes}
    for query, _ in plan.queries:
        distractors = [kind for kind in kinds if not query.matches(kind)]
        asked = {query.color, query.shape, query.background}
        assert any(asked & set(words_of(kind)) for kind in distractors)


def test_one_video_holds_distractors_for_each_single_word():
    for plan in PLANS:
        kinds = {scene.kind for scene in plan.scenes}
        differing = {
            position
            for one in kinds
            for other in kinds
            for position in range(3)
            if [a == b for a, b in zip(words_of(one), words_of(other))].count(False) == 1
            and words_of(one)[position] != words_of(other)[position]
        }
        assert differing == {0, 1, 2}


def test_no_kind_of_scene_stands_out_as_the_one_that_is_asked_for():
    asked = [
        len([query for query, _ in plan.queries if query.matches(scene.kind)])
        for plan in PLANS
        for scene in plan.scenes
    ]
    assert min(asked) >= 1
    assert np.mean(asked) < 1.2


def test_object_grows_to_its_peak_and_shrinks_again():
    scene = PLANS[0].scenes[0]
    radii = [scene.radius(seconds) for seconds in np.linspace(0, scene.duration, 50)]
    assert radii[0] == pytest.approx(MIN_RADIUS)
    assert radii[-1] == pytest.approx(MIN_RADIUS)
    assert max(radii) == pytest.approx(scene.peak_radius)
    assert scene.peak_radius <= MAX_RADIUS


def test_center_of_the_object_stays_in_the_frame():
    centers = np.array([scene.center(t) for scene in PLANS[1].scenes for t in np.linspace(0, scene.duration, 20)])
    assert centers.min() > 0.2
    assert centers.max() < 0.8


def test_matching_neighbors_are_one_moment():
    on_dots, on_stripes = SceneKind("red", "circle", "dots"), SceneKind("red", "circle", "stripes")
    other = SceneKind("blue", "circle", "dots")
    scenes = make_scenes((on_dots, 4), (on_stripes, 8), (other, 12), (on_stripes, 16))
    assert moments_of(Query("red", "circle"), scenes) == [(0, 8), (12, 16)]
    assert moments_of(Query("red", "circle", "stripes"), scenes) == [(4, 8), (12, 16)]
    assert moments_of(Query("green", "circle"), scenes) == []


def test_scene_at_finds_the_scene_on_each_side_of_a_cut():
    plan = PLANS[2]
    first, second = plan.scenes[:2]
    assert plan.scene_at(first.end - 0.01) is first
    assert plan.scene_at(first.end) is second
    assert plan.scene_at(plan.duration + 1.0) is plan.scenes[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("holdout", 0), "Unknown split 'holdout'"),
        (("train", -1), "index=-1"),
        (("train", 0, -2), "seed=-2"),
        (("train", 2**32), "index=4294967296"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_video(*arguments)


def test_sentence_names_every_word_of_its_query():
    rng = np.random.default_rng(0)
    for kind in all_kinds():
        sentence = Query(kind.color, kind.shape, kind.background).sentence(rng)
        assert kind.color in sentence
        assert kind.shape in sentence
        assert "{" not in sentence
    assert "big red heart" in Query("red", "heart").sentence(rng, size="big")


def test_sentences_come_from_several_templates():
    rng = np.random.default_rng(0)
    assert len({Query("red", "heart", "dots").sentence(rng) for _ in range(100)}) >= 10
