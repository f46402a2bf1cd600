"""Which files are opened, and how: every door that a video may come through."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.videos import gray_frames, numbered_frames, write_video
from videolights_hf.video.excerpts import write_excerpt
from videolights_hf.video.files import VIDEO_ENDINGS, stored_video
from videolights_hf.video.reader import FrameRequirement, VideoReader, VideoReadError, read_video_metadata


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", numbered_frames(range(40)), 10)


def num_clips(video) -> int:
    return sum(len(frames) for _, frames in VideoReader(video).clip_frames([FrameRequirement(16)], 1.0))


@pytest.mark.parametrize(
    "name", ["2024-08-20T13:28:35Z.mp4", "pipe:1.mp4", "data:x.mp4", "concat:a|b.mp4", "a%03d.mp4"]
)
def test_no_name_is_taken_for_an_address(video, tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert num_clips(name) == 4
    (tmp_path / "take:2").mkdir()
    assert read_video_metadata(write_excerpt(name, 1, 2, "take:2/a:b.mp4")).duration == 1


class TestOnlyRegularFiles:
    def test_a_named_pipe_is_refused_at_once(self, tmp_path):
        pipe = tmp_path / "p.mp4"
        os.mkfifo(pipe)
        with pytest.raises(VideoReadError, match=r"p\.mp4 is not a regular file but a pipe or device: store"):
            VideoReader(pipe)
        with pytest.raises(VideoReadError, match="not a regular file"):
            write_excerpt(pipe, 0, 1, tmp_path / "out.mp4")

    @pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
    def test_a_device_is_refused(self, path):
        with pytest.raises(VideoReadError, match="not a regular file"):
            VideoReader(path)

    def test_a_folder_is_named_as_such(self, tmp_path):
        with pytest.raises(VideoReadError, match="is a folder, not a video file"):
            VideoReader(tmp_path)

    def test_a_name_that_is_not_a_path_is_refused(self):
        with pytest.raises(VideoReadError, match="not a path"):
            VideoReader("a\0b.mp4")

    @pytest.mark.parametrize("content", ["#EXTM3U\n#EXTINF:4,\nvideo.ts\n", "ffconcat version 1.0\nfile video.mp4\n"])
    def test_a_playlist_opens_nothing_and_does_not_wait_for_its_end(self, tmp_path, content):
        playlist = tmp_path / "live.m3u8"
        playlist.write_text(content)
        with pytest.raises(VideoReadError, match="is a playlist"):
            VideoReader(playlist)
        with pytest.raises(VideoReadError, match="is a playlist"):
            VideoReader(io.BytesIO(content.encode()))


class TestFileObjects:
    @pytest.mark.parametrize("limit", [10, 10_000_000], ids=["on disk", "in memory"])
    def test_uploads_are_read(self, video, limit):
        with tempfile.SpooledTemporaryFile(max_size=limit) as upload:
            upload.write(video.read_bytes())
            assert num_clips(upload) == 4

    def test_files_that_can_be_written_are_read(self, video, tmp_path):
        copy = tmp_path / "copy.mp4"
        copy.write_bytes(video.read_bytes())
        for mode in ("r+b", "rb"):
            with copy.open(mode) as file:
                file.seek(7)
                assert num_clips(file) == 4
        assert copy.read_bytes() == video.read_bytes()

    def test_what_cannot_seek_is_stored(self, video):
        read_end, write_end = os.pipe()

        def feed():
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(video.read_bytes())

        thread = threading.Thread(target=feed)
        thread.start()
        with os.fdopen(read_end, "rb") as pipe:
            assert num_clips(pipe) == 4
        thread.join()

    def test_more_than_the_limit_is_not_stored(self, monkeypatch):
        class Endless(io.RawIOBase):
            def readable(self):
                return True

            def readinto(self, buffer):
                return len(buffer)

        monkeypatch.setenv("VIDEOLIGHTS_MAX_SPOOLED_GIGABYTES", "0.01")
        with pytest.raises(
            VideoReadError, match=r"the limit is 0\.01; set VIDEOLIGHTS_MAX_SPOOLED_GIGABYTES to raise"
        ):
            VideoReader(Endless())


class TestStandardInput:
    @pytest.mark.parametrize("name", ["-", "/dev/stdin"])
    def test_it_is_stored_as_a_file_that_can_be_opened_again(self, video, name):
        code = (
            "import sys; from videolights_hf.video.files import stored_video\n"
            "from videolights_hf.video.reader import read_video_metadata\n"
            f"with stored_video({name!r}) as path:\n"
            "    print(read_video_metadata(path).duration, read_video_metadata(path).duration)\n"
        )
        with subprocess.Popen(["cat", str(video)], stdout=subprocess.PIPE) as cat:
            done = subprocess.run([sys.executable, "-c", code], stdin=cat.stdout, capture_output=True, timeout=60)
        assert done.stdout.split() == [b"4.0", b"4.0"], done.stderr

    def test_other_paths_stay_as_they_are(self, video):
        with stored_video(video) as path:
            assert path == str(video)

    def test_nothing_is_no_video(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        with pytest.raises(VideoReadError, match="Standard input is empty"), stored_video("-"):
            pass


def write_gif(path: Path, count: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=2)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for picture in gray_frames(range(40, 40 + 10 * count, 10)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="rgb8")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class TestSinglePictures:
    def test_an_animated_gif_is_a_video(self, tmp_path):
        path = write_gif(tmp_path / "moving.gif", 8)
        assert path.suffix in VIDEO_ENDINGS
        assert read_video_metadata(path).num_frames == 8

    @pytest.mark.parametrize("name", ["still.gif", "still.png", "still.jpg", "still.mp4"])
    def test_a_file_of_one_picture_is_not(self, tmp_path, name):
        path = tmp_path / name
        if name.endswith("gif"):
            write_gif(path, 1)
        elif name.endswith("mp4"):
            write_video(path, gray_frames([90]), 10)
        else:
            av.VideoFrame.from_ndarray(gray_frames([90])[0], format="rgb24").to_image().save(path)
        with pytest.raises(VideoReadError, match=r"still\.\w+ holds a single picture: it is not a video"):
            VideoReader(path)


class TestDeclaredSizes:
    def test_years_in_a_few_bytes_are_refused(self, tmp_path, monkeypatch):
        path = tmp_path / "years.y4m"
        picture = b"FRAME\n" + bytes(16 * 16 * 3 // 2)
        path.write_bytes(b"YUV4MPEG2 W16 H16 F1:100000 Ip C420jpeg\n" + 3 * picture)
        with pytest.raises(
            VideoReadError, match=r"announces 83\.3 hours \(the limit is 24; set VIDEOLIGHTS_MAX_VIDEO_HOURS"
        ):
            VideoReader(path)
        monkeypatch.setenv("VIDEOLIGHTS_MAX_VIDEO_HOURS", "100")
        assert read_video_metadata(path).duration == 300_000

    def test_a_gap_of_days_is_refused(self, tmp_path):
        times = [0, 0.1, 0.2, 100_000]
        path = write_video(tmp_path / "gap.mkv", numbered_frames(range(4)), 10, times=times, options={"bf": "0"})
        with pytest.raises(VideoReadError, match=r"27\.8 hours"):
            VideoReader(path)

    def test_frames_of_a_long_gap_cost_no_memory(self, tmp_path):
        times = [0, 0.1, 0.2, 80_000]
        path = write_video(tmp_path / "gap.mkv", numbered_frames(range(4)), 10, times=times, options={"bf": "0"})
        batches = VideoReader(path).clip_frames([FrameRequirement(16, 32)], 1.0)
        assert next(batches)[1].shape == (64, 16, 16, 3)

    def test_pictures_beyond_the_limit_are_refused(self, video, monkeypatch):
        monkeypatch.setenv("VIDEOLIGHTS_MAX_MEGAPIXELS", "0.001")
        with pytest.raises(
            VideoReadError, match=r"64 x 48 pixels \(the limit is 0\.001; set VIDEOLIGHTS_MAX_MEGAPIXELS"
        ):
            VideoReader(video)

    @pytest.mark.parametrize("value", ["many", "-1", "nan"])
    def test_a_limit_that_is_not_a_number_is_refused(self, video, monkeypatch, value):
        monkeypatch.setenv("VIDEOLIGHTS_MAX_VIDEO_HOURS", value)
        with pytest.raises(ValueError, match="VIDEOLIGHTS_MAX_VIDEO_HOURS must be a positive number"):
            VideoReader(video)


def test_the_film_is_read_and_not_the_preview_before_it(tmp_path):
    path = tmp_path / "preview_first.mp4"
    with av.open(str(path), "w") as container:
        small, film = (container.add_stream("libx264", rate=10) for _ in range(2))
        for stream, size in ((small, (32, 32)), (film, (64, 48))):
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
        small.disposition, film.disposition = av.stream.Disposition(0), av.stream.Disposition.default
        for picture in numbered_frames(range(40)):
            container.mux(small.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 200, np.uint8))))
            container.mux(film.encode(av.VideoFrame.from_ndarray(picture)))
        for stream in (small, film):
            container.mux(stream.encode(None))
    metadata = read_video_metadata(path)
    assert (metadata.width, metadata.height) == (64, 48)
    cut = read_video_metadata(write_excerpt(path, 1, 2, tmp_path / "cut.mp4"))
    assert (cut.width, cut.height) == (64, 48)


@pytest.mark.parametrize("level", ["ERROR", "DEBUG"])
def test_reading_ends_where_the_program_has_turned_the_log_of_pyav_on(tmp_path, level):
    # Long gaps between keyframes keep the decoder's threads busy when the reader has seen enough.
    path = write_video(
        tmp_path / "slow.mkv", numbered_frames(range(18), 128, 128), Fraction(1, 4), options={"g": "250", "bf": "3"}
    )
    code = f"""
import av
av.logging.set_level(av.logging.{level})
from fractions import Fraction
from videolights_hf.video.reader import VideoReader
from videolights_hf.video.excerpts import write_excerpt
for _ in range(15):
    list(VideoReader({str(path)!r}).frames_at([Fraction(1), Fraction(5)]))
    list(VideoReader({str(path)!r}, start=5, end=9).frames_at([Fraction(1), Fraction(3)]))
write_excerpt({str(path)!r}, 5, 20, {str(tmp_path / "cut.mp4")!r})
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip().endswith("done"), done.stderr
