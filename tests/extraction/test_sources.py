import os

import numpy as np
import pytest

from tests.support.corpora import NumberBackbone, write_numbered
from videolights_hf.backbones.runner import VideoEncoder
from videolights_hf.extraction import find_videos
from videolights_hf.video.reader import VideoSource


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.fixture
def folder(tmp_path):
    touch(
        tmp_path / "b.mp4",
        tmp_path / "deep" / "er" / "a.WEBM",
        tmp_path / "deep" / "notes.txt",
        tmp_path / "deep" / "._b.mp4",
        tmp_path / "features.npz",
    )
    return tmp_path


class TestWhere:
    def test_a_folder_is_searched_with_its_sub_folders_for_videos(self, folder):
        found = find_videos(folder)
        assert found == {
            "a": VideoSource(folder / "deep" / "er" / "a.WEBM"),
            "b": VideoSource(folder / "b.mp4"),
        }
        assert list(find_videos(str(folder))) == ["a", "b"]

    def test_links_are_followed_but_not_in_circles(self, folder):
        os.symlink(folder, folder / "deep" / "again")
        touch(folder.parent / "elsewhere" / "c.mkv")
        os.symlink(folder.parent / "elsewhere", folder / "deep" / "elsewhere")
        assert list(find_videos(folder)) == ["a", "b", "c"]

    def test_a_pattern(self, folder):
        assert list(find_videos(folder / "**" / "*.[Ww]*")) == ["a"]
        assert list(find_videos(f"{folder}/*.mp4")) == ["b"]
        with pytest.raises(FileNotFoundError, match=r"No file matches the pattern .*\.avi"):
            find_videos(f"{folder}/*.avi")

    def test_a_list_of_paths_in_a_file(self, folder):
        (folder / "list.txt").write_text(f"\ufeffb.mp4\r\n\n  {folder}/deep/er/a.WEBM  \nb.mp4\ngone.mp4\n", "utf-8")
        found = find_videos(folder / "list.txt")
        assert list(found) == ["a", "b", "gone"]
        assert found["b"].video == folder / "b.mp4"

    def test_one_video_and_a_list_of_paths(self, folder):
        assert find_videos(folder / "b.mp4") == {"b": VideoSource(folder / "b.mp4")}
        assert list(find_videos([folder / "b.mp4", "x/y.mkv"])) == ["b", "y"]

    def test_an_annotation_file_is_no_list(self, folder):
        (folder / "train.jsonl").write_text('{"vid": "a"}\n')
        with pytest.raises(ValueError, match="as annotations"):
            find_videos(folder / "train.jsonl")

    def test_a_list_that_is_no_text_is_refused(self, folder):
        (folder / "video.bin").write_bytes(b"\xff\xfe\x00\x81")
        with pytest.raises(ValueError, match="neither a video"):
            find_videos(folder / "video.bin")

    def test_what_is_not_there_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            find_videos(tmp_path / "nowhere")

    def test_a_folder_without_videos_is_refused(self, tmp_path):
        touch(tmp_path / "notes.txt")
        with pytest.raises(ValueError, match=r"No videos found in .*\.mp4"):
            find_videos(tmp_path)

    def test_a_folder_that_cannot_be_read_is_named(self, folder, monkeypatch):
        scan = os.scandir

        def refuse(path):
            if str(path).endswith("deep"):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(PermissionError, match="deep"):
            find_videos(folder)

    def test_two_files_of_one_vid_are_refused(self, folder):
        touch(folder / "deep" / "b.mkv")
        with pytest.raises(ValueError, match=r"2 files have the vid 'b': .*b\.mp4.*b\.mkv|2 files .*b\.mkv.*b\.mp4"):
            find_videos(folder)
        assert list(find_videos(folder, ["a"])) == ["a"]

    def test_one_file_by_two_names_is_one_video(self, folder):
        os.symlink(folder / "b.mp4", folder / "deep" / "b.mp4")
        assert list(find_videos(folder)) == ["a", "b"]
        assert list(find_videos([folder / "b.mp4", folder / "deep" / ".." / "b.mp4"])) == ["b"]

    def test_files_of_tacos_are_named_as_its_annotations_name_them(self, tmp_path):
        touch(tmp_path / "s17-d69-cam-002.avi")
        found = {"s17-d69": VideoSource(tmp_path / "s17-d69-cam-002.avi")}
        assert find_videos(tmp_path) == find_videos(tmp_path, ["s17-d69"]) == found


