"""Features that lie on the device give the batches that reading them gives."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.support.training import make_tables, small_config
from videolights_hf.data import FeatureDataset, ResidentFeatures, VideoLightsDataCollator
from videolights_hf.data.streaming import StreamingFeatureDataset


def datasets(tables, config, windows=False):
    """The training split with its draws, and the validation split."""
    return (
        FeatureDataset.from_config(tables, "train", config, training=True, windows=windows),
        FeatureDataset.from_config(tables, "val", config, windows=windows),
    )


def assert_same(batch, expected):
    assert batch.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_same(batch[name], value)
        else:
            assert torch.equal(batch[name], value), name


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("audio", [False, True])
def test_batches_are_the_same_to_the_bit(audio, windows):
    tables = make_tables(audio=audio)
    # Three clips at once: windows show a video in parts.
    config = small_config(audio_dim=3 if audio else 0, max_video_length=3 if windows else 20)
    collator = VideoLightsDataCollator(text_dropout=0.5)
    read = datasets(tables, config, windows)
    resident = ResidentFeatures(read, "cpu")
    for plain, numbered in zip(read, resident.datasets):
        for epoch in (0, 1):
            plain.set_epoch(epoch)
            numbered.set_epoch(epoch)
            batches = [DataLoader(data, 4, collate_fn=collator) for data in (plain, numbered)]
            for expected, batch in zip(*batches):
                assert batch["video_features"].dtype == torch.int64
                assert_same(resident.look_up(batch), expected)


@pytest.mark.parametrize("windows", [False, True])
def test_a_backbone_that_the_model_does_not_use_may_be_shorter(windows):
    tables = make_tables()
    # The counts of clips in the tables are those of the shortest backbone.
    for name in ("videos", "train", "val"):
        tables[name] = tables[name].map(
            lambda row: {"num_clips": row["num_clips"] - 1}, features=tables[name].features
        )
    config = small_config(video_backbones=[["clip", 4]], max_video_length=3 if windows else 20)
    read = datasets(tables, config, windows)
    resident = ResidentFeatures(read, "cpu")
    for plain, numbered in zip(read, resident.datasets):
        batches = [
            VideoLightsDataCollator()([data[index] for index in range(len(data))]) for data in (plain, numbered)
        ]
        assert_same(resident.look_up(batches[1]), batches[0])


def test_a_video_of_several_queries_lies_there_once():
    tables = make_tables(sizes={"train": 3, "val": 2})
    tables["train"] = tables["train"].map(lambda row: row | {"vid": "v0", "num_clips": 5, "duration": 10.0})
    train, _ = datasets(tables, small_config())
    (kept,) = ResidentFeatures([train], "cpu").datasets
    numbers = [kept[index]["video_features"] for index in range(3)]
    np.testing.assert_array_equal(numbers[0], numbers[1])
    assert numbers[0].tolist() == [1, 2, 3, 4, 5]


def test_batches_with_features_pass_unchanged():
    tables, config = make_tables(), small_config()
    train, val = datasets(tables, config)
    resident = ResidentFeatures([train], "cpu")
    batch = VideoLightsDataCollator()([val[0], val[1]])
    assert resident.look_up(batch)["video_features"] is batch["video_features"]


def test_what_does_not_fit_is_said_before_anything_is_copied(monkeypatch):
    tables, config = make_tables(), small_config()
    train, _ = datasets(tables, config)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 2**34))
    monkeypatch.setattr(ResidentFeatures, "_put", None)
    with pytest.raises(ValueError, match=r"cuda:1 has 0\.0 GiB free, .* leave resident_features out"):
        ResidentFeatures([train], "cuda:1")


def test_a_stream_cannot_be_kept():
    stream = object.__new__(StreamingFeatureDataset)
    with pytest.raises(ValueError, match="StreamingFeatureDataset cannot keep its features on the device"):
        ResidentFeatures([stream], "cpu")
