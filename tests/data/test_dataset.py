import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from datasets import concatenate_datasets
from torch.utils.data import DataLoader

from videolights_hf.data import BuildSettings, build_feature_dataset, load_feature_dataset
from videolights_hf.data.collator import VideoLightsDataCollator
from videolights_hf.data.dataset import FeatureDataset, table_backbones
from videolights_hf.data.items import ItemBuilder
from videolights_hf.inference.moments import MomentSelection
from videolights_hf.metrics import SplitOutputs, evaluate_predictions, submission_rows
from videolights_hf.models.videolights.configuration import VideoLightsConfig

VIDEO, TEXT = (("slowfast", 6), ("clip", 4)), (("clip", 4), ("blip2", 3))


@pytest.fixture
def tables(corpus):
    return corpus.build()


def dataset(tables, split="train", **changes):
    return FeatureDataset(tables[split], tables["videos"], ItemBuilder(VIDEO, TEXT, **changes))


def normalized(matrix):
    matrix = matrix.astype(np.float32)
    return matrix / (np.linalg.norm(matrix, axis=1, keepdims=True) + 1e-5)


def test_an_item_holds_normalized_features_in_order_with_temporal_channels(corpus, tables):
    item = dataset(tables)[3]
    row = corpus.rows["train"][3]
    slowfast = np.load(corpus.video_file("slowfast", row["vid"]))["features"].astype(np.float16)
    clip = np.load(corpus.video_file("clip", row["vid"]))["features"]
    length = len(clip)
    assert length == len(slowfast) - 1
    expected = np.concatenate(
        [
            normalized(slowfast[:length]),
            normalized(clip),
            np.arange(length)[:, None] / length,
            np.arange(1, length + 1)[:, None] / length,
        ],
        axis=1,
    )
    np.testing.assert_allclose(item["video_features"], expected, rtol=1e-5, atol=1e-6)
    texts = [np.load(corpus.text_file(name, 3))["last_hidden_state"] for name in ("clip", "blip2")]
    np.testing.assert_allclose(
        item["text_features"], np.concatenate([normalized(t) for t in texts], axis=1), rtol=1e-5
    )
    assert item["video_features"].dtype == item["text_features"].dtype == np.float32
    assert (item["qid"], item["vid"], item["epoch"], item["training"]) == (3, row["vid"], 0, False)
    # The label's clips are those that are left: the features are a clip short of the annotation.
    assert len(item["labels"]["saliency"]) == length
    np.testing.assert_allclose(item["labels"]["spans"][1], [14 / (2 * length), 4 / (2 * length)], rtol=1e-6)


def test_order_and_choice_of_backbones_are_the_builders(tables):
    whole = dataset(tables)[0]
    swapped = FeatureDataset(tables["train"], tables["videos"], ItemBuilder(VIDEO[::-1], TEXT[:1]))[0]
    np.testing.assert_array_equal(swapped["video_features"][:, 4:10], whole["video_features"][:, :6])
    np.testing.assert_array_equal(swapped["text_features"], whole["text_features"][:, :4])


def test_videos_and_sentences_are_cut_without_a_warning(tables, recwarn):
    data = dataset(tables, max_video_length=5, max_text_length=3)
    item = data[0]
    assert item["video_features"].shape == (5, 12)
    assert item["video_features"][-1, -1] == 1
    assert item["text_features"].shape == (3, 7)
    assert len(item["labels"]["saliency"]) == 5
    assert set(data.lengths) == {5}
    assert not [warning for warning in recwarn if "cut" in str(warning.message)]


def test_lengths_are_those_of_the_items(tables):
    data = dataset(tables)
    assert data.lengths == [len(data[index]["video_features"]) for index in range(len(data))]


def test_annotations_are_the_ground_truth_in_the_items_order(corpus, tables):
    data = dataset(tables)
    assert data.annotations == corpus.rows["train"]
    assert [item["qid"] for item in data] == [row["qid"] for row in data.annotations]


