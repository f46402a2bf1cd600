import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.support.tiny_backbones import save_tiny_siglip
from tests.support.training import make_tables, small_config
from videolights_hf import VideoMomentRetrievalPipeline, ZeroShotConfig, ZeroShotForMomentRetrieval
from videolights_hf.demo import demo_checkpoint, demo_videos
from videolights_hf.inference.zero_shot import zero_shot_pipeline
from videolights_hf.training import evaluate_checkpoint, load_recipe
from videolights_hf.training.preparation import build_model

VIDEO = str(demo_videos() / "demo_0_00000.mp4")


@pytest.fixture(scope="module")
def finder():
    return zero_shot_pipeline(demo_checkpoint() / "backbones" / "clip", clip_length=1.0, device="cpu")


def test_it_finds_what_a_sentence_describes(finder):
    result = finder(VIDEO, "There is a red circle on stripes.", top_k=1)
    (moment,) = result["moments"]
    assert abs(moment["start"] - 10) <= 1
    assert abs(moment["end"] - 15) <= 1
    assert moment["score"] > 0.9
    assert len(result["saliency"]) == 72
    assert 10 <= np.argmax(result["saliency"]) < 15


def test_moments_are_real_ones(finder):
    for moment in finder(VIDEO, "a purple heart", top_k=None, nms_threshold=None)["moments"]:
        assert moment["score"] > 0
        assert moment["start"] < moment["end"]


def test_a_saved_folder_is_a_model_like_any_other(finder, tmp_path):
    finder.save_pretrained(tmp_path)
    again = VideoMomentRetrievalPipeline.from_pretrained(tmp_path, device="cpu")
    assert again(VIDEO, "a purple heart")["moments"] == finder(VIDEO, "a purple heart")["moments"]


@pytest.mark.slow
def test_a_saved_folder_runs_without_the_package(finder, tmp_path):
    finder.save_pretrained(tmp_path / "model")
    script = f"""
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "videolights_hf":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from transformers import pipeline

finder = pipeline("video-moment-retrieval", model={str(tmp_path / "model")!r}, trust_remote_code=True, device="cpu")
print(json.dumps(finder({VIDEO!r}, "a purple heart")["moments"]))
"""
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == finder(VIDEO, "a purple heart")["moments"]


def test_siglip_works_as_well(tmp_path):
    result = zero_shot_pipeline(save_tiny_siglip(tmp_path), device="cpu")(VIDEO, "a purple heart")
    assert len(result["saliency"]) == 36


def test_it_is_evaluated_on_feature_datasets_but_nothing_starts_from_it(tmp_path):
    pairs = [["clip", 4]]
    config = ZeroShotConfig(video_backbones=pairs, text_backbones=pairs, max_text_length=32)
    ZeroShotForMomentRetrieval(config).save_pretrained(tmp_path / "model")
    recipe = load_recipe("qvhighlights/videolights", ["use_cpu=true"])
    metrics = evaluate_checkpoint(tmp_path / "model", make_tables(), "val", tmp_path / "scores", recipe)
    assert 0 <= metrics["val_MR-full-mAP"] <= 100
    assert "val_loss" not in metrics
    assert len((tmp_path / "scores" / "val_predictions.jsonl").read_text().splitlines()) == 7
    with pytest.raises(ValueError, match="no weights to start from"):
        build_model(small_config(), tmp_path / "model")


@pytest.mark.parametrize("content", ['{"image_processor_type": []}', "[]", "{"])
def test_a_damaged_image_processor_is_one_error_that_names_the_folder(tmp_path, content):
    clip = shutil.copytree(demo_checkpoint() / "backbones" / "clip", tmp_path / "clip")
    (clip / "preprocessor_config.json").write_text(content)
    with pytest.raises(OSError, match=r"backbone 'similarity' cannot be loaded from .*/clip: "):
        zero_shot_pipeline(clip, device="cpu")
