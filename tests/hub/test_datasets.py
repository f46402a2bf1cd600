"""A dataset on the Hub: pushed with its card and its backbones' names, streamed, trained from."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import DatasetCard

from tests.support.hub_server import OWNER, HubServer
from tests.support.remote import WITHOUT_PACKAGE
from tests.support.videos import numbered_frames, write_video
from tests.support.warm import ROOT, warm_python

DATASET = f"datasets/{OWNER}/features"
SENTENCE = "A red square moves."
BACKBONES = ("slowfast", "clip", "blip2")

# Three backbones in repositories of their own, features of raw videos by them, and the dataset of these features.
MAKE = """
import json, sys
from pathlib import Path
from huggingface_hub import create_repo, upload_folder
from tests.support.tiny_backbones import make_tiny_blip2, make_tiny_clip, make_tiny_slowfast

folder = Path(sys.argv[1])
for backbone in (make_tiny_slowfast(image_size=64), make_tiny_clip(), make_tiny_blip2()):
    backbone.save_pretrained(folder / backbone.name)
    create_repo(f"someone/{backbone.name}")
    upload_folder(repo_id=f"someone/{backbone.name}", folder_path=folder / backbone.name)
"""

STREAM = """
import json, sys
import numpy as np
from videolights_hf import VideoLightsConfig
from videolights_hf.data import FeatureDataset, StreamingFeatureDataset, load_feature_dataset, table_backbones

pushed, local = load_feature_dataset("someone/features"), load_feature_dataset(sys.argv[1])
video_backbones, text_backbones = table_backbones(pushed)
config = VideoLightsConfig(video_backbones=video_backbones, text_backbones=text_backbones)
streamed = StreamingFeatureDataset.from_config("hf://datasets/someone/features", "train", config)
by_qid = {item["qid"]: item for item in streamed}
for name, tables in (("local", local), ("pushed", pushed)):
    dataset = FeatureDataset.from_config(tables, "train", config)
    assert len(dataset) == len(by_qid)
    for item in dataset:
        for key in ("video_features", "text_features"):
            assert np.array_equal(item[key], by_qid[item["qid"]][key]), (name, key)
print(json.dumps(len(by_qid)))
"""

FIND = """
import json, sys
from transformers import pipeline