class TestVids:
    def test_wanted_videos_are_looked_up_and_others_left(self, folder):
        assert list(find_videos(folder, ["b", "nowhere"])) == ["b"]

    @pytest.mark.parametrize(
        ("vid", "name", "start", "end"),
        [
            ("NUsG9BgSes0_210.0_360.0", "NUsG9BgSes0", 210, 360),
            ("a_-b-_C_0_10.5", "a_-b-_C", 0, 10.5),
            ("-x_60_210", "-x", 60, 210),
            ("x_1_2_3.5_4", "x_1_2", 3.5, 4),
        ],
    )
    def test_a_part_is_cut_from_the_longer_video(self, tmp_path, vid, name, start, end):
        touch(tmp_path / f"{name}.mp4")
        assert find_videos(tmp_path, [vid]) == {vid: VideoSource(tmp_path / f"{name}.mp4", start=start, end=end)}

    def test_a_file_of_its_own_comes_first(self, tmp_path):
        touch(tmp_path / "x.mp4", tmp_path / "x_60.0_210.0.mp4")
        found = find_videos(tmp_path, ["x_60.0_210.0"])
        assert found == {"x_60.0_210.0": VideoSource(tmp_path / "x_60.0_210.0.mp4")}

    @pytest.mark.parametrize("vid", ["x_10_10", "x_20_10", "x_a_b", "x_1", "y_1_2", "x_1e3_2e3", "../x", "deep/x"])
    def test_what_names_no_part_is_not_found(self, tmp_path, vid):
        touch(tmp_path / "x.mp4", tmp_path / "deep" / "z.mp4")
        assert list(find_videos(tmp_path, [vid, "z"])) == ["z"]

    def test_a_wanted_video_of_an_unknown_extension_is_tried_rather_than_missing(self, folder):
        touch(folder / "deep" / "c.unheard", folder / "d.one", folder / "d.two")
        assert find_videos(folder, ["b", "c", "d"]) == {
            "b": VideoSource(folder / "b.mp4"),
            "c": VideoSource(folder / "deep" / "c.unheard"),
        }

    def test_if_nothing_is_found_that_is_said(self, folder):
        with pytest.raises(ValueError, match=r"None of the 2 videos that are wanted \(x, y\) is among the 2 of"):
            find_videos(folder, ["x", "y"])


class TestParts:
    """A part of a video gives what a file of the part alone gives."""

    def encode(self, *videos):
        backbones = [NumberBackbone("one", 1), NumberBackbone("many", 32)]
        return list(VideoEncoder(backbones, 2.0).encode(videos))

    def check(self, part, alone):
        part, alone = self.encode(part, alone)
        assert part.duration == pytest.approx(alone.duration, abs=1e-6)
        assert part.clip_length == alone.clip_length
        for name, rows in alone.features.items():
            assert np.array_equal(part.features[name], rows)

    @pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".avi"])
    @pytest.mark.parametrize(("start", "end"), [(0, 12), (12, 25), (7.2, 20), (30, 99), (3.4, 4.4)])
    def test_a_file(self, tmp_path, ending, start, end):
        frames = range(int(start * 5), min(int(end * 5), 200))
        # Without B-frames, whose timestamps AVI does not keep.
        options = {"g": "12", "bf": "0"}
        whole = write_numbered(tmp_path / f"whole{ending}", 200, options=options)
        alone = write_numbered(tmp_path / f"alone{ending}", len(frames), first=frames[0], options=options)
        self.check(VideoSource(whole, start=start, end=end), VideoSource(alone))

    def test_a_file_with_reordered_pictures(self, tmp_path):
        whole = write_numbered(tmp_path / "whole.mp4", 200, options={"g": "12", "bf": "3"})
        alone = write_numbered(tmp_path / "alone.mp4", 50, first=65)
        self.check(VideoSource(whole, start=13, end=23), VideoSource(alone))

    def test_an_array(self):
        from tests.support.videos import numbered_frames

        whole = numbered_frames(range(100))
        self.check(VideoSource(whole, 5, start=4, end=13), VideoSource(whole[20:65], 5))

    def test_a_start_between_two_frames(self):
        from tests.support.videos import numbered_frames

        # Frame 10 is on show from 10 s to 11 s: clip 0 (10.5 to 12.5 s) has its middle at 11.5 s, before frame 12.
        (video,) = self.encode(VideoSource(numbered_frames(range(100)), 1, start=10.5, end=16.5))
        assert video.features["one"][:, 0].tolist() == [11, 13, 15]
        assert video.features["many"][0, :9].tolist() == [10] * 8 + [11]

    def test_a_video_that_ends_inside_the_part(self, tmp_path):
        path = write_numbered(tmp_path / "short.mp4", 100)
        part = VideoSource(path, start=10, end=160).open()
        assert part.metadata.duration == 10
        assert part.metadata.num_frames == 50
        assert part.metadata.fps == 5

    def test_reading_a_part_does_not_decode_what_is_before_it(self, tmp_path, monkeypatch):
        from videolights_hf.video import film

        path = write_numbered(tmp_path / "whole.mp4", 200, options={"g": "10"})
        decoded = []
        decode = film._decode_packet
        monkeypatch.setattr(film, "_decode_packet", lambda packet: decoded.append(packet.pts) or decode(packet))
        reader = VideoSource(path, start=30, end=38).open()
        decoded.clear()
        (video,) = VideoEncoder([NumberBackbone()], 2.0).encode([reader])
        assert len(video.features["numbers"]) == 4
        assert 40 <= len(decoded) < 70

    @pytest.mark.parametrize(
        ("start", "end", "message"), [(30, 40, "lasts 20.0 s"), (5, 5, "before it ends"), (-1, 4, "`start`")]
    )
    def test_parts_that_are_none_are_refused(self, tmp_path, start, end, message):
        path = write_numbered(tmp_path / "short.mp4", 100)
        with pytest.raises(ValueError, match=message):
            VideoSource(path, start=start, end=end).open()
