import subprocess
import sys
import textwrap

import numpy as np
import pytest
from torch.utils.data import DataLoader

from videolights_hf.data import publishing as publishing_module
from videolights_hf.data.dataset import FeatureDataset
from videolights_hf.data.items import ItemBuilder
from videolights_hf.data.publishing import export_parquet
from videolights_hf.data.streaming import StreamingFeatureDataset
from videolights_hf.data.tables import load_feature_dataset
from videolights_hf.models.videolights.configuration import VideoLightsConfig

BUILDER = ItemBuilder((("slowfast", 6), ("clip", 4)), (("clip", 4), ("blip2", 3)), training=True)


@pytest.fixture
def small_groups(monkeypatch):
    """Parquet row groups of a few rows, so that a small corpus has several."""
    monkeypatch.setattr(publishing_module, "_PARQUET_GROUP_BYTES", 600)


@pytest.fixture
def exported(corpus, small_groups):
    tables = corpus.build()
    export_parquet(tables, corpus.root / "parquet")
    return tables, corpus.root / "parquet"


def assert_same_items(items, data):
    expected = {item["qid"]: item for item in data}
    assert sorted(item["qid"] for item in items) == sorted(expected)
    for item in items:
        wanted = expected[item["qid"]]
        for key in ("video_features", "text_features"):
            np.testing.assert_array_equal(item[key], wanted[key])
        for key, value in wanted["labels"].items():
            np.testing.assert_array_equal(item["labels"][key], value)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_stream_yields_every_item_of_the_mapped_dataset_once(exported, workers, shuffle):
    tables, folder = exported
    stream = StreamingFeatureDataset(folder, "train", BUILDER, shuffle=shuffle)
    assert len(stream._blocks) > 3
    data = FeatureDataset(tables["train"], tables["videos"], BUILDER)
    for epoch in (0, 3):
        stream.set_epoch(epoch)
        data.set_epoch(epoch)
        items = list(DataLoader(stream, batch_size=None, num_workers=workers))
        assert len(items) == len(stream) == 10
        assert_same_items(items, data)


def test_a_large_table_takes_several_files_that_are_read_as_one(corpus, small_groups, monkeypatch, tmp_path):
    monkeypatch.setattr(publishing_module, "_PARQUET_FILE_BYTES", 1200)
    tables = corpus.build()
    export_parquet(tables, tmp_path / "parquet")
    files = sorted(path.name for path in (tmp_path / "parquet" / "videos").iterdir())
    assert len(files) > 2
    assert files[0] == f"videos-00000-of-{len(files):05d}.parquet"
    stream = StreamingFeatureDataset(tmp_path / "parquet", "train", BUILDER)
    assert {block.videos.file for block in stream._blocks} >= {0, 1}
    assert_same_items(list(stream), FeatureDataset(tables["train"], tables["videos"], BUILDER))


def test_shuffled_order_changes_with_the_epoch_and_repeats_with_it(exported):
    stream = StreamingFeatureDataset(exported[1], "train", BUILDER, shuffle=True)

    def order(epoch):
        stream.set_epoch(epoch)
        return [item["qid"] for item in stream]

    assert order(0) == order(0)
    assert len({tuple(order(epoch)) for epoch in range(4)}) > 1


def test_annotations_are_in_the_streams_order(corpus, exported):
    stream = StreamingFeatureDataset(exported[1], "train", BUILDER)
    assert [row["qid"] for row in stream.annotations] == [item["qid"] for item in stream]
    by_qid = {row["qid"]: row for row in corpus.rows["train"]}
    assert stream.annotations == [by_qid[row["qid"]] for row in stream.annotations]


