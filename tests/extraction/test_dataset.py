import json

import numpy as np
import pytest
import torch

from tests.support.corpora import NumberBackbone, write_corpus
from tests.support.tiny_backbones import make_tiny_blip2, make_tiny_clip, make_tiny_slowfast
from tests.support.videos import write_video
from videolights_hf import (
    VideoLightsConfig,
    VideoLightsForMomentRetrieval,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.backbones.runner import VideoEncoder
from videolights_hf.data import FeatureBuildError, FeatureDataset, VideoLightsDataCollator
from videolights_hf.data.tables import decode_array
from videolights_hf.extraction import (
    DatasetTarget,
    ExtractionSettings,
    extract_feature_dataset,
    find_videos,
    load_video_features,
)
from videolights_hf.video.reader import read_video_metadata


def extract(folder, videos, *backbones, annotations=None, clip_length=None, **options):
    annotations = annotations or {"train": folder / "train.jsonl", "val": folder / "val.jsonl"}
    target = DatasetTarget(folder / "dataset", annotations, **options)
    settings = ExtractionSettings(clip_length=clip_length, progress=False)
    return extract_feature_dataset(target, videos, folder / "features", backbones, settings)


def make_numbers(video):
    (encoded,) = VideoEncoder([NumberBackbone()]).encode([video])
    return encoded.features["numbers"]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path):
    """Five videos with two queries each; the last one is the validation split's."""
    (tmp_path / "videos").mkdir()
    rows = []
    for vid, path in write_corpus(tmp_path / "videos", 5).items():
        duration = read_video_metadata(path).duration
        for half, window in enumerate(([0, 1], [1, duration])):
            row = {"qid": len(rows), "query": f"query {len(rows)}", "vid": vid, "duration": duration}
            rows.append({**row, "relevant_windows": [window], "half": half})
    write_rows(tmp_path / "train.jsonl", rows[:8])
    write_rows(tmp_path / "val.jsonl", rows[8:])
    return tmp_path


