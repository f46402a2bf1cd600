import json

import pytest

from examples import convert_subtitles as convert_subtitles_script
from tests.support.videos import gray_frames, write_video
from videolights_hf.corpus import (
    Cue,
    SubtitleError,
    annotated_durations,
    convert_subtitles,
    find_subtitles,
    generate_asr_corpus,
    read_durations,
)
from videolights_hf.corpus.asr import subtitle_rows
from videolights_hf.data import AnnotationError, read_annotations
from videolights_hf.extraction import find_videos


def write_srt(path, *cues):
    blocks = [f"00:00:{start:06.3f} --> 00:00:{end:06.3f}\n{text}\n" for start, end, text in cues]
    path.write_text("\n".join(blocks))
    return path


def test_windows_are_cut_to_the_video_and_what_is_outside_is_dropped():
    cues = [Cue(-0.0, 2, ("a",)), Cue(8, 12, ("b",)), Cue(10, 11, ("c",)), Cue(3, 3, ("d",))]
    assert subtitle_rows("v", cues, 10.0) == [
        {"qid": "v_0", "query": "a", "duration": 10.0, "vid": "v", "relevant_windows": [[0.0, 2]]},
        {"qid": "v_1", "query": "b", "duration": 10.0, "vid": "v", "relevant_windows": [[8, 10.0]]},
    ]


def test_a_part_of_a_longer_video_gets_its_subtitles_shifted():
    rows = subtitle_rows("v", [Cue(1, 3, ("a",)), Cue(62, 65, ("b",)), Cue(59, 61.5, ("c",))], 10.0, offset=60.0)
    assert [(row["query"], row["relevant_windows"]) for row in rows] == [("b", [[2, 5]]), ("c", [[0.0, 1.5]])]


class TestConversion:
    def test_writes_annotations_that_training_reads(self, tmp_path):
        files = [
            write_srt(tmp_path / "a.srt", (1, 3, "one"), (4, 5, "♪"), (6, 20, "two")),
            write_srt(tmp_path / "c.srt", (1, 3, "three")),
        ]
        summary = convert_subtitles(files, {"b": 5.0, "a": 10.0}, tmp_path / "asr.jsonl")
        rows = read_annotations(tmp_path / "asr.jsonl", "pretraining")
        assert [(row["qid"], row["query"], row["relevant_windows"]) for row in rows] == [
            ("a_0", "one", [[1.0, 3.0]]),
            ("a_1", "two", [[6.0, 10.0]]),
        ]
        assert (summary.num_videos, summary.num_queries, summary.num_empty, summary.unmatched) == (1, 2, 1, ("c",))

    def test_parts_of_a_video_get_the_subtitles_of_the_whole(self, tmp_path):
        files = [write_srt(tmp_path / "j7rJstUseKg.en.srt", (1, 3, "one"), (31, 33, "two"))]
        durations = {"j7rJstUseKg_30.0_60.0": 30.0, "j7rJstUseKg_0.0_30.0": 30.0}
        summary = convert_subtitles(files, durations, tmp_path / "asr.jsonl")
        rows = read_annotations(tmp_path / "asr.jsonl", "pretraining")
        assert [(row["vid"], row["query"], row["relevant_windows"]) for row in rows] == [
            ("j7rJstUseKg_0.0_30.0", "one", [[1.0, 3.0]]),
            ("j7rJstUseKg_30.0_60.0", "two", [[1.0, 3.0]]),
        ]
        assert summary.num_outside == 0

    def test_two_files_of_one_video_are_refused(self, tmp_path):
        files = [write_srt(tmp_path / name, (1, 3, "one")) for name in ("a.en.srt", "a.de.srt")]
        with pytest.raises(SubtitleError, match=r"a\.en\.srt and .*a\.de\.srt are both subtitles of 'a'"):
            convert_subtitles(files, {"a": 10.0}, tmp_path / "asr.jsonl")

    def test_faults_of_all_files_are_named_at_once(self, tmp_path):
        files = [write_srt(tmp_path / name, (3, 1, "one")) for name in ("a.srt", "b.srt")]
        (tmp_path / "c.vtt").write_text("nothing")
        with pytest.raises(SubtitleError) as caught:
            convert_subtitles([*files, tmp_path / "c.vtt"], {"a": 10.0}, tmp_path / "asr.jsonl")
        assert [problem.split(": ")[0][-7:] for problem in caught.value.problems] == ["a.srt:1", "b.srt:1", "c.vtt:1"]

    def test_the_whole_name_is_tried_before_a_language_is_cut_off(self, tmp_path):
        files = [
            write_srt(tmp_path / f"{name}.srt", (1, 3, name)) for name in ("trip.day", "trip.no", "walk.en", "x.mov")
        ]
        durations = dict.fromkeys(["trip.day", "trip.no", "trip", "walk", "x"], 10.0)
        convert_subtitles(files, durations, tmp_path / "asr.jsonl")
        rows = read_annotations(tmp_path / "asr.jsonl", "pretraining")
        assert {row["vid"]: row["query"] for row in rows} == {
            "trip.day": "trip.day",
            "trip.no": "trip.no",
            "walk": "walk.en",
            "x": "x.mov",
        }

    def test_subtitles_of_a_video_that_is_left_out_are_not_given_to_another(self, tmp_path):
        files = [write_srt(tmp_path / f"{name}.srt", (1, 3, name)) for name in ("trip.no", "a")]
        summary = convert_subtitles(files, {"trip": 10.0, "a": 10.0}, tmp_path / "asr.jsonl", others=["trip.no"])
        assert (summary.num_videos, summary.unmatched) == (1, ("trip.no",))

    def test_subtitles_of_no_video_that_is_wanted_write_nothing(self, tmp_path):
        with pytest.raises(ValueError, match="None of 1 videos with subtitles has a query in the 1 videos"):
            convert_subtitles([write_srt(tmp_path / "a.srt", (1, 3, "one"))], {"b": 10.0}, tmp_path / "asr.jsonl")
        assert not (tmp_path / "asr.jsonl").exists()


