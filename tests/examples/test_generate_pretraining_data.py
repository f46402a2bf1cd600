"""From a folder of videos and annotations to a finetuned model on a raw video, by the three commands."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import typer
from transformers import pipeline
from typer.testing import CliRunner

from examples import generate_pretraining_data as script
from examples import train
from tests.support.tiny_backbones import make_tiny_clip
from tests.support.tiny_captioners import save_blip_captioner, save_blip_retrieval
from videolights_hf import VideoLightsProcessor
from videolights_hf.common.processes import Processes
from videolights_hf.corpus import CorpusModels, CorpusSettings, PretrainingSources, generate_pretraining_data
from videolights_hf.data import get_dataset_spec, load_feature_dataset, read_annotations, read_backbone_checkpoints
from videolights_hf.data.tables import decode_array
from videolights_hf.demo import make_world
from videolights_hf.extraction import ExtractionSettings, SettingsMismatchError

PRETRAINING = dataclasses.replace(get_dataset_spec("pretraining"), clip_length=1.0)
WIDTHS = {"video_backbones": [["clip", 24]], "text_backbones": [["clip", 32]]}
SETTINGS = {
    **WIDTHS,
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


def generate(world, output, lines=None, annotated=True, models=None, backbones=True, corpus=None, **sources):
    """Make the data by what the script calls, with settings that are quick; the lines it reports go to a list."""
    annotations = {split: world / f"{split}.jsonl" for split in ("train", "val")} if annotated else {}
    generation = {"do_sample": True, "num_beams": 1, "min_new_tokens": 1, "max_new_tokens": 4}
    generate_pretraining_data(
        PretrainingSources(**{"videos": world / "videos", "annotations": annotations, **sources}),
        output,
        CorpusSettings(**{"caption_frame_size": 48, "clip_frame_size": 48, **(corpus or {})}),
        CorpusModels(world / "captioner", world / "scorer", **{"generation": generation, **(models or {})}),
        ExtractionSettings(
            clip_length=1,
            checkpoints={"clip": str(world / "clip")} if backbones else {},
            processes=Processes.current("cpu"),
            progress=False,
        ),
        report=(lines if lines is not None else []).append,
    )


def run_training(*options):
    settings = [f"--set={name}={json.dumps(value)}" for name, value in SETTINGS.items()]
    app = typer.Typer()
    app.command()(train.main)
    result = CliRunner().invoke(app, [*map(str, options), *settings])
    assert result.exit_code == 0, result.output + str(result.exception)


@pytest.fixture(scope="module")
def out(world, tmp_path_factory):
    """What the first command wrote."""
    folder = tmp_path_factory.mktemp("out")
    generate(world, folder)
    return folder


@pytest.mark.slow
class TestThreeCommands:
    def test_first_makes_a_dataset_of_captions_and_annotations(self, out, world):
        tables = load_feature_dataset(out / "dataset")
        assert set(tables) == {"videos", "pretrain", "train", "val"}
        captions = read_annotations(out / "corpus.jsonl", PRETRAINING)
        assert sorted(tables["pretrain"]["qid"]) == sorted(row["qid"] for row in captions)
        assert set(tables["pretrain"]["vid"]) == {"train_0_00000", "train_0_00001"}
        assert set(tables["val"]["vid"]) == {"validation_0_00000"}
        assert set(tables["pretrain"]["label_rule"]) == {"window"}
        assert set(tables["val"]["label_rule"]) == {"graded"}
        assert tables["val"].features["qid"].dtype == "int64"
        assert decode_array(tables["pretrain"][0]["text_clip"]).shape[1] == 32
        assert decode_array(tables["videos"][0]["video_clip"]).shape[1] == 24
        assert read_backbone_checkpoints(out / "dataset") == {"clip": str(world / "clip")}
        assert [json.loads(line)["vid"] for line in (out / "failed.jsonl").read_text().splitlines()] == ["broken"]

    def test_third_checkpoint_runs_in_the_pipeline_on_a_raw_video(self, out, world, tmp_path):
        data = ["--data", out / "dataset"]
        run_training("--recipe", "pretraining/blip", *data, "--set=train_split=pretrain", "--output", tmp_path / "pt")
        recipe = ["--recipe", "qvhighlights/videolights-pt"]
        run_training(*recipe, *data, "--init-from", tmp_path / "pt", "--output", tmp_path / "finetuned")
        # The folder is all that is needed: it was moved, and nothing else is there any more.
        checkpoint = shutil.move(tmp_path / "finetuned", tmp_path / "elsewhere")
        assert VideoLightsProcessor.from_pretrained(checkpoint).backbone_checkpoints == {"clip": "backbones/clip"}
        retrieve = pipeline("video-moment-retrieval", model=str(checkpoint))
        result = retrieve(str(world / "videos" / "validation_0_00000.mp4"), "a red circle")
        assert result["moments"]
        (row,) = (row for row in load_feature_dataset(out / "dataset")["videos"] if row["vid"] == "validation_0_00000")
        assert len(result["saliency"]) == row["num_clips"]

    def test_first_repeated_changes_nothing(self, out, world):
        files = [path for path in out.rglob("*") if path.is_file()]
        before = {path: path.read_bytes() for path in files}
        lines = []
        generate(world, out, lines)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
        printed = "\n".join(lines)
        assert "4 videos in" in printed
        assert "1 left out: 1 in evaluation splits, 0 of their source" in printed
        assert "not captioned: broken" in printed


class TestOptions:
    def test_videos_of_excluded_files_are_not_captioned(self, world, tmp_path):
        lines = []
        generate(world, tmp_path, lines, annotated=False, backbones=False, exclude=[world / "val.jsonl"])
        vids = {row["vid"] for row in read_annotations(tmp_path / "corpus.jsonl", PRETRAINING)}
        assert vids == {"train_0_00000", "train_0_00001"}
        assert not (tmp_path / "dataset").exists()
        assert "1 left out" in lines[0]

    def test_form_of_the_paper_scores_by_similarity(self, world, tmp_path):
        generate(world, tmp_path, backbones=False, corpus={"form": "paper"})
        settings = json.loads((tmp_path / "corpus_settings.json").read_text())
        assert settings["scorer"]["scoring"] == "similarity"
        assert settings["captioner"]["prompt"] is None

    def test_form_of_the_release_has_its_prompt_and_lengths(self, world, tmp_path):
        captioner, scorer = CorpusModels(world / "captioner", world / "scorer").load(CorpusSettings(), "cpu")
        assert (captioner.prompt, scorer.scoring) == ("a picture of ", "matching")
        assert captioner.generation == {
            "num_beams": 3,
            "do_sample": False,
            "min_new_tokens": 6,
            "max_new_tokens": 26,
        }

    def test_script_does_the_same(self, out, world, tmp_path, capsys):
        shutil.copytree(out, tmp_path / "out")
        options = {"captioner": str(world / "captioner"), "scorer": str(world / "scorer"), "device": "cpu"}
        with pytest.raises(SettingsMismatchError, match=r"clip_length is 1\.0 there and 2\.0 now"):
            script.main(str(world / "videos"), tmp_path / "out", exclude=[f"{world}/val.jsonl"], **options)
        assert "4 videos in" in capsys.readouterr().out


class TestFaults:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"corpus": {"form": "release2"}}, "Did you mean 'release'"),
            ({"dataset": "qvhighlight"}, "Did you mean 'qvhighlights'"),
            ({"exclude": ["/nowhere.jsonl"]}, r"nowhere\.jsonl"),
            ({"corpus": {"interval_length": 0}}, "`interval_length` must be positive"),
            ({"models": {"generation": {"num_beems": 2}}}, "Did you mean 'num_beams'"),
            ({"models": {"batch_size": 0}}, "batch size must be at least 1"),
            ({"annotations": {"pretrain": "/x.jsonl"}}, "'pretrain' is made here"),
        ],
    )
    def test_are_found_before_anything_is_captioned(self, world, tmp_path, options, message):
        with pytest.raises((ValueError, OSError), match=message):
            generate(world, tmp_path, **options)
        assert not (tmp_path / "corpus.jsonl").exists()

    def test_a_captioner_that_is_nowhere(self, world, tmp_path):
        with pytest.raises(OSError, match="no folder /nowhere to load the captioner from"):
            CorpusModels("/nowhere").load(CorpusSettings(), "cpu")

    def test_all_videos_left_out(self, world, tmp_path):
        (tmp_path / "videos").mkdir()
        for video in (world / "videos").glob("*_0_*.mp4"):
            shutil.copy(video, tmp_path / "videos")
        exclude = [world / "val.jsonl", world / "train.jsonl"]
        with pytest.raises(ValueError, match="All 3 videos are left out"):
            generate(world, tmp_path / "out", annotated=False, videos=tmp_path / "videos", exclude=exclude)

    def test_no_videos_at_all(self, world, tmp_path):
        (tmp_path / "videos").mkdir()
        with pytest.raises(ValueError, match="No videos found in"):
            generate(world, tmp_path / "out", annotated=False, videos=tmp_path / "videos")

    def test_splits_that_contradict_each_other(self, world, tmp_path):
        row = json.loads((world / "train.jsonl").read_text().splitlines()[0])
        (tmp_path / "other.jsonl").write_text(json.dumps({**row, "query": "something else"}) + "\n")
        annotations = {"train": world / "train.jsonl", "other": tmp_path / "other.jsonl"}
        with pytest.raises(ValueError, match="Number the queries consecutively"):
            generate(world, tmp_path / "out", annotations=annotations)
        assert not (tmp_path / "out").exists()
