"""What is pushed to the Hub can be pulled from it, with this package and without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.support.hub_server import OWNER, HubServer
from tests.support.remote import WITHOUT_PACKAGE
from videolights_hf.hub.code import flat_files

CODE = set(flat_files("videolights"))
MODEL = {"config.json", "model.safetensors"}
CARD = {"README.md"}
CLIP = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}
PROCESSOR = {"processor_config.json"} | {f"backbones/clip/{name}" for name in CLIP}

MAKE_PARTS = """
import json, sys
from pathlib import Path
from tests.support.tiny_backbones import make_tiny_clip
from tests.support.factories import tiny_model
from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsProcessor, VideoMomentRetrievalPipeline

folder = Path(sys.argv[1])
clip = make_tiny_clip()
model = tiny_model(video_backbones=[["clip", clip.video_dim]], text_backbones=[["clip", clip.text_dim]])
processor = VideoLightsProcessor.from_config(model.config)
processor.set_backbone(clip)
"""

PUSH_AND_PULL = (
    MAKE_PARTS
    + """
import numpy as np
from transformers import pipeline

finder = VideoMomentRetrievalPipeline(model=model, processor=processor)
(folder / "saved").mkdir()
(folder / "saved" / "notes.txt").write_text("mine")
doubled = {name: 2 * value for name, value in model.state_dict().items()}

model.push_to_hub("model", private=True, tags=["moments"], commit_message="Share the model")
model.push_to_hub("model-without-code", include_code=False)
model.save_pretrained(folder / "saved", push_to_hub=True, repo_id="someone/saved", commit_message="Share a folder")
model.save_pretrained(folder / "saved-without-code", push_to_hub=True, include_code=False, state_dict=doubled)
model.push_to_hub("parts")
processor.push_to_hub("parts")
finder.push_to_hub("pipeline", tags=["moments"])
finder.push_to_hub("pipeline", revision="small", commit_message="Another branch", max_shard_size="20KB")
opened = finder.push_to_hub("pipeline", tags=["asked"], create_pr=True, commit_message="Ask")
finder.save_pretrained(folder / "saved-pipeline", push_to_hub=True, commit_message="Share a pipeline")

video = np.load(folder / "video.npy")
expected = finder(video, "a red square", fps=2.0)

def weight(repo_id):
    return VideoLightsForMomentRetrieval.from_pretrained(repo_id).state_dict()["model.global_token"]

print(json.dumps({
    "expected": expected,
    "request": opened.pr_revision,
    "doubled": (weight("someone/saved-without-code") / weight("someone/model-without-code")).tolist(),
    "names": [
        type(VideoLightsForMomentRetrieval.from_pretrained("someone/model")).__name__,
        type(VideoLightsProcessor.from_pretrained("someone/parts")).__name__,
    ],
    "results": {
        repo_id: pipeline("video-moment-retrieval", model=f"someone/{repo_id}")(video, "a red square", fps=2.0)
        for repo_id in sys.argv[2:]
    },
    "branch": pipeline("video-moment-retrieval", model="someone/pipeline", revision="small")(
        video, "a red square", fps=2.0
    ),
}))
"""
)

TRAINER_PUSH = (
    MAKE_PARTS
    + """
from tests.support.training import small_arguments
from videolights_hf.training import VideoLightsTrainer