def test_a_test_split_has_no_labels(corpus):
    for row in corpus.rows["val"]:
        for field in ("relevant_windows", "relevant_clip_ids", "saliency_scores"):
            del row[field]
    path = corpus.root / "val.jsonl"
    path.write_text(json.dumps(corpus.rows["val"][0]) + "\n")
    item = dataset(corpus.build(), "val")[0]
    assert "labels" not in item
    assert "labels" not in VideoLightsDataCollator()([item])


def test_audio_is_cut_with_the_video_and_given_separately(corpus):
    tables = corpus.build(audio_folder=corpus.root / "slowfast_video")
    item = dataset(tables, audio_dim=6)[0]
    assert item["audio_features"].shape == (7, 6)
    assert item["video_features"].shape == (7, 12)
    np.testing.assert_array_equal(item["audio_features"], item["video_features"][:, :6])
    assert "audio_features" not in dataset(tables)[0]


def test_domains_select_queries_and_an_unknown_one_names_the_nearest(highlights):
    tables = highlights.build()
    builder = ItemBuilder(VIDEO, TEXT)
    data = FeatureDataset(tables["train"], tables["videos"], builder, domain="BK")
    assert [row["qid"] for row in data.annotations] == ["train1", "train3"]
    assert data.domains == ["BK"]
    assert data[0]["labels"]["spans"].shape == (0, 2)
    with pytest.raises(ValueError, match=r"Unknown domain 'bk'\. Did you mean 'BK'"):
        FeatureDataset(tables["train"], tables["videos"], builder, domain="bk")


def test_what_cannot_be_used_is_refused(corpus, tables):
    videos, train = tables["videos"], tables["train"]
    with pytest.raises(ValueError, match="no video features of blip2; it has slowfast, clip"):
        FeatureDataset(train, videos, ItemBuilder((("blip2", 768),), TEXT))
    with pytest.raises(ValueError, match="no text features of t5"):
        FeatureDataset(train, videos, ItemBuilder(VIDEO, (("t5", 3),)))
    with pytest.raises(ValueError, match="no video features of audio"):
        dataset(tables, audio_dim=3)
    with pytest.raises(ValueError, match="4 wide, expected 512"):
        FeatureDataset(train, videos, ItemBuilder((("clip", 512),), TEXT))[0]
    with pytest.raises(ValueError, match="no domains"):
        FeatureDataset(train, videos, ItemBuilder(VIDEO, TEXT), domain="BK")
    with pytest.raises(ValueError, match="The split is empty"):
        FeatureDataset(train.select([]), videos, ItemBuilder(VIDEO, TEXT))
    with pytest.raises(ValueError, match="2 queries are of videos that are not in the table"):
        FeatureDataset(train, videos.select(range(1, 10)), ItemBuilder(VIDEO, TEXT))


def test_from_config_takes_everything_from_the_config(tables):
    video, text = table_backbones(tables)
    assert (video, text) == ([list(pair) for pair in VIDEO], [list(pair) for pair in TEXT])
    config = VideoLightsConfig(video_backbones=video, text_backbones=text, max_video_length=6, max_text_length=3)
    item = FeatureDataset.from_config(tables, "train", config, training=True)[0]
    assert item["video_features"].shape == (6, config.video_dim)
    assert item["text_features"].shape == (3, config.text_dim)
    assert item["training"]
    with pytest.raises(ValueError, match=r"Unknown split 'vall'\. Did you mean 'val'"):
        FeatureDataset.from_config(tables, "vall", config)


