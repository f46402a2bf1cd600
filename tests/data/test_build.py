import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from datasets import load_from_disk

from videolights_hf.common.locks import FolderInUseError
from videolights_hf.data import build, parts
from videolights_hf.data.annotations import AnnotationError, read_annotations
from videolights_hf.data.collator import VideoLightsDataCollator
from videolights_hf.data.dataset import FeatureDataset, table_backbones
from videolights_hf.data.provenance import read_backbone_checkpoints
from videolights_hf.data.publishing import export_parquet
from videolights_hf.data.report import FeatureBuildError
from videolights_hf.data.specs import get_dataset_spec
from videolights_hf.data.tables import decode_array, load_feature_dataset, row_to_annotation
from videolights_hf.models.videolights.configuration import VideoLightsConfig


def report_of(corpus, output="built"):
    return json.loads((corpus.root / output / "build_report.json").read_text())


def as_read(rows):
    return [{key: value for key, value in row.items() if value is not None} for row in rows]


@pytest.fixture
def files_read(monkeypatch):
    """Paths of the feature files that are read, in this process."""
    read = []
    original = parts.read_feature_matrix
    monkeypatch.setattr(parts, "read_feature_matrix", lambda paths, keys: read.append(paths) or original(paths, keys))
    return read


def test_every_video_is_stored_once_and_every_query_whole(corpus):
    tables = corpus.build()
    assert {name: len(table) for name, table in tables.items()} == {"videos": 10, "train": 10, "val": 3}
    for row in tables["videos"]:
        for name, dtype in (("slowfast", np.float16), ("clip", np.float16)):
            matrix = decode_array(row[f"video_{name}"])
            with np.load(corpus.video_file(name, row["vid"])) as archive:
                np.testing.assert_array_equal(matrix, archive["features"].astype(np.float16))
            assert matrix.dtype == dtype
        assert row["num_clips"] == len(decode_array(row["video_clip"])) == len(decode_array(row["video_slowfast"])) - 1
    for split, rows in corpus.rows.items():
        assert [row_to_annotation(row) for row in tables[split]] == rows
        for row in tables[split]:
            with np.load(corpus.text_file("blip2", row["qid"])) as archive:
                np.testing.assert_array_equal(decode_array(row["text_blip2"]), archive["last_hidden_state"])
            assert (row["clip_length"], row["label_rule"]) == (2.0, "graded")
    assert report_of(corpus)["problems"] == []
    assert load_from_disk(corpus.root / "built").num_rows == tables.num_rows
    assert not (corpus.root / "built.incomplete").exists()


def test_a_dataset_of_extracted_features_knows_their_backbones(corpus):
    (corpus.root / "slowfast_video" / "extraction.json").write_text('{"checkpoint": "owner/slowfast"}')
    corpus.build()
    assert read_backbone_checkpoints(corpus.root / "built") == {"slowfast": "owner/slowfast"}


def test_domains_labels_and_unknown_fields_survive(highlights):
    for row in highlights.rows["val"]:
        row["clip"] = [[0.0, 100.0]]
    (highlights.root / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in highlights.rows["val"]))
    tables = highlights.build()
    for split, rows in highlights.rows.items():
        assert [row_to_annotation(row) for row in tables[split]] == as_read(rows)
    assert set(tables["train"]["label_rule"]) == {"annotators"}


def test_flow_and_color_become_one_backbone(highlights):
    folder = highlights.root / "i3d"
    folder.mkdir()
    for rows in highlights.rows.values():
        for row in rows:
            np.save(folder / f"{row['vid']}_rgb.npy", np.ones((6, 2), np.float32))
            np.save(folder / f"{row['vid']}_opt.npy", np.zeros((6, 3), np.float32))
    video = highlights.build(video_folders={"i3d": folder})["videos"][0]
    assert decode_array(video["video_i3d"]).tolist() == [[1, 1, 0, 0, 0]] * 6


