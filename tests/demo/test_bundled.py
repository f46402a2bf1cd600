from __future__ import annotations

import json

import pytest
from transformers import pipeline

import videolights_hf  # noqa: F401  registers the pipeline
from benchmarks.demo_world import score, shuffle_sentences
from videolights_hf import VideoMomentRetrievalPipeline
from videolights_hf.demo import ANNOTATIONS_FILE, annotate, demo_checkpoint, demo_videos, make_world, plan_video


def read_bundled_annotations() -> list[dict]:
    return [json.loads(line) for line in (demo_videos() / ANNOTATIONS_FILE).read_text(encoding="utf-8").splitlines()]


def test_bundled_checkpoint_and_videos_stay_small():
    sizes = [path.stat().st_size for path in demo_checkpoint().rglob("*") if path.is_file()]
    assert 0 < sum(sizes) < 5_000_000
    videos = [path.stat().st_size for path in demo_videos().glob("*.mp4")]
    assert 2 <= len(videos) <= 3
    assert max(videos) < 300_000


def test_bundled_videos_are_of_a_family_that_is_not_trained_on():
    annotations = read_bundled_annotations()
    assert {row["vid"].split("_")[0] for row in annotations} == {"demo"}
    assert {row["vid"] for row in annotations} == {path.stem for path in demo_videos().glob("*.mp4")}


def test_bundled_annotations_are_those_of_the_world():
    annotations = read_bundled_annotations()
    for vid in {row["vid"] for row in annotations}:
        _, seed, index = vid.split("_")
        own = [row for row in annotations if row["vid"] == vid]
        assert own == annotate(plan_video("demo", int(index), int(seed)), first_qid=own[0]["qid"])


def test_shuffling_gives_each_video_the_sentences_of_another():
    annotations = [
        row for index in range(3) for row in annotate(plan_video("validation", index), first_qid=10 * index)
    ]
    shuffled = shuffle_sentences(annotations)
    sentences = {row["qid"]: row["query"] for row in annotations}
    for own, row in zip(annotations, shuffled):
        assert {**row, "query": None} == {**own, "query": None}
        assert row["query"] in {other["query"] for other in annotations if other["vid"] != own["vid"]}
    assert sum(row["query"] == sentences[row["qid"]] for row in shuffled) <= 1


@pytest.mark.slow
def test_checkpoint_finds_moments_in_fresh_videos_only_with_their_own_sentences(tmp_path):
    annotations = make_world(tmp_path, "test", range(1000, 1006))
    retrieve = VideoMomentRetrievalPipeline.from_pretrained(demo_checkpoint())
    metrics = score(retrieve, tmp_path, annotations)
    shuffled = score(retrieve, tmp_path, shuffle_sentences(annotations))
    assert metrics["R1@0.5"] >= 80
    assert metrics["HIT@1"] >= 80
    assert shuffled["R1@0.5"] <= 40
    assert shuffled["HIT@1"] <= 40


def test_pipeline_finds_the_moments_of_a_bundled_video():
    annotations = read_bundled_annotations()
    own = [row for row in annotations if row["vid"] == annotations[0]["vid"]]
    retrieve = pipeline("video-moment-retrieval", model=str(demo_checkpoint()))
    results = retrieve(str(demo_videos() / f"{own[0]['vid']}.mp4"), [row["query"] for row in own])
    found = 0
    for row, result in zip(own, results):
        best = max(result["moments"], key=lambda moment: moment["score"])
        found += any(
            min(best["end"], end) - max(best["start"], start)
            >= 0.5 * (max(best["end"], end) - min(best["start"], start))
            for start, end in row["relevant_windows"]
        )
    assert found >= len(own) - 1