class TestDataset:
    def test_annotations_and_features_come_together(self, folder):
        clip = make_tiny_clip()
        tables, summary = extract(folder, find_videos(folder / "videos"), NumberBackbone(), clip)
        assert (summary.done, summary.failed) == (5, ())
        assert {name: len(table) for name, table in tables.items()} == {"videos": 5, "train": 8, "val": 2}
        for row in tables["videos"]:
            with np.load(folder / "features" / "clip_features" / f"{row['vid']}.npz") as file:
                assert np.array_equal(decode_array(row["video_clip"]), file["features"])
        assert [name for name in tables["videos"].column_names if name.startswith("video_")] == [
            "video_numbers",
            "video_clip",
        ]
        (expected,) = clip.encode_text(["query 9"])
        np.testing.assert_allclose(decode_array(tables["val"][1]["text_clip"]), expected, rtol=2e-3, atol=1e-3)

    def test_precomputed_audio_features_go_in(self, folder):
        (folder / "audio").mkdir()
        videos = find_videos(folder / "videos")
        for vid, video in videos.items():
            clips = len(make_numbers(video))
            np.savez(folder / "audio" / f"{vid}.npz", features=np.full((clips, 4), 0.5, np.float32))
        tables, _ = extract(folder, videos, make_tiny_clip(), audio_folder=folder / "audio")
        assert decode_array(tables["videos"][0]["video_audio"]).shape[1] == 4

    def test_only_annotated_videos_are_encoded_and_missing_ones_reported(self, folder):
        videos = find_videos(folder / "videos")
        del videos["video_01"]
        tables, summary = extract(
            folder, videos, NumberBackbone(), make_tiny_clip(), annotations={"train": folder / "train.jsonl"}
        )
        assert [failure.vid for failure in summary.failed] == ["video_01"]
        assert tables["videos"]["vid"][:] == ["video_00", "video_02", "video_03"]
        assert not (folder / "features" / "clip_features" / "video_04.npz").exists()

    def test_repeating_the_call_takes_in_what_was_mended(self, folder):
        good = (folder / "videos" / "video_02.mp4").read_bytes()
        (folder / "videos" / "video_02.mp4").write_text("no video")
        backbones = NumberBackbone(), make_tiny_clip()
        tables, _ = extract(folder, find_videos(folder / "videos"), *backbones)
        assert len(tables["videos"]) == 4
        (folder / "videos" / "video_02.mp4").write_bytes(good)
        tables, summary = extract(folder, find_videos(folder / "videos"), *backbones)
        assert (summary.done, summary.skipped) == (1, 4)
        assert {name: len(table) for name, table in tables.items()} == {"videos": 5, "train": 8, "val": 2}
        built = (folder / "dataset" / "build_report.json").stat().st_mtime_ns
        extract(folder, find_videos(folder / "videos"), *backbones)
        assert (folder / "dataset" / "build_report.json").stat().st_mtime_ns == built

    def test_a_dataset_of_other_sources_is_not_replaced(self, folder):
        extract(folder, find_videos(folder / "videos"), make_tiny_clip())
        rows = [json.loads(line) for line in (folder / "val.jsonl").read_text().splitlines()]
        write_rows(folder / "val.jsonl", [*rows, {**rows[0], "qid": 100, "query": "a new one"}])
        with pytest.raises(FileExistsError, match="other sources"):
            extract(folder, find_videos(folder / "videos"), make_tiny_clip())
        tables, _ = extract(folder, find_videos(folder / "videos"), make_tiny_clip(), overwrite=True)
        assert len(tables["val"]) == 3

    def test_strict_names_what_has_no_features(self, folder):
        (folder / "videos" / "video_02.mp4").write_text("no video")
        with pytest.raises(FeatureBuildError, match="no video_02"):
            extract(folder, find_videos(folder / "videos"), make_tiny_clip(), strict=True)

    def test_each_split_may_be_of_a_dataset_of_its_own(self, folder):
        videos = find_videos(folder / "videos")
        tables, _ = extract(
            folder, videos, make_tiny_clip(), dataset={"train": "pretraining", "val": "custom"}, clip_length=1
        )
        assert tables["train"][0]["label_rule"] == "window"
        assert tables["val"][0]["clip_length"] == 1.0
        with pytest.raises(ValueError, match=r"One clip length .* 1\.0, 2\.0"):
            extract(folder, videos, make_tiny_clip(), dataset={"train": "charades_sta", "val": "custom"})

    def test_a_qid_stands_for_one_sentence_in_all_splits(self, folder):
        rows = [json.loads(line) for line in (folder / "val.jsonl").read_text().splitlines()]
        write_rows(folder / "val.jsonl", [{**rows[0], "qid": 0}])
        with pytest.raises(ValueError, match="qid '0' of split 'val' is 'query 8', in another split 'query 0'"):
            extract(folder, find_videos(folder / "videos"), make_tiny_clip())


@pytest.fixture(scope="module")
def backbones():
    return [make_tiny_slowfast(), make_tiny_clip(), make_tiny_blip2()]


@pytest.fixture(scope="module")
def config(backbones):
    return VideoLightsConfig(
        video_backbones=[[backbone.name, backbone.video_dim] for backbone in backbones],
        text_backbones=[[backbone.name, backbone.text_dim] for backbone in backbones if backbone.text_dim],
        hidden_size=16,
        num_attention_heads=4,
        intermediate_size=24,
        clip_length=1.0,
    )


@pytest.fixture(scope="module")
def processor(config, backbones):
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={})
    for backbone in backbones:
        processor.set_backbone(backbone)
    return processor