def test_audio_is_a_column_of_its_own_and_counts_for_the_length(corpus):
    folder = corpus.root / "audio"
    shutil.copytree(corpus.root / "slowfast_video", folder)
    path = folder / "video 0.npz"
    np.savez(path, features=np.load(path)["features"][:-2])
    videos = corpus.build(audio_folder=folder)["videos"]
    assert videos.column_names == ["vid", "num_clips", "video_slowfast", "video_clip", "video_audio"]
    assert videos[0]["num_clips"] == 6


def damage(corpus):
    """One bad file of each kind; returns {id: kind}."""
    corpus.video_file("slowfast", "video 0").unlink()
    broken = corpus.video_file("clip", "video 1")
    broken.write_bytes(broken.read_bytes()[:100])
    np.savez(corpus.video_file("clip", "video 2"), features=np.zeros((10, 5)))
    np.savez(corpus.video_file("slowfast", "video 3"), features=np.zeros((30, 6)))
    np.savez(corpus.video_file("slowfast", "video 4"), features=np.array([{}], dtype=object))
    np.savez(corpus.text_file("blip2", 5), last_hidden_state=np.full((4, 3), np.nan))
    return {
        "video 0": "missing",
        "video 1": "truncated",
        "video 2": "mismatched",
        "video 3": "mismatched",
        "video 4": "pickled",
        "5": "not finite",
    }


@pytest.mark.parametrize("num_proc", [1, 2])
def test_bad_files_are_named_counted_and_left_out(corpus, caplog, monkeypatch, num_proc):
    monkeypatch.setattr(build, "_VIDEOS_PER_PART", 3)
    kinds = damage(corpus)
    tables = corpus.build(num_proc=num_proc)
    report = report_of(corpus)
    assert {problem["item"]: problem["kind"] for problem in report["problems"]} == kinds
    assert report["problems_by_kind"]["mismatched"] == 2
    assert report["videos"] == {"annotated": 10, "written": 5}
    # Videos 0 to 2 have two queries each.
    assert report["queries"]["train"] == {"annotated": 10, "written": 1, "left_out": [0, 1, 2, 3, 4, 5, 7, 8, 9]}
    assert tables["train"]["qid"][:] == [6]
    assert "6 feature file(s) cannot be used (2 mismatched, " in caplog.text
    assert "5 videos and 9 queries are left out" in caplog.text
    assert "30 clips, the annotation implies 11 (at most 2 more or fewer)" in caplog.text
    assert "is 5 wide, other files of 'clip' are 4 wide" in caplog.text
    for item in list(kinds)[:5]:
        assert f"{item}" in caplog.text


def test_every_bad_file_of_a_video_is_named(corpus):
    for name in ("slowfast", "clip"):
        corpus.video_file(name, "video 0").unlink()
    corpus.build()
    assert len(report_of(corpus)["problems"]) == 2


def test_strict_makes_bad_files_fatal_and_names_all(corpus):
    kinds = damage(corpus)
    with pytest.raises(FeatureBuildError, match="6 feature file") as caught:
        corpus.build(strict=True)
    assert {problem.item: problem.kind for problem in caught.value.problems} == kinds
    assert not (corpus.root / "built").exists()


def test_a_tolerance_admits_features_of_another_length(corpus):
    np.savez(corpus.video_file("slowfast", "video 3"), features=np.zeros((16, 6)))
    assert len(corpus.build("wide", length_tolerance=5, strict=True)["videos"]) == 10
    assert len(corpus.build("narrow", length_tolerance=4)["videos"]) == 9


def test_a_label_that_is_longer_than_the_video_is_reported(highlights, caplog):
    np.savez(highlights.video_file("clip", "train0"), features=np.zeros((3, 4)))
    tables = highlights.build()
    assert "train0.npz: has 3 clips, the annotation implies 6" in caplog.text
    assert "train0" not in tables["train"]["qid"][:]