def test_one_domain_is_streamed(highlights, small_groups):
    tables = highlights.build()
    export_parquet(tables, highlights.root / "parquet")
    stream = StreamingFeatureDataset(highlights.root / "parquet", "train", BUILDER, domain="DS")
    assert_same_items(list(stream), FeatureDataset(tables["train"], tables["videos"], BUILDER, domain="DS"))
    with pytest.raises(ValueError, match="Did you mean 'DS'"):
        StreamingFeatureDataset(highlights.root / "parquet", "train", BUILDER, domain="ds")


def test_from_config(exported):
    config = VideoLightsConfig(
        video_backbones=[["clip", 4]], text_backbones=[["blip2", 3]], max_video_length=5, max_text_length=3
    )
    item = next(iter(StreamingFeatureDataset.from_config(exported[1], "val", config)))
    assert item["video_features"].shape == (5, 6)
    assert item["text_features"].shape == (3, 3)


def test_what_cannot_be_streamed_is_refused(tmp_path, exported):
    tables, folder = exported
    with pytest.raises(FileNotFoundError, match="no Parquet files"):
        StreamingFeatureDataset(tmp_path, "train", BUILDER)
    with pytest.raises(ValueError, match=r"Unknown split 'trains'\. Did you mean 'train'"):
        StreamingFeatureDataset(folder, "trains", BUILDER)
    with pytest.raises(ValueError, match="no video features of blip2"):
        StreamingFeatureDataset(folder, "train", ItemBuilder((("blip2", 8),), (("clip", 4),)))
    videos = folder / "videos" / "videos-00000-of-00001.parquet"
    tables["videos"].select(range(3)).to_parquet(videos)
    with pytest.raises(ValueError, match="queries are of videos that are not in the table"):
        StreamingFeatureDataset(folder, "train", BUILDER)


def test_a_parquet_folder_loads_with_datasets(exported, tmp_path):
    tables, folder = exported
    loaded = load_feature_dataset(folder, cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == tables.num_rows
    assert_same_items(
        list(FeatureDataset(loaded["train"], loaded["videos"], BUILDER)),
        FeatureDataset(tables["train"], tables["videos"], BUILDER),
    )


def test_a_built_folder_loads(corpus):
    built = corpus.build()
    assert load_feature_dataset(corpus.root / "built").num_rows == built.num_rows


def test_export_refuses_a_folder_that_is_not_empty(exported):
    with pytest.raises(FileExistsError, match="is not empty"):
        export_parquet(*exported)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_is_stopped_early_lets_the_interpreter_exit(exported, workers):
    script = textwrap.dedent(
        f"""
        from torch.utils.data import DataLoader
        from videolights_hf.data import ItemBuilder, StreamingFeatureDataset

        builder = ItemBuilder((("clip", 4),), (("clip", 4),))
        stream = StreamingFeatureDataset({str(exported[1])!r}, "train", builder)
        for count, item in enumerate(DataLoader(stream, batch_size=None, num_workers={workers})):
            if count == 2:
                break
        print(item["qid"])
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit()
    assert done.stderr == ""


def test_moments_out_of_sight_are_dropped_as_by_the_mapped_dataset(long_videos, small_groups, caplog):
    tables = long_videos.build()
    export_parquet(tables, long_videos.root / "parquet")
    builder = ItemBuilder((("slowfast", 6), ("clip", 4)), (("clip", 4), ("blip2", 3)), 10, training=True)
    caplog.clear()
    stream = StreamingFeatureDataset(long_videos.root / "parquet", "train", builder)
    assert "train with --set max_video_length=19" in caplog.text
    assert len(stream) == 2
    assert_same_items(list(stream), FeatureDataset(tables["train"], tables["videos"], builder))


def test_clips_of_another_length_than_the_models_are_refused(exported):
    config = VideoLightsConfig(
        video_backbones=BUILDER.video_backbones, text_backbones=BUILDER.text_backbones, clip_length=1.0
    )
    with pytest.raises(ValueError, match="The dataset has clips of 2 s, the model of 1 s"):
        StreamingFeatureDataset.from_config(exported[1], "train", config)
