import numpy as np
import pytest
import torch

from tests.support.factories import tiny_config
from videolights_hf.data.collator import BatchLengths, VideoLightsDataCollator, collate_labels


def item(length, tokens, windows=1, pairs=2, qid=0, **extra):
    generator = np.random.default_rng(length * 100 + tokens)
    return {
        "qid": qid,
        "video_features": generator.standard_normal((length, 6)).astype(np.float32),
        "text_features": 1 + generator.random((tokens, 4)).astype(np.float32),
        "labels": {
            "spans": generator.random((windows, 2)).astype(np.float32),
            "saliency": 1 + generator.random(length).astype(np.float32),
            "positive_clips": np.arange(pairs),
            "negative_clips": np.arange(pairs) + 1,
        },
        **extra,
    }


def test_padding_is_zero_and_masked_and_nothing_is_lost():
    items = [item(5, 3), item(3, 7, windows=3)]
    batch = VideoLightsDataCollator()(items)
    assert batch["video_features"].shape == (2, 5, 6)
    assert batch["text_features"].shape == (2, 7, 4)
    assert batch["video_attention_mask"].tolist() == [[1] * 5, [1] * 3 + [0] * 2]
    assert batch["text_attention_mask"].sum(1).tolist() == [3, 7]
    labels = batch["labels"]
    assert labels["span_mask"].tolist() == [[True, False, False], [True] * 3]
    for row, source in enumerate(items):
        video_mask, text_mask = (batch[f"{modality}_attention_mask"][row].bool() for modality in ("video", "text"))
        np.testing.assert_array_equal(batch["video_features"][row][video_mask], source["video_features"])
        np.testing.assert_array_equal(batch["text_features"][row][text_mask], source["text_features"])
        np.testing.assert_array_equal(labels["saliency"][row][video_mask], source["labels"]["saliency"])
        np.testing.assert_array_equal(labels["spans"][row][labels["span_mask"][row]], source["labels"]["spans"])
        assert not batch["video_features"][row][~video_mask].any()
        assert not batch["text_features"][row][~text_mask].any()
        assert not labels["saliency"][row][~video_mask].any()
        assert not labels["spans"][row][~labels["span_mask"][row]].any()
    assert labels["positive_clips"].dtype == labels["negative_clips"].dtype == torch.long
    assert labels["saliency"].dtype == labels["spans"].dtype == batch["video_features"].dtype == torch.float32


def test_highlight_only_rows_have_one_masked_span():
    labels = VideoLightsDataCollator()([item(4, 2, windows=0), item(3, 2, windows=0)])["labels"]
    assert labels["spans"].tolist() == [[[0, 0]], [[0, 0]]]
    assert labels["span_mask"].tolist() == [[False], [False]]


def test_rows_with_fewer_pairs_repeat_their_own():
    labels = VideoLightsDataCollator()([item(4, 2, pairs=1), item(4, 2, pairs=2)])["labels"]
    assert labels["positive_clips"].tolist() == [[0, 0], [0, 1]]
    assert labels["negative_clips"].tolist() == [[1, 1], [1, 2]]


def test_labels_without_pairs_are_collated_without_pairs():
    row = {"spans": np.zeros((1, 2)), "saliency": np.zeros(3)}
    assert set(collate_labels([row, row])) == {"spans", "span_mask", "saliency"}


def test_unlabeled_and_audio_items():
    rows = [item(4, 2, audio_features=np.ones((4, 3), np.float32)), item(2, 2, audio_features=np.ones((2, 3)))]
    for row in rows:
        del row["labels"]
    batch = VideoLightsDataCollator()(rows)
    assert "labels" not in batch
    assert batch["audio_features"].shape == (2, 4, 3)
    assert batch["audio_features"].sum(dim=(1, 2)).tolist() == [12, 6]