def draws(data, workers, epochs, persistent=False):
    """Pairs and dropped tokens per query and epoch."""
    collator = VideoLightsDataCollator(text_dropout=0.4)
    loader = DataLoader(
        data, batch_size=3, num_workers=workers, collate_fn=collator, persistent_workers=persistent and workers > 0
    )
    found = []
    for epoch in epochs:
        data.set_epoch(epoch)
        for batch in loader:
            labels = batch["labels"]
            found += torch.cat([labels["positive_clips"], labels["negative_clips"]], dim=1).tolist()
            found += [(row == 0).all(dim=1).tolist() for row in batch["text_features"]]
    return found


@pytest.mark.parametrize("persistent", [False, True])
def test_labels_are_the_same_with_any_number_of_workers(tables, persistent):
    data = dataset(tables, training=True)
    alone = draws(data, 0, (0, 1))
    assert draws(data, 2, (0, 1), persistent) == alone
    assert alone[: len(alone) // 2] != alone[len(alone) // 2 :]


def test_item_of_an_epoch_does_not_depend_on_the_current_one(tables):
    data = dataset(tables)
    of_epoch_two = data.item(4, 2)["labels"]
    data.set_epoch(2)
    assert data.epoch == 2
    for key, value in data[4]["labels"].items():
        np.testing.assert_array_equal(value, of_epoch_two[key])


def test_length_grouped_batches_need_less_padding_and_lose_nothing(tables):
    data = FeatureDataset(concatenate_datasets([tables["train"]] * 16), tables["videos"], ItemBuilder(VIDEO, TEXT))
    order = list(data.length_grouped_sampler(4, torch.Generator().manual_seed(0)))
    assert sorted(order) == list(range(160))

    def padding(order):
        lengths = np.asarray(data.lengths)[order].reshape(-1, 4)
        return (lengths.max(axis=1, keepdims=True) - lengths).sum()

    assert padding(order) < padding(torch.randperm(160, generator=torch.Generator().manual_seed(0)).tolist()) / 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_features_are_read_from_disk_and_do_not_fill_the_memory(tmp_path):
    videos, clips, width = 120, 75, 3584
    (tmp_path / "video").mkdir()
    (tmp_path / "text").mkdir()
    lines = []
    for index in range(videos):
        matrix = np.random.default_rng(index).standard_normal((clips, width)).astype(np.float16)
        np.save(tmp_path / "video" / f"v{index}.npy", matrix)
        np.save(tmp_path / "text" / f"qid{index}.npy", matrix[:4, :8])
        lines.append(f'{{"qid": {index}, "query": "q", "vid": "v{index}", "duration": 150}}\n')
    (tmp_path / "test.jsonl").write_text("".join(lines))
    build_feature_dataset(
        tmp_path / "built",
        {"test": tmp_path / "test.jsonl"},
        {"big": tmp_path / "video"},
        {"clip": tmp_path / "text"},
        settings=BuildSettings(progress=False),
    )
    script = textwrap.dedent(
        f"""
        from videolights_hf.data import FeatureDataset, ItemBuilder, load_feature_dataset

        def anonymous_memory():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

        before = anonymous_memory()
        tables = load_feature_dataset({str(tmp_path / "built")!r})
        data = FeatureDataset(tables["test"], tables["videos"], ItemBuilder((("big", {width}),), (("clip", 8),)))
        total = 0
        for index in range({videos}):
            total += data[index]["video_features"].sum()
        print(anonymous_memory() - before)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    table = videos * clips * width * 2 / 2**20
    assert float(done.stdout) < table / 3


def test_moments_beyond_what_the_model_sees_are_cut_or_dropped_with_one_warning(long_videos, caplog):
    tables = long_videos.build()
    caplog.clear()
    train = dataset(tables, max_video_length=10, training=True)
    assert [record.message for record in caplog.records] == [
        "The model sees at most 10 clips of a video (max_video_length): of 3 moments of split 'train', 1 are cut and 1 "
        "lie outside and are dropped. The longest video has 19 clips: train with --set max_video_length=19, or in "
        "windows with --set windows=true."
    ]
    # The query that has no moment left is not trained on, and the others aim at what is there.
    assert [row["qid"] for row in train.annotations] == [item["qid"] for item in train] == ["train0", "train1"]
    np.testing.assert_allclose(train[0]["labels"]["spans"], [[0.3, 0.2]])
    np.testing.assert_allclose(train[1]["labels"]["spans"], [[0.9, 0.2]])
    assert train[0]["labels"]["saliency"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert train[1]["labels"]["saliency"].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_evaluation_keeps_every_query_and_the_whole_truth(long_videos):
    val = FeatureDataset.from_config(long_videos.build(), "val", long_config())
    assert val.annotations == long_videos.rows["val"]
    assert len(val) == 3
    unseen = val[2]["labels"]
    assert unseen["spans"].shape == (0, 2)
    assert not unseen["saliency"].any()
    assert unseen["positive_clips"].tolist() == unseen["negative_clips"].tolist() == [0, 0]


def long_config(**changes):
    settings = {"video_backbones": VIDEO, "text_backbones": TEXT, "max_video_length": 10, **changes}
    return VideoLightsConfig(**settings)


def test_a_split_whose_every_moment_is_out_of_sight_cannot_be_trained_on(long_videos):
    tables = long_videos.build()
    queries = tables["train"].select([2])
    with pytest.raises(ValueError, match=r"every moment lies behind the 10 clips .* Set max_video_length=19"):
        FeatureDataset(queries, tables["videos"], ItemBuilder(VIDEO, TEXT, max_video_length=10, training=True))


def test_nothing_is_said_where_the_model_sees_everything(tables, caplog):
    caplog.clear()
    dataset(tables, training=True)
    assert not caplog.records


def test_long_videos_are_seen_in_windows(long_videos, caplog):
    tables = long_videos.build()
    caplog.clear()
    val = FeatureDataset.from_config(tables, "val", long_config(), windows=True)
    # 19 clips in windows of 10, half overlapping, the last one ending with the video.
    assert val.windows == [(row, first, 10) for row in range(3) for first in (0, 5, 9)]
    assert val.lengths == [10] * 9 == [len(item["video_features"]) for item in val]
    assert val.annotations == long_videos.rows["val"]
    assert not caplog.records

    train = FeatureDataset.from_config(tables, "train", long_config(), training=True, windows=True)
    # Windows begin at 0 s, 10 s and 18 s; those that show nothing of the moment are left out.
    assert train.windows == [(0, 0, 10), (1, 0, 10), (1, 5, 10), (1, 9, 10), (2, 9, 10)]
    np.testing.assert_allclose(train[2]["labels"]["spans"], [[11 / 20, 10 / 20]])
    assert train[2]["labels"]["saliency"].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0]
    np.testing.assert_allclose(train[4]["labels"]["spans"], [[15 / 20, 6 / 20]])
    features = np.load(long_videos.video_file("clip", "train video 1"))["features"][5:15]
    np.testing.assert_allclose(train[2]["video_features"][:, 6:10], normalized(features), rtol=1e-3)


def test_a_dataset_of_other_clips_than_the_models_is_refused_with_both_lengths(tables):
    with pytest.raises(ValueError, match=r"The dataset has clips of 2 s, the model of 1 s: set clip_length"):
        FeatureDataset.from_config(tables, "train", long_config(clip_length=1.0))


def test_a_dataset_says_whether_it_is_labeled(corpus, tables):
    assert dataset(tables).is_labeled
    for row in corpus.rows["val"]:
        for field in ("relevant_windows", "relevant_clip_ids", "saliency_scores"):
            del row[field]
    (corpus.root / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus.rows["val"]))
    assert not dataset(corpus.build("other"), "val").is_labeled


def test_labels_that_contradict_each_other_are_named(tables):
    queries = tables["train"].select([0]).map(lambda row: {"relevant_clip_ids": [1]})
    data = FeatureDataset(queries, tables["videos"], ItemBuilder(VIDEO, TEXT))
    with pytest.raises(ValueError, match="Query 0 has labels that contradict each other"):
        data[0]


def answers_of(data):
    """What a model says that answers every training target exactly; nothing where there is no target."""
    items = list(data)
    clips = np.array([len(item["video_features"]) for item in items])
    spans, scores = np.zeros((len(items), 1, 2), np.float32), np.zeros((len(items), 1), np.float32)
    saliency = np.zeros((len(items), clips.max()), np.float32)
    for row, item in enumerate(items):
        saliency[row, : clips[row]] = item["labels"]["saliency"]
        if len(item["labels"]["spans"]):
            spans[row], scores[row] = item["labels"]["spans"][:1], 1
    return SplitOutputs(scores, spans, saliency, clips)


def predictions_of(data):
    selection = MomentSelection(score_threshold=0.5, bounds=None)
    return submission_rows(data.annotations, answers_of(data), 2.0, selection, data.windows)


def test_a_perfect_model_finds_what_it_sees_and_is_scored_on_the_whole_truth(long_videos):
    val = FeatureDataset.from_config(long_videos.build(), "val", long_config())
    rows = predictions_of(val)
    assert [row["pred_relevant_windows"] for row in rows] == [[[4.0, 8.0, 1.0]], [[16.0, 20.0, 1.0]], []]
    assert all(len(row["pred_saliency_scores"]) == 10 for row in rows)
    brief = evaluate_predictions(rows, val.annotations)["brief"]
    assert brief["MR-full-R1@0.3"] == 66.67
    assert brief["MR-full-R1@0.5"] == 33.33


def test_a_perfect_model_that_sees_windows_finds_everything(long_videos):
    val = FeatureDataset.from_config(long_videos.build(), "val", long_config(), windows=True)
    rows = predictions_of(val)
    best = [row["pred_relevant_windows"][0] for row in rows]
    # A moment that a border cut is joined from both windows.
    assert best == [[4.0, 8.0, 1.0], [16.0, 26.0, 1.0], [30.0, 36.0, 1.0]]
    assert evaluate_predictions(rows, val.annotations)["brief"]["MR-full-mAP"] == 100.0
    assert [len(row["pred_saliency_scores"]) for row in rows] == [19] * 3
    assert np.flatnonzero(np.array(rows[1]["pred_saliency_scores"]) > 0.99).tolist() == [8, 9, 10, 11, 12]


@pytest.mark.parametrize("clips", [13, 15, 17, 25])
def test_a_perfect_model_finds_the_truth_whatever_the_features_cover(long_videos, clips):
    for row in long_videos.rows["val"]:
        np.savez(long_videos.video_file("clip", row["vid"]), features=np.ones((clips, 4), np.float16))
        np.savez(long_videos.video_file("slowfast", row["vid"]), features=np.ones((clips, 6), np.float16))
    tables = long_videos.build(length_tolerance=10)
    val = FeatureDataset.from_config(tables, "val", long_config(max_video_length=75))
    first, second, third = (row["pred_relevant_windows"] for row in predictions_of(val))
    assert first == [[4.0, 8.0, 1.0]]
    assert second == [[16.0, 26.0, 1.0]]
    assert third == ([] if clips <= 15 else [[30.0, min(36.0, 2.0 * clips), 1.0]])


def test_a_flipped_bit_on_the_disk_is_found_when_the_item_is_read(corpus):
    corpus.build()
    path = corpus.root / "built" / "videos" / "data-00000-of-00001.arrow"
    with np.load(corpus.video_file("clip", "video 3")) as archive:
        features = archive["features"].tobytes()
    content = path.read_bytes()
    place = content.index(features) + 7
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    data = dataset(load_feature_dataset(corpus.root / "built"))
    assert data[2]["vid"] == "video 2"
    with pytest.raises(ValueError, match=r"video_clip of video 3: .* do not match its checksum"):
        data[3]
