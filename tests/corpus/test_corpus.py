import dataclasses
import errno
import json
import math
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.support.corpus_run import FRAME_SIZES, GENERATION, QUIET, run
from tests.support.launching import launch_two
from tests.support.tiny_captioners import save_blip_captioner, save_blip_retrieval
from tests.support.videos import write_video
from videolights_hf.common.locks import FolderInUseError, locked_folder
from videolights_hf.corpus import Captioner, CorpusSettings, MatchingScorer, SimilarityScorer, generate_corpus
from videolights_hf.corpus.journal import Journal
from videolights_hf.corpus.records import first_of_each, make_records
from videolights_hf.corpus.sampling import sample_video
from videolights_hf.data import read_annotations
from videolights_hf.extraction import ExtractionSettings, SettingsMismatchError, find_videos
from videolights_hf.video.reader import VideoSource

ROOT = Path(__file__).parents[2]
NUM_VIDEOS = 8


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_blip_captioner(folder / "captioner")
    save_blip_retrieval(folder / "scorer")
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Seven videos of noise, 12 to 24 s long, and one file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for index in range(NUM_VIDEOS - 1):
        frames = rng.integers(0, 256, (12 + 2 * index, 48, 64, 3), np.uint8)
        write_video(folder / f"v{index}.mp4", frames, 1, options={"preset": "ultrafast"})
    (folder / "v3b.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def whole(videos, models, tmp_path_factory):
    """The corpus of one process that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(videos, folder, models)


def content_of(folder):
    return (folder / "corpus.jsonl").read_bytes()


class FakeCaptioner:
    """Gives captions that a test chose."""

    model = SimpleNamespace(device=torch.device("cpu"))

    def __init__(self, captions):
        self.captions = captions
        self.identity = {}

    def caption(self, frames):
        assert len(frames) == len(self.captions)
        return self.captions


class FakeScorer:
    """Scores a frame by how bright it is."""

    scoring = "matching"
    identity = {}

    def score(self, frames, captions):
        self.captions = captions
        return [float(frame.mean()) / 255 for frame in frames]


class TestRecords:
    SETTINGS = CorpusSettings(caption_frame_size=32, clip_frame_size=32)

    def sampled(self, vid, seconds):
        levels = np.arange(seconds, dtype=np.uint8)[:, None, None, None] * 8
        return sample_video(vid, VideoSource(np.broadcast_to(levels, (seconds, 32, 32, 3)), 1), self.SETTINGS, 2.0)

    def test_rows_hold_caption_window_clips_and_scaled_scores(self):
        scorer = FakeScorer()
        records = make_records(
            [self.sampled("a", 30), self.sampled("b", 12)],
            FakeCaptioner(["one", "two", "three", "four"]),
            scorer,
            self.SETTINGS,
        )
        assert [record["vid"] for record in records] == ["a", "b"]
        assert [row["query"] for record in records for row in record["rows"]] == ["one", "two", "three", "four"]
        row = records[0]["rows"][2]
        assert row["qid"] == "a_20.0_30.0"
        assert (row["vid"], row["duration"]) == ("a", 30.0)
        assert row["relevant_windows"] == [[20.0, 30.0]]
        # The last clip, 14, is lost.
        assert row["relevant_clip_ids"] == [10, 11, 12, 13]
        # Clip i is the picture before second 2 i + 1, number 2 i, of the brightness 16 i.
        scale = self.SETTINGS.rules.saliency
        assert row["saliency_scores"] == [[round(scale(16 * index / 255), 4)] for index in range(10, 14)]
        assert scorer.captions == ["one"] * 5 + ["two"] * 5 + ["three"] * 4 + ["four"] * 5

    def test_empty_and_repeated_captions_are_dropped_and_counted(self):
        captions = ["A dog.", "", "a  dog", "a cat"]
        record, other = make_records(
            [self.sampled("a", 30), self.sampled("b", 12)], FakeCaptioner(captions), FakeScorer(), self.SETTINGS
        )
        assert [row["query"] for row in record["rows"]] == ["A dog."]
        assert (record["empty"], record["duplicates"]) == (1, 1)
        assert [row["query"] for row in other["rows"]] == ["a cat"]

    def test_repeated_captions_are_kept_on_request_and_empty_ones_are_not(self):
        settings = dataclasses.replace(self.SETTINGS, keep_duplicates=True)
        (record,) = make_records([self.sampled("a", 40)], FakeCaptioner(["a", ".", "", "a"]), FakeScorer(), settings)
        assert [row["qid"] for row in record["rows"]] == ["a_0.0_10.0", "a_30.0_40.0"]
        assert (record["empty"], record["duplicates"]) == (2, 0)

    def test_an_interval_without_a_clip_has_a_moment_alone(self):
        (record,) = make_records([self.sampled("a", 4)], FakeCaptioner(["one", "two"]), FakeScorer(), self.SETTINGS)
        assert record["rows"][0]["relevant_clip_ids"] == [0]
        assert record["rows"][1] == {
            "qid": "a_2.0_4.0",
            "query": "two",
            "duration": 4.0,
            "vid": "a",
            "relevant_windows": [[2.0, 4.0]],
        }

    def test_the_same_caption_may_be_of_another_video(self):
        records = make_records(
            [self.sampled("a", 12), self.sampled("b", 12)],
            FakeCaptioner(["x", "x"]),
            FakeScorer(),
            self.SETTINGS,
        )
        assert [len(record["rows"]) for record in records] == [1, 1]

    @pytest.mark.parametrize(
        ("captions", "kept"),
        [(["a", "b", "a"], [0, 1]), (["", ".", "a"], [2]), (["A dog .", "a dog", "a dog!"], [0, 2]), ([], [])],
    )
    def test_first_of_each(self, captions, kept):
        assert first_of_each(captions) == kept


class TestCorpus:
    def test_is_in_the_annotation_format_sorted_and_complete(self, whole):
        folder, summary = whole
        rows = read_annotations(folder / "corpus.jsonl", "pretraining")
        assert len(rows) == summary.num_captions > NUM_VIDEOS
        assert rows == sorted(rows, key=lambda row: (row["vid"], row["relevant_windows"][0]))
        for row in rows:
            ((start, end),) = row["relevant_windows"]
            assert row["qid"] == f"{row['vid']}_{start}_{end}"
            is_last = end == math.floor(row["duration"])
            clips = list(range(math.floor(start / 2), math.ceil(end / 2) - is_last))
            assert row["relevant_clip_ids"] == clips
            assert [len(scores) for scores in row["saliency_scores"]] == [1] * len(clips)
            assert all(math.e <= score <= math.exp(2.5) + 1e-4 for (score,) in row["saliency_scores"])

    def test_a_file_that_is_no_video_is_reported_and_the_rest_goes_on(self, whole):
        folder, summary = whole
        (failure,) = summary.failed
        assert failure.vid == "v3b"
        (line,) = (folder / "failed.jsonl").read_text().splitlines()
        assert json.loads(line) == {"vid": "v3b", "path": failure.path, "error": failure.error}
        assert {row["vid"] for row in read_annotations(folder / "corpus.jsonl", "pretraining")} == {
            f"v{index}" for index in range(NUM_VIDEOS - 1)
        }

    def test_repeated_does_nothing_again_and_is_the_same(self, whole, videos, models, monkeypatch):
        folder, summary = whole
        before = content_of(folder)
        monkeypatch.setattr(Captioner, "caption", lambda *_: pytest.fail("it was done"))
        assert run(videos, folder, models) == summary
        assert content_of(folder) == before

    def test_videos_may_be_added_and_a_mended_one_is_captioned(self, videos, models, tmp_path):
        growing = tmp_path / "videos"
        growing.mkdir()
        for vid in ("v0", "v2", "v3b"):
            shutil.copy(videos / f"{vid}.mp4", growing)
        first = run(growing, tmp_path / "out", models)
        shutil.copy(videos / "v1.mp4", growing)
        shutil.copy(videos / "v4.mp4", growing / "v3b.mp4")
        second = run(growing, tmp_path / "out", models)
        assert (len(first.failed), len(second.failed)) == (1, 0)
        rows = read_annotations(tmp_path / "out" / "corpus.jsonl", "pretraining")
        assert list(dict.fromkeys(row["vid"] for row in rows)) == ["v0", "v1", "v2", "v3b"]
        assert not (tmp_path / "out" / "failed.jsonl").exists()

    def test_videos_that_are_no_longer_wanted_are_not_in_it(self, whole, models, videos, tmp_path):
        shutil.copytree(whole[0], tmp_path / "out")
        fewer = {vid: video for vid, video in find_videos(videos).items() if vid in ("v1", "v2")}
        captioner = Captioner.from_pretrained(models / "captioner", generation=GENERATION)
        scorer = MatchingScorer.from_pretrained(models / "scorer")
        generate_corpus(fewer, tmp_path / "out", captioner, scorer, CorpusSettings(**FRAME_SIZES), QUIET)
        rows = read_annotations(tmp_path / "out" / "corpus.jsonl", "pretraining")
        assert {row["vid"] for row in rows} == {"v1", "v2"}

    def test_other_settings_are_refused_and_named(self, whole, videos, models):
        with pytest.raises(SettingsMismatchError, match=r"clip_length is 2\.0 there and 1\.0 now"):
            run(videos, whole[0], models, ExtractionSettings(clip_length=1, progress=False))
        with pytest.raises(SettingsMismatchError, match=r"max_duration is 500\.0 there and None now"):
            run(videos, whole[0], models, max_duration=math.inf)

    def test_the_same_models_may_have_moved(self, whole, videos, models, tmp_path):
        shutil.copytree(models, tmp_path / "models")
        assert run(videos, whole[0], tmp_path / "models") == whole[1]

    def test_long_videos_are_skipped_and_counted(self, videos, models, tmp_path):
        summary = run(videos, tmp_path, models, max_duration=15)
        assert summary.num_too_long == 5
        assert {row["vid"] for row in read_annotations(summary.path, "pretraining")} == {"v0", "v1"}

    def test_of_the_paper_has_cosine_similarities_as_they_are(self, videos, models, tmp_path):
        captioner = Captioner.from_pretrained(models / "captioner")
        scorer = SimilarityScorer.from_pretrained(models / "scorer")
        chosen = {vid: video for vid, video in find_videos(videos).items() if vid == "v1"}
        summary = generate_corpus(chosen, tmp_path, captioner, scorer, CorpusSettings("paper", **FRAME_SIZES), QUIET)
        rows = read_annotations(summary.path, "pretraining")
        assert rows[0]["qid"] == "v1_0.0_10.0"
        assert all(-1 <= score <= 1 for row in rows for (score,) in row["saliency_scores"])

    def test_form_and_scorer_must_fit(self, videos, models, tmp_path):
        scorer = MatchingScorer.from_pretrained(models / "scorer")
        with pytest.raises(ValueError, match="scores by similarity, this scorer by matching"):
            generate_corpus(find_videos(videos), tmp_path, FakeCaptioner([]), scorer, CorpusSettings("paper"))
        with pytest.raises(ValueError, match="no videos"):
            generate_corpus({}, tmp_path, FakeCaptioner([]), scorer)


class TestInterruption:
    def test_a_run_killed_in_the_middle_of_a_line_and_repeated_gives_the_same_corpus(
        self, python, whole, videos, models, tmp_path
    ):
        # In the middle of the first chunk of three, at the beginning of the second, and in the last.
        for line in (1, 3):
            killed = python.run("-m", "tests.support.corpus_run", videos, models, tmp_path, "--kill-in-line", line)
            assert killed.returncode == -signal.SIGKILL
            assert not (tmp_path / "corpus.jsonl").exists()
            (part,) = (tmp_path / "corpus_parts").iterdir()
            assert not part.read_bytes().endswith(b"\n")
        assert run(videos, tmp_path, models).num_captions == whole[1].num_captions
        assert content_of(tmp_path) == content_of(whole[0])
        recorded = [json.loads(line)["vid"] for line in part.read_text().splitlines()]
        assert sorted(recorded) == [f"v{index}" for index in range(NUM_VIDEOS - 1)]

    @pytest.mark.slow
    def test_two_processes_give_the_same_corpus_also_where_one_process_went_before(
        self, python, whole, videos, models, tmp_path
    ):
        fresh, begun = tmp_path / "fresh", tmp_path / "begun"
        killed = python.run("-m", "tests.support.corpus_run", videos, models, begun, "--kill-in-line", 4)
        assert killed.returncode == -signal.SIGKILL
        launch_two("-m", "tests.support.corpus_run", videos, models, fresh, begun)
        for output in (fresh, begun):
            seen = [json.loads((output / f"seen-{rank}.json").read_text()) for rank in range(2)]
            assert [process["world_size"] for process in seen] == [2, 2]
            assert seen[0]["summary"] == seen[1]["summary"] == str(whole[1])
            assert content_of(output) == content_of(whole[0])
            assert (output / "failed.jsonl").read_bytes() == (whole[0] / "failed.jsonl").read_bytes()
            assert len(list((output / "corpus_parts").iterdir())) == 2


class TestDisk:
    def test_a_full_one_stops_the_run_with_what_is_done_kept(self, whole, videos, models, tmp_path, monkeypatch):
        real_fsync, calls = os.fsync, []

        def full_at_second(descriptor):
            calls.append(descriptor)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real_fsync(descriptor)

        monkeypatch.setattr(os, "fsync", full_at_second)
        with pytest.raises(OSError, match=r"No space left on device; finished videos are kept.*part-00000"):
            run(videos, tmp_path, models)
        monkeypatch.setattr(os, "fsync", real_fsync)
        run(videos, tmp_path, models)
        assert content_of(tmp_path) == content_of(whole[0])

    def test_a_corpus_that_cannot_be_written_leaves_nothing_behind_and_is_named(self, whole, videos, models, tmp_path):
        shutil.copytree(whole[0], tmp_path / "out")
        (tmp_path / "out" / "corpus.jsonl").unlink()
        (tmp_path / "out" / "corpus.jsonl").mkdir()
        with pytest.raises(OSError, match=r"corpus\.jsonl"):
            run(videos, tmp_path / "out", models)
        assert not list((tmp_path / "out").glob("*.tmp"))
        (tmp_path / "out" / "corpus.jsonl").rmdir()
        run(videos, tmp_path / "out", models)
        assert content_of(tmp_path / "out") == content_of(whole[0])

    def test_a_folder_that_is_a_file_is_an_error(self, videos, models, tmp_path):
        (tmp_path / "out").write_text("")
        with pytest.raises(OSError, match="out"):
            run(videos, tmp_path / "out", models)

    @pytest.mark.parametrize("line", ["nonsense", '{"vid": "v0"}', "[" * 100_000, '{"vid": 3, "rows": []}'])
    def test_a_record_that_another_hand_changed_is_named(self, whole, videos, models, tmp_path, line):
        shutil.copytree(whole[0], tmp_path / "out")
        part = tmp_path / "out" / "corpus_parts" / "part-00000.jsonl"
        part.write_text(f"{line}\n" + part.read_text())
        with pytest.raises(ValueError, match=r"part-00000\.jsonl:1 is not the record"):
            run(videos, tmp_path / "out", models)

    @pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000])
    def test_settings_that_cannot_be_read_are_named(self, whole, videos, models, tmp_path, content):
        (tmp_path / "corpus_settings.json").write_text(content)
        with pytest.raises(ValueError, match=r"corpus_settings\.json"):
            run(videos, tmp_path, models)

    def test_another_run_on_the_folder_is_refused(self, whole, videos, models, tmp_path):
        with locked_folder(tmp_path), pytest.raises(FolderInUseError, match="is in use by process"):
            run(videos, tmp_path, models)

    def test_records_that_disappear_are_not_passed_over(self, videos, models, tmp_path, monkeypatch):
        append = Journal.append
        monkeypatch.setattr(Journal, "append", lambda self, records: append(self, list(records)[1:]))
        with pytest.raises(OSError, match=r"The records of 3 videos disappeared from .*'v0'"):
            run(videos, tmp_path, models)
        assert not (tmp_path / "corpus.jsonl").exists()