@pytest.mark.parametrize("key", ["labels", "audio_features"])
def test_a_half_filled_batch_names_the_items_that_lack_something(key):
    rows = [item(4, 2, qid=7), item(4, 2, qid=8, audio_features=np.ones((4, 3)))]
    rows[0].pop("labels" if key == "labels" else "audio_features", None)
    if key == "labels":
        rows[1].pop("audio_features")
    with pytest.raises(ValueError, match=rf"{key}.*\[7\]"):
        VideoLightsDataCollator()(rows)


def test_text_dropout_zeroes_its_share_of_the_tokens_of_training_items_only():
    collator = VideoLightsDataCollator(text_dropout=0.5, seed=3)
    training = item(4, 10, qid=1, epoch=0, training=True)
    original = training["text_features"].copy()
    text = collator([training, item(4, 10, qid=2, training=False)])["text_features"]
    assert (text[0] == 0).all(dim=1).sum() == 5
    assert (text[1] != 0).all()
    np.testing.assert_array_equal(training["text_features"], original)


def test_text_dropout_depends_on_seed_epoch_and_query_alone():
    def dropped(seed, epoch, qid, batch_size=1):
        rows = [item(4, 20, qid=qid, epoch=epoch, training=True) for _ in range(batch_size)]
        text = VideoLightsDataCollator(text_dropout=0.5, seed=seed)(rows)["text_features"]
        return tuple((text[-1] == 0).all(dim=1).tolist())

    assert dropped(1, 2, 3) == dropped(1, 2, 3, batch_size=3)
    assert len({dropped(1, 2, 3), dropped(0, 2, 3), dropped(1, 1, 3), dropped(1, 2, 4)}) == 4


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_impossible_dropout_and_empty_batch_are_refused(rate):
    with pytest.raises(ValueError, match="text_dropout"):
        VideoLightsDataCollator(text_dropout=rate)
    with pytest.raises(ValueError, match="at least one item"):
        VideoLightsDataCollator()([])


def test_fixed_lengths_give_every_batch_one_shape():
    collator = VideoLightsDataCollator(lengths=BatchLengths(clips=8, words=9, moments=4))
    batches = [collator([item(5, 3), item(3, 7, windows=3)]), collator([item(2, 2), item(8, 9)])]
    shapes = [
        {name: value.shape for name, value in (batch | batch.pop("labels")).items()} for batch in map(dict, batches)
    ]
    assert shapes[0] == shapes[1]
    assert shapes[0]["video_features"] == (2, 8, 6)
    assert shapes[0]["text_features"] == (2, 9, 4)
    assert shapes[0]["spans"] == (2, 4, 2)
    assert shapes[0]["saliency"] == (2, 8)
    # What is no padding stays.
    assert batches[0]["video_attention_mask"].sum(1).tolist() == [5, 3]
    assert batches[0]["labels"]["span_mask"].sum(1).tolist() == [1, 3]


def test_the_lengths_of_a_model_are_the_most_it_takes():
    config = tiny_config(max_video_length=20, max_text_length=11)
    assert BatchLengths.of(config) == BatchLengths(clips=20, words=11, moments=5)


def test_numbers_of_rows_are_padded_and_dropped_like_features():
    items = [item(5, 4, training=True), item(3, 8, training=True, qid=1)]
    plain = VideoLightsDataCollator(text_dropout=0.5)(items)
    # Row 0 stands for zeros.
    for first, row in zip((1, 100), items):
        for name in ("video_features", "text_features"):
            row[name] = np.arange(first, first + len(row[name]))
    numbers = VideoLightsDataCollator(text_dropout=0.5)(items)
    for name in ("video_features", "text_features"):
        assert numbers[name].dtype == torch.int64
        assert torch.equal(numbers[name] == 0, (plain[name] == 0).all(-1))
    assert torch.equal(numbers["text_attention_mask"], plain["text_attention_mask"])
    assert numbers["video_features"].tolist() == [[1, 2, 3, 4, 5], [100, 101, 102, 0, 0]]
