"""Precomputed audio features, from files through a dataset, training and evaluation to the pipeline."""

import json
import logging

import numpy as np
import pytest
import torch
from transformers import pipeline
from typer.testing import CliRunner

from tests.support.tiny_backbones import make_tiny_clip
from tests.support.training import SMALL, make_tables
from tests.support.videos import numbered_frames, write_video
from videolights_hf import VideoFeatures, VideoLightsForMomentRetrieval, VideoLightsProcessor
from videolights_hf.cli.main import app
from videolights_hf.data import FeatureDataset, StreamingFeatureDataset, VideoLightsDataCollator
from videolights_hf.data.build import BuildSettings, build_feature_dataset
from videolights_hf.data.publishing import export_parquet
from videolights_hf.training import RunData, evaluate_checkpoint, load_recipe, train_recipe
from videolights_hf.training.preparation import build_model, fit_config_to_data

AUDIO_DIM = 3
SECONDS = 24
SENTENCES = ["a red square", "a blue circle moves"]


def brief(*overrides):
    settings = {
        **{f"model.{key}": value for key, value in SMALL.items()},
        "model.video_backbones": '[["clip", 24]]',
        "model.text_backbones": '[["clip", 32]]',
        "num_train_epochs": 1,
        "per_device_train_batch_size": 4,
        "eval_epochs": 1,
        "use_cpu": "true",
        "disable_tqdm": "true",
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    return load_recipe("qvhighlights/videolights", [*lines, f"audio_dim={AUDIO_DIM}", *overrides])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three short videos with features of a tiny CLIP and of their sound, and a model trained on them."""
    root = tmp_path_factory.mktemp("audio")
    clip = make_tiny_clip(image_size=32)
    processor = VideoLightsProcessor([["clip", 24]], [["clip", 32]], backbone_checkpoints={})
    processor.set_backbone(clip)
    rng = np.random.default_rng(0)
    rows = []
    for folder in ("videos", "clip_features", "clip_text_features", "audio_features"):
        (root / folder).mkdir()
    for index in range(3):
        path = write_video(root / "videos" / f"v{index}.mp4", numbered_frames(np.arange(2 * SECONDS) + index), 2)
        video = processor.encode_video(path)
        np.savez(root / "clip_features" / f"v{index}.npz", features=video.features["clip"].astype(np.float16))
        # One row less than clips, as where the sound ends early.
        audio = rng.standard_normal((video.num_clips - 1, AUDIO_DIM)).astype(np.float16)
        np.savez(root / "audio_features" / f"v{index}.npz", features=audio)
        for sentence, tokens in zip(SENTENCES, clip.encode_text(SENTENCES), strict=True):
            qid = len(rows)
            np.savez(root / "clip_text_features" / f"qid{qid}.npz", last_hidden_state=tokens.astype(np.float16))
            rows.append(
                {
                    "qid": qid,
                    "query": sentence,
                    "vid": f"v{index}",
                    "duration": SECONDS,
                    "relevant_windows": [[4, 8]],
                    "relevant_clip_ids": [2, 3],
                    "saliency_scores": [[4, 3, 2], [1, 2, 3]],
                }
            )
    (root / "annotations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tables = build_feature_dataset(
        root / "dataset",
        {"train": root / "annotations.jsonl", "val": root / "annotations.jsonl"},
        {"clip": root / "clip_features"},
        {"clip": root / "clip_text_features"},
        audio_folder=root / "audio_features",
        settings=BuildSettings(progress=False),
    )
    metrics = train_recipe(brief(), RunData(tables), root / "model")
    processor = VideoLightsProcessor.from_config(
        VideoLightsForMomentRetrieval.from_pretrained(root / "model").config, backbone_checkpoints={}
    )
    processor.set_backbone(clip)
    processor.save_pretrained(root / "model")
    return root, tables, metrics


def audio_of(root, vid):
    return np.load(root / "audio_features" / f"{vid}.npz")["features"]


def test_the_trained_model_and_its_processor_take_audio(run):
    root, _, metrics = run
    model = VideoLightsForMomentRetrieval.from_pretrained(root / "model")
    assert model.config.audio_dim == AUDIO_DIM
    assert VideoLightsProcessor.from_pretrained(root / "model").audio_dim == AUDIO_DIM
    assert np.isfinite(metrics["eval_loss"])


def test_the_pipeline_on_a_raw_video_computes_what_the_dataset_gives_the_model(run):
    root, tables, _ = run
    finder = pipeline("video-moment-retrieval", model=str(root / "model"), device="cpu")
    model = finder.model
    dataset = FeatureDataset.from_config(tables, "val", model.config)
    batch = VideoLightsDataCollator()([dataset[index] for index in range(len(dataset))])
    batch.pop("labels")
    with torch.no_grad():
        expected = model(**batch).saliency_scores.numpy()
    assert batch["audio_features"].shape == (6, SECONDS // 2 - 1, AUDIO_DIM)
    for index, row in enumerate(dataset.annotations):
        path, audio = root / "videos" / f"{row['vid']}.mp4", audio_of(root, row["vid"])
        found = finder(str(path), row["query"], audio=audio)
        np.testing.assert_allclose(found["saliency"], expected[index], atol=5e-3)
        other = finder(str(path), row["query"], audio=-audio)
        assert not np.allclose(found["saliency"], other["saliency"], atol=5e-3)


def test_evaluation_uses_audio(run, tmp_path):
    root, tables, _ = run
    metrics = evaluate_checkpoint(root / "model", tables, "val", tmp_path, brief())
    assert any(name.startswith("val_") and "mAP" in name for name in metrics)
    assert (tmp_path / "val_predictions.jsonl").is_file()


def test_streamed_items_have_the_same_audio(run, tmp_path):
    root, tables, _ = run
    export_parquet(tables, tmp_path / "parquet")
    config = VideoLightsForMomentRetrieval.from_pretrained(root / "model").config
    stored = {item["qid"]: item for item in FeatureDataset.from_config(tables, "val", config)}
    streamed = list(StreamingFeatureDataset.from_config(tmp_path / "parquet", "val", config))
    assert len(streamed) == len(stored)
    for item in streamed:
        np.testing.assert_array_equal(item["audio_features"], stored[item["qid"]]["audio_features"])


def test_a_raw_video_without_its_audio_is_refused(run):
    root, _, _ = run
    finder = pipeline("video-moment-retrieval", model=str(root / "model"), device="cpu")
    with pytest.raises(ValueError, match="expects audio features of width 3: none were given"):
        finder(str(root / "videos" / "v0.mp4"), "a red square")


def test_the_command_reads_audio_features(run, tmp_path):
    root, _, _ = run
    arguments = ["predict", str(root / "videos" / "v0.mp4"), "a red square", "--model", str(root / "model")]
    arguments += ["--device", "cpu", "--json", str(tmp_path / "found.json")]
    result = CliRunner().invoke(app, [*arguments, "--audio", str(root / "audio_features" / "v0.npz")])
    assert result.exit_code == 0, result.output
    finder = pipeline("video-moment-retrieval", model=str(root / "model"), device="cpu")
    expected = finder(str(root / "videos" / "v0.mp4"), "a red square", audio=audio_of(root, "v0"))
    (found,) = json.loads((tmp_path / "found.json").read_text())["predictions"]
    np.testing.assert_allclose(found["saliency"], expected["saliency"], atol=1e-5)

    for extra, message in (
        ([], "expects audio features of width 3"),
        (["--audio", str(tmp_path / "nothing.npz")], "no such file"),
    ):
        result = CliRunner().invoke(app, [*arguments, *extra])
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())


@pytest.mark.parametrize("missing", [1, 2])
def test_sound_that_ends_before_a_long_video_cuts_the_video_to_it(run, missing):
    """Windows over a video longer than the model sees at once end where the sound ends."""
    root, _, _ = run
    model = VideoLightsForMomentRetrieval.from_pretrained(root / "model", max_video_length=6)
    processor = VideoLightsProcessor.from_pretrained(root / "model", max_video_length=6)
    finder = pipeline("video-moment-retrieval", model=model, processor=processor, device="cpu")
    rng = np.random.default_rng(0)
    features, audio = rng.standard_normal((14, 24)), rng.standard_normal((14, AUDIO_DIM))
    cut = 14 - missing
    found = finder(VideoFeatures({"clip": features}, 28.0, 2.0), SENTENCES, audio=audio[:cut])
    expected = finder(VideoFeatures({"clip": features[:cut]}, 28.0, 2.0), SENTENCES, audio=audio[:cut])
    assert [len(result["saliency"]) for result in found] == [cut, cut]
    assert found == expected


class TestFittingToData:
    def tables(self, width=None):
        from datasets import Dataset

        from videolights_hf.data.tables import encode_array, video_schema

        tables = make_tables()
        if width is not None:
            rows = [
                row | {"video_audio": encode_array(np.ones((row["num_clips"], width), np.float16))}
                for row in tables["videos"]
            ]
            tables["videos"] = Dataset.from_list(
                rows, features=video_schema(["slowfast", "clip", "blip2", "i3d", "audio"])
            )
        return tables

    def recipe(self, *overrides):
        return load_recipe("qvhighlights/videolights", [f"model.{k}={v}" for k, v in SMALL.items()] + list(overrides))

    def test_the_width_comes_from_the_data(self, caplog):
        with caplog.at_level(logging.INFO):
            config = fit_config_to_data(self.recipe("audio_dim=7"), self.tables(width=5))
        assert config.audio_dim == 5
        assert "another width than the recipe's audio_dim: 5 is used" in caplog.text

    def test_a_width_that_agrees_is_not_remarked_upon(self, caplog):
        assert fit_config_to_data(self.recipe("audio_dim=5"), self.tables(width=5)).audio_dim == 5
        assert "audio" not in caplog.text

    def test_audio_that_the_data_lacks_is_an_error(self):
        with pytest.raises(ValueError, match=r"needs audio features \(audio_dim=7\), the data has none"):
            fit_config_to_data(self.recipe("audio_dim=7"), self.tables())

    def test_audio_that_the_recipe_leaves_out_is_mentioned(self, caplog):
        with caplog.at_level(logging.WARNING):
            assert fit_config_to_data(self.recipe(), self.tables(width=5)).audio_dim == 0
        assert "audio_dim=5 uses them" in caplog.text

    def test_a_checkpoint_without_audio_is_no_start_for_a_run_with_it(self, tmp_path):
        config = fit_config_to_data(self.recipe(), self.tables())
        build_model(config).save_pretrained(tmp_path)
        with_audio = fit_config_to_data(self.recipe("audio_dim=5"), self.tables(width=5))
        with pytest.raises(ValueError, match="was trained with the audio_dim 0, this run has 5"):
            build_model(with_audio, tmp_path)