def test_an_id_that_is_a_path_is_reported_and_reads_nothing(corpus):
    rows = corpus.rows["val"]
    rows[0]["vid"] = "../slowfast_video/video 0"
    (corpus.root / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus.build()
    assert {problem["kind"] for problem in report_of(corpus)["problems"]} == {"unsafe id"}
    assert report_of(corpus)["queries"]["val"]["left_out"] == [100]


def test_a_split_of_which_nothing_is_left_is_refused(corpus):
    for row in corpus.rows["val"]:
        corpus.text_file("clip", row["qid"]).unlink()
    with pytest.raises(ValueError, match="Split 'val' is empty: none of its 3 queries"):
        corpus.build()


def test_an_interrupted_build_reads_only_what_is_missing(corpus, files_read, monkeypatch):
    monkeypatch.setattr(build, "_VIDEOS_PER_PART", 2)
    original = parts.Part.write

    def fail_at_the_fourth(part, folder):
        if part.name == "videos-00003":
            raise KeyboardInterrupt
        return original(part, folder)

    monkeypatch.setattr(parts.Part, "write", fail_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        corpus.build()
    assert not (corpus.root / "built").exists()
    monkeypatch.setattr(parts.Part, "write", original)

    def videos_read():
        # The widths are sampled from every file of so small a corpus.
        return [paths for paths in files_read if "_video" in str(paths[0])][20:]

    assert len(videos_read()) == 12
    files_read.clear()
    resumed = corpus.build()
    assert len(videos_read()) == 8
    whole = corpus.build("whole")
    for name, table in whole.items():
        assert resumed[name].to_list() == table.to_list()


def test_a_resumed_build_reads_again_what_has_changed(corpus, monkeypatch):
    monkeypatch.setattr(build, "_VIDEOS_PER_PART", 2)
    damage(corpus)
    with pytest.raises(FeatureBuildError):
        corpus.build(strict=True)
    np.savez(corpus.video_file("slowfast", "video 0"), features=np.ones((8, 6)))
    with pytest.raises(FeatureBuildError, match="5 feature file"):
        corpus.build(strict=True)


def test_a_killed_build_is_continued_by_the_next(corpus):
    script = textwrap.dedent(
        f"""
        import sys, time
        sys.path.insert(0, {str(corpus.root)!r})
        from videolights_hf.data import build, parts
        build._VIDEOS_PER_PART = 1
        original = parts.Part.write
        parts.Part.write = lambda part, folder: (original(part, folder), print(part.name, flush=True), time.sleep(0.2))[0]
        root = {str(corpus.root)!r}
        build.build_feature_dataset(
            root + "/built",
            {{"train": root + "/train.jsonl", "val": root + "/val.jsonl"}},
            {{"slowfast": root + "/slowfast_video", "clip": root + "/clip_video"}},
            {{"clip": root + "/clip_text", "blip2": root + "/blip2_text"}},
            settings=build.BuildSettings(progress=False),
        )
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline().strip() for _ in range(3)][-1] == "videos-00002"
        process.send_signal(signal.SIGKILL)
    finished = {path.stem for path in (corpus.root / "built.incomplete").glob("*.json")}
    assert {"videos-00000", "videos-00001", "videos-00002"} <= finished
    assert not (corpus.root / "built").exists()
    assert corpus.build()["videos"].num_rows == 10


def test_building_again_from_the_same_sources_loads_what_is_there(corpus, files_read):
    first = corpus.build()
    files_read.clear()
    written = (corpus.root / "built" / "build_report.json").stat().st_mtime_ns
    assert corpus.build().num_rows == first.num_rows
    assert files_read == []
    assert (corpus.root / "built" / "build_report.json").stat().st_mtime_ns == written


def test_a_dataset_that_was_built_with_problems_says_so_again_and_is_refused_when_strict(corpus, caplog):
    damage(corpus)
    corpus.build()
    caplog.clear()
    corpus.build()
    assert "6 feature file(s) cannot be used" in caplog.text
    assert "overwrite it to try again" in caplog.text
    with pytest.raises(FeatureBuildError, match="6 feature file"):
        corpus.build(strict=True)
    np.savez(corpus.video_file("slowfast", "video 0"), features=np.ones((8, 6)))
    assert corpus.build(overwrite=True)["videos"].num_rows == 6


def test_other_sources_need_another_folder_or_overwrite(corpus):
    corpus.build()
    with pytest.raises(FileExistsError, match="built from other sources"):
        corpus.build(length_tolerance=3)
    time.sleep(0.01)
    assert corpus.build(length_tolerance=3, overwrite=True).num_rows["videos"] == 10
    assert report_of(corpus)["settings"]["length_tolerance"] == 3


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_holds_something_else_is_never_replaced(corpus, overwrite):
    with pytest.raises(FileExistsError, match="no feature dataset"):
        corpus.build("clip_video", overwrite=overwrite)
    assert corpus.video_file("clip", "video 0").is_file()


def test_an_empty_folder_is_used(corpus):
    (corpus.root / "built").mkdir()
    assert corpus.build().num_rows["videos"] == 10


def test_faulty_annotations_stop_the_build_before_any_feature_is_read(corpus, files_read):
    with (corpus.root / "val.jsonl").open("a") as file:
        file.write("not json\n")
    with pytest.raises(AnnotationError, match=r"val\.jsonl:4: not JSON"):
        corpus.build()
    assert files_read == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": {}}, "At least one split is needed"),
        ({"annotations": {"videos": "x.jsonl"}}, "'videos' cannot be the name of a split"),
        ({"annotations": {"a-b": "x.jsonl"}}, "'a-b' cannot be the name of a split"),
        ({"video_folders": {}}, "At least one video backbone"),
        ({"video_folders": {"audio": "x"}}, "'audio' is not a name for one"),
        ({"text_folders": {"../x": "x"}}, "'../x' cannot be the name of a text encoder"),
        ({"text_folders": {"clip": "nowhere"}}, "folder nowhere does not exist"),
        ({"num_proc": 0}, "num_proc must be at least 1"),
        ({"dataset": "tacoss"}, "Did you mean 'tacos'"),
    ],
)
def test_unusable_arguments_are_refused(corpus, changes, message):
    with pytest.raises(ValueError, match=message):
        corpus.build(**changes)


def test_integer_and_mixed_qids(corpus):
    assert corpus.build()["train"].features["qid"].dtype == "int64"
    rows = corpus.rows["val"]
    rows[0]["qid"] = "100"
    (corpus.root / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tables = corpus.build("mixed")
    assert tables["train"]["qid"][:2] == [0, 1]
    assert tables["val"].features["qid"].dtype == "string"
    assert tables["val"]["qid"][0] == "100"


def test_splits_may_be_of_different_datasets(corpus):
    rows = corpus.rows["train"]
    for row in rows:
        row["qid"] = str(row["qid"])
        row["saliency_scores"] = [[12.18]] * len(row["relevant_clip_ids"])
    (corpus.root / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tables = corpus.build(dataset={"train": "pretraining", "val": "qvhighlights"})
    assert set(tables["train"]["label_rule"]) == {"window"}
    assert set(tables["val"]["label_rule"]) == {"graded"}
    assert tables["val"].features["qid"].dtype == "int64"
    scored = corpus.build("scored", dataset={"train": "pretraining_scores", "val": "qvhighlights"})
    assert set(scored["train"]["label_rule"]) == {"scores"}
    export_parquet(tables, corpus.root / "parquet")
    loaded = load_feature_dataset(corpus.root / "parquet")
    assert sorted(loaded["val"]["qid"]) == sorted(map(str, tables["val"]["qid"]))
    with pytest.raises(FileExistsError, match="built from other sources"):
        corpus.build(dataset={"train": "pretraining", "val": "pretraining"})


def test_datasets_of_splits_must_fit_each_other(corpus):
    with pytest.raises(ValueError, match="No dataset is named for the splits val"):
        corpus.build(dataset={"train": "pretraining"})
    with pytest.raises(ValueError, match="clips of different lengths: train 2 s, val 1 s"):
        corpus.build(dataset={"train": "qvhighlights", "val": "charades_sta"})


def test_custom_rows_are_labeled_by_what_they_have(corpus):
    rows = corpus.rows["train"]
    for field in ("saliency_scores", "relevant_clip_ids"):
        rows[0].pop(field)
    (corpus.root / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert corpus.build(dataset="custom")["train"]["label_rule"][:2] == ["window", "graded"]


PUBLISHED = {
    "qvhighlights": ("highlight_train_release", "highlight_val_release", "highlight_test_release"),
    "charades_sta": ("charades_sta_train_tvr_format", "charades_sta_test_tvr_format"),
    "tacos": ("train", "val", "test"),
    "tvsum": ("tvsum_train_release", "tvsum_val_release"),
    "youtube_highlights": ("youtube_highlight_train_release", "youtube_highlight_val_release"),
}


@pytest.mark.slow
@pytest.mark.skipif("VIDEOLIGHTS_GOLDEN_ROOT" not in os.environ, reason="VIDEOLIGHTS_GOLDEN_ROOT is not set")
@pytest.mark.parametrize("dataset", PUBLISHED)
def test_published_annotations_and_features_in_the_published_layout_become_batches(tmp_path, dataset):
    root = Path(os.environ["VIDEOLIGHTS_GOLDEN_ROOT"])
    annotations = {}
    for name in PUBLISHED[dataset]:
        source = root / "data" / "annotations" / dataset / f"{name}.jsonl"
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(f"{line}\n" for line in source.read_text().splitlines()[:20]))
        annotations[name] = path
    clip_length = get_dataset_spec(dataset).clip_length
    subprocess.run(
        [
            *(sys.executable, root / "tools" / "simulate_features.py", "--dataset", dataset, "--workers", "1"),
            *("--clip-length", str(clip_length), "--out", tmp_path, "--annotations", *annotations.values()),
        ],
        check=True,
        capture_output=True,
    )
    tables = build.build_feature_dataset(
        tmp_path / "built",
        annotations,
        {name: tmp_path / f"{name}_features" for name in ("slowfast", "clip", "blip_video")},
        {name: tmp_path / f"{name}_features" for name in ("clip_text", "blip_text")},
        dataset=dataset,
        settings=build.BuildSettings(strict=True, progress=False),
    )
    video, text = table_backbones(tables)
    assert (video, text) == (
        [["slowfast", 96], ["clip", 64], ["blip_video", 64]],
        [["clip_text", 64], ["blip_text", 64]],
    )
    config = VideoLightsConfig(
        video_backbones=video, text_backbones=text, max_video_length=1000, clip_length=clip_length
    )
    for name, path in annotations.items():
        data = FeatureDataset.from_config(tables, name, config)
        assert data.annotations == as_read(read_annotations(path, dataset))
        batch = VideoLightsDataCollator()(list(data))
        assert batch["video_attention_mask"].sum(1).tolist() == data.lengths
        assert ("labels" in batch) == (name != "highlight_test_release")
        if "labels" in batch:
            assert batch["labels"]["span_mask"].any() == (dataset not in ("tvsum", "youtube_highlights"))
            assert (batch["labels"]["saliency"] > 0).any(dim=1).all() or dataset == "youtube_highlights"


def test_moments_beyond_what_a_model_sees_are_counted_in_the_report_and_named(long_videos, caplog):
    long_videos.build(max_video_length=10)
    report = report_of(long_videos)
    assert report["longest_video"] == 19
    moments = {"annotated": 3, "cut": 1, "outside": 1, "max_video_length": 10}
    assert report["queries"]["train"]["moments"] == report["queries"]["val"]["moments"] == moments
    assert caplog.text.count("--set max_video_length=19") == 1
    long_videos.build("default")
    assert "moments" not in report_of(long_videos, "default")["queries"]["train"]


def test_features_that_end_early_are_said_to(long_videos, caplog):
    folder = long_videos.root / "audio"
    shutil.copytree(long_videos.root / "slowfast_video", folder)
    for path in folder.iterdir():
        np.savez(path, features=np.load(path)["features"][:12])
    long_videos.build(audio_folder=folder, length_tolerance=10)
    assert report_of(long_videos)["queries"]["train"]["moments"]["outside"] == 1
    assert "features end before the annotated duration does" in caplog.text


HOLD_THE_LOCK = """
import sys, time
from videolights_hf.common.locks import locked_folder
with locked_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_build_of_the_same_dataset_is_refused_and_a_dead_ones_lock_is_not(corpus):
    work = corpus.root / "built.incomplete"
    with subprocess.Popen([sys.executable, "-c", HOLD_THE_LOCK, work], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match=rf"built.incomplete is in use by process {process.pid} on"):
            corpus.build()
        corpus.build("another")
        process.kill()
    assert corpus.build()["videos"].num_rows == 10
    assert not work.exists()


def test_workers_of_a_killed_build_end_with_it_and_free_its_lock(corpus):
    script = textwrap.dedent(
        f"""
        import time
        from videolights_hf.data import build, parts
        build._VIDEOS_PER_PART = 1
        def write(part, folder):
            print(part.name, flush=True)
            time.sleep(30)
        parts.Part.write = write
        root = {str(corpus.root)!r}
        build.build_feature_dataset(
            root + "/built",
            {{"train": root + "/train.jsonl", "val": root + "/val.jsonl"}},
            {{"slowfast": root + "/slowfast_video", "clip": root + "/clip_video"}},
            {{"clip": root + "/clip_text", "blip2": root + "/blip2_text"}},
            settings=build.BuildSettings(num_proc=2, progress=False),
        )
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("videos-")
        process.send_signal(signal.SIGKILL)
    for _ in range(100):
        try:
            tables = corpus.build()
            break
        except FolderInUseError:
            time.sleep(0.1)
    assert tables["videos"].num_rows == 10


def test_what_is_written_and_left_out_must_add_up(corpus, monkeypatch):
    original = build.write_parts

    def lose_a_row(parts, folder, schema, num_proc, bar):
        table, problems = original(parts, folder, schema, num_proc, bar)
        return table.select(range(1, len(table))), problems

    monkeypatch.setattr(build, "write_parts", lose_a_row)
    with pytest.raises(ValueError, match=r"does not add up with the annotations .* another process may have written"):
        corpus.build()
    assert not (corpus.root / "built").exists()


def test_the_leftover_of_a_build_that_was_killed_at_its_last_step_is_removed(corpus):
    corpus.build()
    leftover = corpus.root / "built.incomplete"
    leftover.mkdir()
    (leftover / "videos-00000.json").write_text("{}")
    corpus.build()
    assert not leftover.exists()


def test_a_damaged_note_of_a_finished_part_makes_the_part_anew(corpus):
    corpus.text_file("clip", 100).unlink()
    with pytest.raises(FeatureBuildError):
        corpus.build(strict=True)
    for note in (corpus.root / "built.incomplete").glob("*.json"):
        note.write_text("[]")
    assert corpus.build()["videos"].num_rows == 10


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"settings": {}, "problems": [5]}'])
def test_a_damaged_report_is_named(corpus, content):
    corpus.build()
    (corpus.root / "built" / "build_report.json").write_text(content)
    with pytest.raises(ValueError, match=r"build_report\.json"):
        corpus.build()
