import json

import pytest
import torch

from tests.support.corpora import write_corpus
from tests.support.extraction_distributed_run import run
from tests.support.launching import launch_two
from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf.video.reader import read_video_metadata

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """More than two groups of videos, a bad one, queries of some, and a backbone."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "videos").mkdir()
    durations = {vid: read_video_metadata(path).duration for vid, path in write_corpus(folder / "videos", 39).items()}
    for index in (5, 20):
        (folder / "videos" / f"video_{index:02d}.mp4").write_text("no video")
    rows = [
        {"qid": index, "query": f"query {index}", "vid": vid, "duration": duration}
        for index, (vid, duration) in enumerate(durations.items())
    ]
    (folder / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    clip = make_tiny_clip(image_size=48)
    clip.save_pretrained(folder / "clip")
    return folder


def arguments(inputs, output):
    return [
        str(inputs / "videos"), str(output / "features"), "--backbone", f"clip={inputs / 'clip'}", "--device", "cpu",
        "--backbone-batch-size", "clip=7", "--stored-dtype", "float32", "--annotations", f"val={inputs / 'val.jsonl'}",
        "--dataset-output", str(output / "dataset"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def one(inputs, tmp_path_factory):
    output = tmp_path_factory.mktemp("one")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(output, arguments(inputs, output))
    torch.set_num_threads(threads)
    return output


@pytest.fixture(scope="module")
def two(inputs, tmp_path_factory):
    """The same command in two processes."""
    output = tmp_path_factory.mktemp("two")
    command = ["-m", "tests.support.extraction_distributed_run", str(output), *arguments(inputs, output)]
    return output, launch_two(*command)


def test_two_processes_run_and_each_does_its_share(two):
    seen = [json.loads((two[0] / f"seen-{rank}.json").read_text()) for rank in range(2)]
    assert [row["count"] for row in seen] == [2, 2]
    assert all(row["videos"] > 10 for row in seen)


def test_the_files_are_those_of_one_process_to_the_bit(one, two):
    for folder in ("features/clip_features", "features/clip_text_features"):
        first, second = (
            {path.name: path.read_bytes() for path in (output / folder).iterdir()} for output in (one, two[0])
        )
        assert first == second
        assert len(first) in (38, 41)


def test_failures_of_all_processes_are_reported_once(one, two):
    for output in (one, two[0]):
        failures = [json.loads(line) for line in (output / "features" / "failed.jsonl").read_text().splitlines()]
        assert [row["vid"] for row in failures] == ["video_05", "video_20"]
    assert two[1].count("37 done, 0 already there, 2 failed") == 1


def test_the_dataset_is_that_of_one_process(one, two):
    from datasets import load_from_disk

    first, second = (load_from_disk(str(output / "dataset")) for output in (one, two[0]))
    assert {name: len(table) for name, table in first.items()} == {"videos": 37, "val": 37}
    for name, table in first.items():
        assert table.to_list() == second[name].to_list()