class TestFiles:
    def test_a_folder_is_searched_and_other_files_are_passed_over(self, tmp_path):
        (tmp_path / "below").mkdir()
        for name in ("b.vtt", "below/a.SRT", "readme.txt"):
            (tmp_path / name).write_text("")
        assert find_subtitles(tmp_path) == [tmp_path / "b.vtt", tmp_path / "below/a.SRT"]
        assert find_subtitles(f"{tmp_path}/*.vtt") == [tmp_path / "b.vtt"]

    def test_none_and_nowhere_are_errors(self, tmp_path):
        with pytest.raises(ValueError, match="No subtitles found"):
            find_subtitles(tmp_path)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            find_subtitles(tmp_path / "nowhere")

    def test_lengths_are_those_of_the_videos_and_bad_ones_are_named(self, tmp_path):
        write_video(tmp_path / "good.mp4", gray_frames([0] * 12), 4)
        (tmp_path / "bad.mp4").write_bytes(b"")
        durations, failed = read_durations(find_videos(tmp_path))
        assert durations == {"good": 3.0}
        assert [failure.vid for failure in failed] == ["bad"]


class TestAnnotatedDurations:
    def test_are_those_of_the_rows(self, tmp_path):
        (tmp_path / "train.jsonl").write_text('{"vid": "a", "duration": 3}\n\n{"vid": "b", "duration": 2.5}\n')
        assert annotated_durations(tmp_path / "train.jsonl") == {"a": 3.0, "b": 2.5}

    @pytest.mark.parametrize(
        ("row", "fault"),
        [
            ("{", "not JSON"),
            ("[]", "expected a JSON object, found list"),
            ("[" * 100_000, "not JSON that can be read"),
            ('{"duration": 1}', "expected a video id as `vid`, found None"),
            ('{"vid": null, "duration": 1}', "expected a video id as `vid`, found None"),
            ('{"vid": "a"}', "`duration` must be a positive number"),
            ('{"vid": "a", "duration": 0}', "`duration` must be a positive number"),
            ('{"vid": "a", "duration": true}', "`duration` must be a positive number"),
            ('{"vid": "a", "duration": "20"}', "`duration` must be a positive number"),
            ('{"vid": "a", "duration": 1e10}', "`duration` must be a positive number"),
            (f'{{"vid": "a", "duration": 1{"0" * 400}}}', "`duration` must be a positive number"),
        ],
    )
    def test_rows_without_are_named(self, tmp_path, row, fault):
        (tmp_path / "train.jsonl").write_text('{"vid": "a", "duration": 3}\n' + row)
        with pytest.raises(AnnotationError, match=rf"train\.jsonl:2: {fault}"):
            annotated_durations(tmp_path / "train.jsonl")


def test_the_result_of_an_earlier_run_is_not_taken_for_subtitles(tmp_path):
    write_srt(tmp_path / "a.srt", (1, 2, "one"))
    (tmp_path / "train.jsonl.txt").write_text('{"vid": "a", "duration": 3}\n')
    for _ in range(2):
        corpus = generate_asr_corpus(tmp_path, tmp_path / "asr.jsonl", durations=[tmp_path / "train.jsonl.txt"])
        assert corpus.summary.num_queries == 1


def test_script_converts_and_leaves_evaluation_videos_out(tmp_path, capsys):
    for vid in ("a", "b"):
        write_srt(tmp_path / f"{vid}.srt", (1, 2, vid))
    write_video(tmp_path / "a.mp4", gray_frames([0] * 12), 4)
    write_video(tmp_path / "b.mp4", gray_frames([0] * 12), 4)
    (tmp_path / "val.jsonl").write_text(json.dumps({"qid": 1, "query": "q", "vid": "b", "duration": 3.0}))
    output = tmp_path / "asr.jsonl"
    common = {"subtitles": str(tmp_path / "*.srt"), "output": output, "exclude": [str(tmp_path / "val.jsonl")]}
    convert_subtitles_script.main(**common, videos=str(tmp_path))
    assert [row["vid"] for row in read_annotations(output, "pretraining")] == ["a"]
    assert "2 videos; 1 left out: 1 in evaluation splits, 0 of their source" in capsys.readouterr().out
    (tmp_path / "all.jsonl").write_text(json.dumps({"vid": "a", "duration": 1.5}) + "\n")
    convert_subtitles_script.main(**common, durations=[str(tmp_path / "all.jsonl")])
    assert [row["relevant_windows"] for row in read_annotations(output, "pretraining")] == [[[1.0, 1.5]]]
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl"):
        convert_subtitles_script.main(**common, durations=[str(tmp_path / "nowhere.jsonl")])
    with pytest.raises(ValueError, match="either the videos or"):
        convert_subtitles_script.main(**common)
