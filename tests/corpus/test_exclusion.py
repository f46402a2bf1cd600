from pathlib import Path

import pytest

from videolights_hf.corpus import candidate_videos, leave_out, read_vids
from videolights_hf.corpus.exclusion import VideoPart, part_of, source_of
from videolights_hf.data import AnnotationError
from videolights_hf.video.reader import VideoSource


def files(*vids):
    return {vid: VideoSource(Path(f"{vid}.mp4")) for vid in vids}


def test_videos_of_evaluation_splits_are_left_out_and_counted():
    kept, left_out = leave_out(files("a", "b", "c"), ["b", "elsewhere"])
    assert list(kept) == ["a", "c"]
    assert len(left_out) == 1
    assert str(left_out) == "1 left out: 1 in evaluation splits, 0 of their source"


def test_other_parts_of_an_evaluated_video_are_left_out_and_so_is_the_whole():
    videos = files("j7rJstUseKg_0.0_150.0", "j7rJstUseKg_210.0_360.0", "j7rJstUseKg", "_7rJstUse-g_0.0_150.0")
    kept, left_out = leave_out(videos, ["j7rJstUseKg_360.0_510.0"])
    assert list(kept) == ["_7rJstUse-g_0.0_150.0"]
    assert (len(left_out.named), len(left_out.same_source)) == (0, 3)


def test_a_part_is_left_out_where_the_whole_is_evaluated():
    assert not leave_out(files("j7rJstUseKg_0.0_150.0"), ["j7rJstUseKg"])[0]


def test_parts_of_the_same_file_are_left_out_whatever_their_names_are():
    film = Path("film.mp4")
    videos = {"film_0_10": VideoSource(film, end=10.0), "film_90_95": VideoSource(film, start=90.0, end=95.0)}
    kept, left_out = leave_out(videos, ["film_90_95"])
    assert not kept
    assert left_out.same_source == ["film_0_10"]


@pytest.mark.parametrize("vid", ["train_0_00001", "validation_0_00001", "s17-d69", "AO8RW", "abcdefghijk_1_2"])
def test_numbered_names_are_not_taken_for_parts_of_one_video(vid):
    assert source_of(vid) == vid
    assert leave_out(files(vid), [f"{vid[:-1]}x"])[0]


def test_ids_may_hold_underscores_and_dashes():
    assert part_of("_-J_st_se-g_60.0_210.5") == VideoPart("_-J_st_se-g", 60.0, 210.5)


def test_a_file_of_which_parts_are_annotated_gives_way_to_them():
    annotated = {"film_0_10": VideoSource(Path("film.mp4"), end=10.0), "a": VideoSource(Path("a.mp4"))}
    assert list(candidate_videos(files("film", "b", "a"), annotated)) == ["a", "b", "film_0_10"]


def test_whatever_stands_for_the_videos_comes_back():
    assert leave_out({"a": 1.5, "b": 2.5}, ["b"])[0] == {"a": 1.5}


class TestVids:
    def test_are_read_from_annotations_of_any_kind(self, tmp_path):
        path = tmp_path / "val.jsonl"
        path.write_text('\ufeff{"vid": "a", "saliency_scores": "whatever"}\n\n{"vid": "b"}\n{"vid": "a"}\n')
        assert read_vids(path) == {"a", "b"}

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ("{", "not JSON"),
            ("[]", "expected a JSON object, found list"),
            ("3", "expected a JSON object, found int"),
            ('{"qid": 1}', "expected a video id as `vid`, found None"),
            ('{"vid": ["a"]}', "expected a video id"),
        ],
    )
    def test_a_line_without_one_is_named(self, tmp_path, line, fault):
        path = tmp_path / "val.jsonl"
        path.write_text('{"vid": "a"}\n' + line)
        with pytest.raises(AnnotationError, match=rf"val\.jsonl:2: {fault}"):
            read_vids(path)

    def test_a_file_without_any_is_an_error(self, tmp_path):
        (tmp_path / "val.jsonl").write_text("\n")
        with pytest.raises(AnnotationError, match="names no videos"):
            read_vids(tmp_path / "val.jsonl")
