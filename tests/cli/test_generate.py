"""`videolights generate`, and from its dataset by `videolights train` to a model that runs on a raw video."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from transformers import pipeline
from typer.testing import CliRunner

from tests.support.tiny_backbones import make_tiny_clip
from tests.support.tiny_captioners import save_blip_captioner, save_blip_retrieval
from videolights_hf import VideoLightsProcessor
from videolights_hf.cli.main import app
from videolights_hf.data import get_dataset_spec, load_feature_dataset, read_annotations, read_backbone_checkpoints
from videolights_hf.data.tables import decode_array
from videolights_hf.demo import make_world

PRETRAINING = dataclasses.replace(get_dataset_spec("pretraining"), clip_length=1.0)
SETTINGS = {
    "video_backbones": [["clip", 24]],
    "text_backbones": [["clip", 32]],
    "clip_length": 1,
    "max_video_length": 100,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "num_queries": 3,
    "num_train_epochs": 1,
    "eval_epochs": 1,
    "per_device_train_batch_size": 8,
    "moment_bounds": None,
    "use_cpu": True,
    "disable_tqdm": True,
}
runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Rendered videos of two splits in one folder, their annotation files, and models of random weights."""
    root = tmp_path_factory.mktemp("world")
    (root / "videos").mkdir()
    for split, family, count in (("train", "train", 2), ("val", "validation", 1)):
        rows = make_world(root / family, family, range(count))
        (root / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for video in (root / family).glob("*.mp4"):
            shutil.move(video, root / "videos")
    (root / "videos" / "broken.mp4").write_bytes(b"no video")
    save_blip_captioner(root / "captioner")
    save_blip_retrieval(root / "scorer")
    make_tiny_clip(projection_dim=24, width=32).save_pretrained(root / "clip")
    return root


def generate(world, output, *options, annotated=True):
    pairs = {
        "--captioner": world / "captioner",
        "--scorer": world / "scorer",
        "--backbone": f"clip={world}/clip",
        "--caption-frame-size": 48,
        "--clip-frame-size": 48,
        "--clip-length": 1,
        "--device": "cpu",
    }
    command = ["generate", world / "videos", output]
    command += [word for name, value in pairs.items() if name not in options for word in (name, value)]
    if annotated:
        command += ["--annotations", f"train={world}/train.jsonl", "--annotations", f"val={world}/val.jsonl"]
    for setting in ("do_sample=true", "num_beams=1", "max_new_tokens=4"):
        command += ["--generation", setting]
    return runner.invoke(app, list(map(str, [*command, *options])))


def train(*options):
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    result = runner.invoke(app, ["train", *map(str, options), *settings])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def out(world, tmp_path_factory):
    """What the command wrote."""
    folder = tmp_path_factory.mktemp("out")
    result = generate(world, folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.slow
class TestFromVideosToAModel:
    def test_makes_a_dataset_of_captions_and_annotations(self, out, world):
        tables = load_feature_dataset(out / "dataset")
        assert set(tables) == {"videos", "pretrain", "train", "val"}
        captions = read_annotations(out / "corpus.jsonl", PRETRAINING)
        assert sorted(tables["pretrain"]["qid"]) == sorted(row["qid"] for row in captions)
        assert set(tables["pretrain"]["vid"]) == {"train_0_00000", "train_0_00001"}
        assert set(tables["val"]["vid"]) == {"validation_0_00000"}
        assert decode_array(tables["pretrain"][0]["text_clip"]).shape[1] == 32
        assert decode_array(tables["videos"][0]["video_clip"]).shape[1] == 24
        assert read_backbone_checkpoints(out / "dataset") == {"clip": str(world / "clip")}

    def test_finetuned_model_runs_in_the_pipeline_on_a_raw_video(self, out, world, tmp_path):
        data = ["--data", out / "dataset"]
        train("--recipe", "pretraining/blip", *data, "--set", "train_split=pretrain", "--output", tmp_path / "pt")
        recipe = ["--recipe", "qvhighlights/videolights-pt"]
        train(*recipe, *data, "--init-from", tmp_path / "pt", "--output", tmp_path / "finetuned")
        # The folder is all that is needed: it was moved, and nothing else is there any more.
        checkpoint = shutil.move(tmp_path / "finetuned", tmp_path / "elsewhere")
        assert VideoLightsProcessor.from_pretrained(checkpoint).backbone_checkpoints == {"clip": "backbones/clip"}
        retrieve = pipeline("video-moment-retrieval", model=str(checkpoint))
        result = retrieve(str(world / "videos" / "validation_0_00000.mp4"), "a red circle")
        assert result["moments"]

    def test_repeated_it_changes_nothing(self, out, world):
        files = [path for path in out.rglob("*") if path.is_file()]
        before = {path: path.read_bytes() for path in files}
        result = generate(world, out)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
        assert "1 left out: 1 in evaluation splits, 0 of their source" in result.stdout

    def test_labels_may_be_the_scores_of_the_same_corpus(self, out, world, tmp_path):
        folder = tmp_path / "scored"
        shutil.copytree(out, folder)
        refused = generate(world, folder, "--labels", "scores")
        assert "built from other sources" in refused.stderr
        result = generate(world, folder, "--labels", "scores", "--overwrite")
        assert result.exit_code == 0, result.output
        assert (folder / "corpus.jsonl").read_bytes() == (out / "corpus.jsonl").read_bytes()
        tables = load_feature_dataset(folder / "dataset")
        assert set(tables["pretrain"]["label_rule"]) == {"scores"}
        assert set(tables["train"]["label_rule"]) == {"graded"}


def test_excluded_videos_are_not_captioned_and_options_reach_the_corpus(world, tmp_path):
    options = ["--exclude", world / "val.jsonl", "--captions-only", "--form", "paper", "--interval-length", "20"]
    result = generate(world, tmp_path, *options, annotated=False)
    assert result.exit_code == 0, result.output
    vids = {row["vid"] for row in read_annotations(tmp_path / "corpus.jsonl", PRETRAINING)}
    assert vids == {"train_0_00000", "train_0_00001"}
    assert not (tmp_path / "dataset").exists()
    settings = json.loads((tmp_path / "corpus_settings.json").read_text())
    assert settings["scorer"]["scoring"] == "similarity"
    assert settings["interval_length"] == 20
    generation = settings["captioner"]["generation"]
    assert (generation["max_new_tokens"], generation["num_beams"], generation["do_sample"]) == (4, 1, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--form", "draft"], "'release', 'paper'"),
        (["--labels", "draft"], "'window', 'scores'"),
        (["--backbone", "clop"], "Did you mean 'clip'"),
        (["--dataset", "qvhighlight"], "Did you mean 'qvhighlights'"),
        (["--captioner", "/nowhere"], "/nowhere"),
        (["--generation", "num_beems=2"], "Did you mean 'num_beams'"),
        (["--generation", "num_beams"], "'num_beams' is not NAME=VALUE"),
        (["--generation", "stop=[a"], "not YAML"),
        (["--exclude", "/nowhere.jsonl"], "No such file or directory: /nowhere.jsonl"),
        (["--interval-length", "0"], "`interval_length` must be positive"),
        (["--batch-size", "0"], "batch size must be at least 1"),
        (["--annotations", "pretrain=/x.jsonl"], "'pretrain'"),
        (["--annotations", "pretrain"], "'pretrain' is not SPLIT=FILE"),
    ],
)
def test_faults_are_one_clear_line(world, tmp_path, options, message):
    result = generate(world, tmp_path, *options)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert result.exit_code == 2 or result.stderr.startswith("Error: ")
    assert result.exit_code == 2 or result.stderr.count("\n") == 1
    assert not (tmp_path / "corpus.jsonl").exists()