args = small_arguments(folder / "trained", eval_strategy="no", save_strategy="no", load_best_model_at_end=False)
VideoLightsTrainer(model, args, processing_class=processor).push_to_hub()
loaded = VideoLightsForMomentRetrieval.from_pretrained("someone/trained")
VideoLightsProcessor.from_pretrained("someone/trained").check_compatible(loaded.config)
print(json.dumps(loaded.config.to_dict()))
"""
)

PULL_WITHOUT_PACKAGE = WITHOUT_PACKAGE + textwrap.dedent(
    """
    from pathlib import Path
    import numpy as np
    from transformers import AutoModel, AutoProcessor, pipeline

    video = np.load(Path(sys.argv[1]) / "video.npy")
    saved = AutoModel.from_pretrained("someone/saved", trust_remote_code=True)
    model = AutoModel.from_pretrained("someone/parts", trust_remote_code=True)
    processor = AutoProcessor.from_pretrained("someone/parts", trust_remote_code=True)
    processor.check_compatible(model.config)
    inputs = processor(videos=processor.encode_video(video, fps=2.0), text="a red square")
    print(json.dumps({
        "names": [type(part).__name__ for part in (saved, model, processor)],
        "saliency": [part(**inputs).saliency_scores[0].tolist() for part in (saved, model)],
        "results": {
            repo_id: pipeline("video-moment-retrieval", model=f"someone/{repo_id}", trust_remote_code=True)(
                video, "a red square", fps=2.0
            )
            for repo_id in sys.argv[2:]
        },
    }))
    """
)
WHOLE = ("parts", "pipeline", "saved-pipeline")


def run_client(hub: HubServer, script: str, folder: Path, home: Path) -> dict:
    """Run a script in a process that takes the Hub to be `hub`, and read the last line that it prints."""
    home.mkdir()
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-c", script, str(folder), *WHOLE],
        capture_output=True,
        text=True,
        env={**os.environ, **hub.environment(home), "PYTHONPATH": path},
        cwd=Path(__file__).parents[2],
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    np.save(folder / "video.npy", np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8))
    return folder


@pytest.fixture(scope="module")
def with_package(hub, folder):
    return run_client(hub, PUSH_AND_PULL, folder, folder / "home")


@pytest.fixture(scope="module")
def without_package(hub, folder, with_package):
    return run_client(hub, PULL_WITHOUT_PACKAGE, folder, folder / "other-home")


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("model", MODEL | CODE | CARD),
        ("model-without-code", MODEL | CARD),
        ("saved", MODEL | CODE | CARD),
        ("saved-without-code", MODEL | CARD),
        ("parts", MODEL | CODE | CARD | PROCESSOR),
        ("pipeline", MODEL | CODE | CARD | PROCESSOR),
        ("saved-pipeline", MODEL | CODE | CARD | PROCESSOR),
    ],
)
def test_a_push_uploads_all_that_belongs_to_it_and_nothing_else(hub, with_package, repository, expected):
    assert set(hub.files(f"{OWNER}/{repository}")) == expected


def test_code_that_is_left_out_is_not_referred_to(hub, with_package):
    for repository in ("model-without-code", "saved-without-code"):
        assert b"auto_map" not in hub.files(f"{OWNER}/{repository}")["config.json"]
    assert b"auto_map" in hub.files(f"{OWNER}/model")["config.json"]


def test_a_push_takes_commit_messages_tags_branches_and_pull_requests(hub, with_package):
    def message(repository, revision="main"):
        return hub.messages[hub.find_commit(f"{OWNER}/{repository}", revision)]

    assert message("model") == "Share the model"
    assert message("saved") == "Share a folder"
    assert message("saved-pipeline") == "Share a pipeline"
    assert message("pipeline") == "Upload pipeline"
    assert message("pipeline", "small") == "Another branch"
    assert message("pipeline", with_package["request"]) == "Ask"
    for repository in ("model", "pipeline"):
        assert b"- moments" in hub.files(f"{OWNER}/{repository}")["README.md"]


def test_other_arguments_of_saving_hold_for_the_push_too(hub, with_package):
    assert with_package["doubled"] == pytest.approx([2.0] * len(with_package["doubled"]))
    assert "model.safetensors.index.json" in hub.files(f"{OWNER}/pipeline", "small")


def test_classes_load_from_the_hub_with_the_package(with_package):
    assert with_package["names"] == ["VideoLightsForMomentRetrieval", "VideoLightsProcessor"]


def test_auto_classes_load_from_the_hub_without_the_package(with_package, without_package):
    model, processor = "VideoLightsForMomentRetrieval", "VideoLightsProcessor"
    assert without_package["names"] == [model, model, processor]
    for saliency in without_package["saliency"]:
        np.testing.assert_allclose(saliency, with_package["expected"]["saliency"], atol=1e-4)


@pytest.mark.parametrize("repository", WHOLE)
def test_a_whole_repository_is_a_pipeline_with_the_package_and_without(with_package, without_package, repository):
    for found in (with_package["results"][repository], without_package["results"][repository]):
        assert_same_result(found, with_package["expected"])


def test_a_pipeline_loads_from_a_branch(with_package):
    assert_same_result(with_package["branch"], with_package["expected"])


def test_a_trainer_pushes_what_the_parts_push(hub, folder, with_package):
    config = run_client(hub, TRAINER_PUSH, folder, folder / "trainer-home")
    trained, parts = hub.files(f"{OWNER}/trained"), hub.files(f"{OWNER}/parts")
    # The trainer adds an entry of its own to the configuration.
    same = MODEL - {"config.json"} | CODE | PROCESSOR
    assert {path: trained.get(path) for path in same} == {path: parts[path] for path in same}
    assert config["auto_map"] == json.loads(parts["config.json"])["auto_map"]


PUSH_BEFORE = """
import json, sys, zipfile
from pathlib import Path
from huggingface_hub import create_repo, upload_folder
from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsProcessor, VideoMomentRetrievalPipeline

folder = Path(sys.argv[1])
with zipfile.ZipFile("tests/fixtures/checkpoint_067c346.zip") as archive:
    archive.extractall(folder / "before")
create_repo("someone/before")
upload_folder(repo_id="someone/before", folder_path=folder / "before")
model = VideoLightsForMomentRetrieval.from_pretrained("someone/before")
processor = VideoLightsProcessor.from_pretrained("someone/before")
VideoMomentRetrievalPipeline(model=model, processor=processor).push_to_hub("someone/before", revision="whole")
model.push_to_hub("someone/before", revision="model")
print("{}")
"""

PUSH_OWN_CODE = (
    WITHOUT_PACKAGE
    + """
from transformers import AutoModel

AutoModel.from_pretrained("someone/before", trust_remote_code=True).push_to_hub("someone/before", revision="own")
print("{}")
"""
)


def test_a_repository_from_before_the_move_is_pushed_again(hub, folder):
    run_client(hub, PUSH_BEFORE, folder, folder / "before-home")
    run_client(hub, PUSH_OWN_CODE, folder, folder / "before-other-home")
    before = hub.files(f"{OWNER}/before")
    assert not set(before) >= CODE
    for revision in ("whole", "model"):
        files = hub.files(f"{OWNER}/before", revision)
        assert {path for path in files if path.endswith("_videolights.py")} == CODE
        assert files["expected.json"] == before["expected.json"]
    # Code that came from the Hub pushes itself.
    own = hub.files(f"{OWNER}/before", "own")
    assert {path: own[path] for path in before if path.endswith(".py")} == {
        path: before[path] for path in before if path.endswith(".py")
    }


def assert_same_result(found: dict, expected: dict) -> None:
    np.testing.assert_allclose(found["saliency"], expected["saliency"], atol=1e-4)
    assert found["moments"] == [pytest.approx(moment, abs=1e-3) for moment in expected["moments"]]