@pytest.fixture(scope="module")
def extracted(backbones, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_path")
    (folder / "videos").mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for index, (rate, count) in enumerate([(25, 150), (12, 80), (30, 260), (10, 5)]):
        frames = generator.integers(0, 256, (count, 9, 12, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
        path = write_video(folder / "videos" / f"v{index}.mp4", frames, rate)
        duration = read_video_metadata(path).duration
        rows.append({"qid": index, "query": f"A red square, {index}!", "vid": f"v{index}", "duration": duration})
    write_rows(folder / "val.jsonl", rows)
    for backbone in backbones:
        backbone.batch_size = 7
    videos = find_videos(folder / "videos")
    tables, summary = extract(folder, videos, *backbones, annotations={"val": folder / "val.jsonl"}, clip_length=1)
    assert summary.done == 4
    return folder, rows, tables


class TestOnePath:
    """What the pipeline computes for a raw video is what extraction wrote for training."""

    def test_files_hold_what_the_processor_computes_to_half_precision(self, processor, extracted):
        folder, rows, _ = extracted
        for row in rows:
            video = processor.encode_video(folder / "videos" / f"{row['vid']}.mp4")
            assert list(video.features) == ["slowfast", "clip", "blip2"]
            for name, expected in video.features.items():
                with np.load(folder / "features" / f"{name}_features" / f"{row['vid']}.npz") as file:
                    found = file["features"]
                assert found.shape == expected.shape
                # One step of float16, and what batches of another size leave in float32.
                np.testing.assert_allclose(found, expected.astype(np.float32), rtol=2**-10, atol=1e-5)
            for name, expected in processor.encode_text(row["query"])[0].items():
                with np.load(folder / "features" / f"{name}_text_features" / f"qid{row['qid']}.npz") as file:
                    found = file["last_hidden_state"]
                np.testing.assert_allclose(found, expected, rtol=2**-10, atol=1e-5)

    def test_predictions_are_the_same_from_the_dataset_and_from_the_raw_video(self, config, processor, extracted):
        folder, rows, tables = extracted
        torch.manual_seed(0)
        model = VideoLightsForMomentRetrieval(config).eval()
        dataset = FeatureDataset.from_config(tables, "val", config, training=False)
        batch = VideoLightsDataCollator()([dataset[index] for index in range(len(dataset))])
        with torch.no_grad():
            from_dataset = model(**batch)
        for index, row in enumerate(rows):
            video = processor.encode_video(folder / "videos" / f"{row['vid']}.mp4")
            inputs = processor(videos=video, text=row["query"])
            clips = inputs["video_features"].shape[1]
            torch.testing.assert_close(
                batch["video_features"][index, :clips], inputs["video_features"][0], rtol=2e-3, atol=1e-4
            )
            with torch.no_grad():
                raw = model(**inputs)
            for name in ("logits", "pred_spans"):
                torch.testing.assert_close(from_dataset[name][index], raw[name][0], rtol=5e-3, atol=5e-3)
            torch.testing.assert_close(
                from_dataset.saliency_scores[index, :clips], raw.saliency_scores[0], rtol=5e-3, atol=5e-3
            )

    def test_the_pipeline_finds_the_same_from_files_and_from_the_raw_video(self, config, processor, extracted):
        folder, rows, _ = extracted
        torch.manual_seed(0)
        pipe = VideoMomentRetrievalPipeline(VideoLightsForMomentRetrieval(config), processor, device="cpu")
        for row in rows:
            path = folder / "videos" / f"{row['vid']}.mp4"
            stored = load_video_features(folder / "features", row["vid"])
            # Unrounded: a time just below a half and one just above it would be rounded a clip apart.
            settings = {"round_to_clips": False, "nms_threshold": None, "top_k": None}
            from_files = pipe(stored, row["query"], **settings)
            raw = pipe(path, row["query"], **settings)
            np.testing.assert_allclose(from_files["saliency"], raw["saliency"], rtol=5e-3, atol=5e-3)
            times = [
                sorted((moment["start"], moment["end"]) for moment in result["moments"])
                for result in (from_files, raw)
            ]
            np.testing.assert_allclose(times[0], times[1], atol=0.05)