finder = pipeline("video-moment-retrieval", model=sys.argv[1], **json.loads(sys.argv[3]))
print(json.dumps([finder(sys.argv[2], "A red square moves."), finder.processor.backbone_checkpoints]))
"""


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def run(hub, tmp_path_factory):
    """Run a command against the Hub, with a cache of its own, and return what it prints."""

    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, **hub.environment(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    with warm_python(environment) as python:

        def run(*command):
            done = python.run(*command)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        yield run


@pytest.fixture(scope="module")
def built(run, tmp_path_factory):
    """The folder of a dataset that `videolights extract` made with backbones from the Hub."""
    folder = tmp_path_factory.mktemp("data")
    run("-c", MAKE, folder / "backbones")
    rows = []
    (folder / "videos").mkdir()
    for index in range(4):
        vid = f"video_{index}"
        write_video(folder / "videos" / f"{vid}.mp4", numbered_frames(np.arange(64) + 16 * index), 8)
        rows.append(
            {
                "qid": index,
                "query": SENTENCE if index % 2 else "Bars in black and white.",
                "vid": vid,
                "duration": 8,
                "relevant_windows": [[2, 6]],
                "relevant_clip_ids": [1, 2],
                "saliency_scores": [[4, 3, 2], [1, 2, 3]],
            }
        )
    for split, part in (("train", rows), ("val", rows[:2])):
        text = "".join(json.dumps({**row, "qid": f"{split}{row['qid']}"}) + "\n" for row in part)
        (folder / f"{split}.jsonl").write_text(text)
    run(
        *("-m", "videolights_hf", "extract", folder / "videos", folder / "features", "--dataset", "qvhighlights"),
        *("--annotations", f"train={folder / 'train.jsonl'}", "--annotations", f"val={folder / 'val.jsonl'}"),
        *("--backbone", "slowfast=someone/slowfast", "--backbone", "clip=someone/clip"),
        *("--backbone", "blip2=someone/blip2", "--dataset-output", folder / "dataset"),
    )
    return folder


@pytest.fixture(scope="module")
def pushed(hub, run, built):
    """The dataset that `videolights prepare` makes of the same features, on the Hub."""
    features = built / "features"
    run(
        *("-m", "videolights_hf", "prepare", built / "prepared", "--dataset", "qvhighlights"),
        *("--annotations", f"train={built / 'train.jsonl'}", "--annotations", f"val={built / 'val.jsonl'}"),
        *(part for name in BACKBONES for part in ("--video-features", f"{name}={features / f'{name}_features'}")),
        *(
            part
            for name in BACKBONES[1:]
            for part in ("--text-features", f"{name}={features / f'{name}_text_features'}")
        ),
        *("--push-to-hub", "someone/features", "--private", "--license", "cc-by-nc-sa-4.0"),
    )
    return hub.files(DATASET)


@pytest.mark.slow
class TestDatasetsOnTheHub:
    def test_one_commit_holds_tables_card_and_backbones(self, hub, pushed):
        parquet = {"queries/train-00000-of-00001.parquet", "queries/val-00000-of-00001.parquet"}
        assert set(pushed) == {*parquet, "videos/videos-00000-of-00001.parquet", "README.md", "backbones.json"}
        assert json.loads(pushed["backbones.json"]) == {name: f"someone/{name}" for name in BACKBONES}
        commits = [name for name in hub.names.values() if name == DATASET]
        assert len(commits) == 2  # the empty repository, and this

    def test_the_card_says_what_is_in_it(self, hub, pushed):
        card = DatasetCard(pushed["README.md"].decode())
        assert card.data.license == "cc-by-nc-sa-4.0"
        assert [config["config_name"] for config in card.data.configs] == ["queries", "videos"]
        for fact in ("| train | 4 |", "| val | 2 |", "| videos | 4 |", "`someone/slowfast`", "Clips are 2 s long"):
            assert fact in card.text, fact
        commit = hub.repositories[f"{OWNER}/slowfast"]["main"]
        assert f"`{OWNER}/slowfast`, revision `{commit[:12]}`" in card.text

    def test_streamed_loaded_and_local_items_are_the_same(self, run, built, pushed):
        assert json.loads(run("-c", STREAM, built / "dataset").splitlines()[-1]) == 4

    def test_a_model_trained_from_the_hub_runs_on_raw_video_where_the_package_is_not_installed(
        self, hub, run, built, pushed, tmp_path
    ):
        small = {"hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 16, "num_queries": 4}
        settings = [*(f"model.{key}={value}" for key, value in small.items()), "num_train_epochs=1"]
        settings += ["push_to_hub=true", "hub_model_id=someone/trained", "report_to=none", "use_cpu=true"]
        run(
            *("-m", "videolights_hf", "train", "--recipe", "qvhighlights/videolights-b", "--data", "someone/features"),
            *("--output", tmp_path / "trained"),
            *(argument for setting in settings for argument in ("--set", setting)),
        )
        video = write_video(tmp_path / "video.mp4", numbered_frames(np.arange(80)), 8)
        with_package, checkpoints = json.loads(
            run("-c", "import videolights_hf" + FIND, "someone/trained", video, "{}").splitlines()[-1]
        )
        assert checkpoints == {name: f"someone/{name}" for name in BACKBONES}
        remote = json.dumps({"trust_remote_code": True})
        without = subprocess.run(
            [sys.executable, "-c", WITHOUT_PACKAGE + FIND, "someone/trained", str(video), remote],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **hub.environment(tmp_path / "home")},
        )
        assert without.returncode == 0, without.stderr
        found = json.loads(without.stdout.splitlines()[-1])[0]
        np.testing.assert_allclose(found["saliency"], with_package["saliency"], atol=1e-4)
        assert len(found["saliency"]) == 5
        assert [moment["start"] for moment in found["moments"]] == [m["start"] for m in with_package["moments"]]
