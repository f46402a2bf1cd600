import io
import itertools
import os
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.videos import Colors, numbered_frames, read_number, write_video
from videolights_hf.video import files, film
from videolights_hf.video.reader import (
    FrameRequirement,
    VideoReader,
    VideoReadError,
    clip_grid,
    read_video_metadata,
)


def picked_frames(video, clip_length, frames_per_clip=1, fps=None) -> list[int]:
    """Numbers of the pictures that the reader takes."""
    batches = VideoReader(video, fps).clip_frames([FrameRequirement(48, frames_per_clip)], clip_length)
    return [read_number(crop) for _, crops in batches for crop in crops]


def frames_kept_by_ffmpeg(path, rate: Fraction) -> list[int]:
    """Numbers of the pictures that ffmpeg's own fps filter keeps."""
    kept = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source, fps, sink = graph.add_buffer(template=stream), graph.add("fps", f"fps={rate}"), graph.add("buffersink")
        source.link_to(fps)
        fps.link_to(sink)
        graph.configure()
        for frame in [*container.decode(stream), None]:
            if frame is not None:
                frame.pts -= stream.start_time
            graph.push(frame)
            while True:
                try:
                    kept.append(read_number(graph.pull().to_ndarray(format="gray")))
                except (av.error.BlockingIOError, av.error.EOFError):
                    break
    return kept


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


def irregular_times(count: int) -> list[float]:
    steps = np.random.default_rng(0).uniform(0.005, 0.3, count - 1)
    return [0.0, *np.cumsum(steps).tolist()]


@pytest.fixture(scope="module")
def videos(folder):
    frames = numbered_frames(range(100))
    return {
        "constant": write_video(folder / "constant.mp4", frames, 25),
        "odd": write_video(folder / "odd.mp4", frames, Fraction(30000, 1001)),
        "slow": write_video(folder / "slow.mp4", frames, 9),
        "variable": write_video(folder / "variable.mp4", frames, 30, times=irregular_times(len(frames))),
        "matroska": write_video(folder / "variable.mkv", frames, 30, times=irregular_times(len(frames))),
        "transport": write_video(folder / "transport.ts", frames, 25),
    }


class TestSampling:
    @pytest.mark.parametrize("name", ["constant", "odd", "slow", "variable", "matroska", "transport"])
    @pytest.mark.parametrize("clip_length", [0.5, 1.0, 2.0])
    def test_frames_are_those_of_ffmpegs_fps_filter(self, videos, name, clip_length):
        assert picked_frames(videos[name], clip_length) == frames_kept_by_ffmpeg(
            videos[name], 1 / Fraction(clip_length)
        )

    @pytest.mark.parametrize("name", ["constant", "odd", "variable"])
    def test_several_frames_a_clip_are_those_of_the_faster_fps_filter(self, videos, name):
        ours = picked_frames(videos[name], 1.0, frames_per_clip=4)
        theirs = frames_kept_by_ffmpeg(videos[name], Fraction(4))
        shared = min(len(ours), len(theirs))
        assert len(ours) % 4 == 0
        assert abs(len(ours) - len(theirs)) < 4
        assert ours[:shared] == theirs[:shared]

    def test_a_frame_exactly_at_the_middle_of_a_clip_belongs_to_the_next(self):
        assert picked_frames(numbered_frames(range(100)), 2.0, fps=10) == [9, 29, 49, 69, 89]

    def test_an_irregular_video_gives_each_clip_the_picture_shown_at_its_middle(self, folder):
        times = [0, 0.9, 1.1, 4.9, 5.2, 9.0]
        path = write_video(folder / "gaps.mp4", numbered_frames(range(6)), 10, times=times, options={"bf": "0"})
        assert picked_frames(path, 2.0)[:5] == [1, 2, 3, 4, 4]

    def test_times_count_from_the_first_picture(self, folder):
        times = [5 + index / 10 for index in range(60)]
        path = write_video(folder / "late.mkv", numbered_frames(range(60)), 10, times=times)
        assert read_video_metadata(path).duration == pytest.approx(6.0, abs=0.05)
        assert picked_frames(path, 2.0) == [9, 29, 49]

    @pytest.mark.parametrize(("suffix", "format", "codec"), [(".avi", "avi", "libx264"), (".h264", "h264", "libx264")])
    def test_containers_without_timestamps_count_pictures(self, folder, suffix, format, codec):
        path = write_video(folder / f"untimed{suffix}", numbered_frames(range(100)), 25, codec=codec, format=format)
        assert picked_frames(path, 1.0) == [12, 37, 62, 87]

    def test_a_half_second_file_gives_one_frame(self, folder):
        path = write_video(folder / "short.mp4", numbered_frames(range(12)), 24)
        assert read_video_metadata(path).duration == pytest.approx(0.5)
        assert picked_frames(path, 2.0) == [5]


class TestOnePass:
    def test_every_requirement_gets_whole_clips_of_its_own_size(self, videos):
        wanted = [FrameRequirement(16), FrameRequirement(24, 32), FrameRequirement(16)]
        got = {requirement: [] for requirement in wanted}
        for requirement, frames in VideoReader(videos["constant"]).clip_frames(wanted, 1.0, batch_frames=40):
            assert len(frames) % requirement.frames_per_clip == 0
            assert len(frames) <= 40
            got[requirement].append(frames)
        shapes = {requirement: np.concatenate(frames).shape for requirement, frames in got.items()}
        assert shapes == {wanted[0]: (4, 16, 16, 3), wanted[1]: (4 * 32, 24, 24, 3)}

    def test_all_requirements_look_at_the_same_seconds(self, videos):
        alone = picked_frames(videos["odd"], 0.5)
        many = {FrameRequirement(48): [], FrameRequirement(48, 8): []}
        for requirement, frames in VideoReader(videos["odd"]).clip_frames(many, 0.5):
            many[requirement] += [read_number(frame) for frame in frames]
        single, eight = many.values()
        assert single == alone
        clips = np.array(eight).reshape(-1, 8)
        assert (clips[:, 0] <= single).all()
        assert (clips[:, -1] >= single).all()

    def test_pictures_are_decoded_once_for_all(self, videos, monkeypatch):
        decoded = []
        decode = film._decode_packet
        monkeypatch.setattr(film, "_decode_packet", lambda packet: decoded.append(packet.pts) or decode(packet))
        reader = VideoReader(videos["constant"])
        decoded.clear()
        list(reader.clip_frames([FrameRequirement(16), FrameRequirement(32), FrameRequirement(16, 4)], 1.0))
        assert len(decoded) == len(set(decoded))

    def test_a_long_array_is_not_copied(self):
        frames = np.broadcast_to(np.zeros((1, 240, 320, 3), np.uint8), (3000, 240, 320, 3))
        reader = VideoReader(frames, 10)
        tracemalloc.start()
        count = sum(len(batch) for _, batch in reader.clip_frames([FrameRequirement(32)], 2.0, batch_frames=16))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 150
        assert peak < 5e6


class TestGeometry:
    def test_the_center_square_of_the_scaled_picture_is_cut_out(self):
        frame = np.zeros((1, 60, 100, 3), np.uint8)
        frame[:, :, 20:80] = (200, 100, 50)
        (crop,) = next(VideoReader(frame.repeat(2, 0), 1).clip_frames([FrameRequirement(30)], 1.0))[1][:1]
        assert crop.shape == (30, 30, 3)
        assert np.abs(crop[5:25, 5:25].astype(int) - (200, 100, 50)).max() <= 1

    @pytest.mark.parametrize(("width", "height"), [(101, 64), (64, 101), (33, 16), (16, 16), (7, 90)])
    def test_crops_of_any_shape_are_square(self, width, height):
        frames = np.zeros((2, height, width, 3), np.uint8)
        ((_, crops),) = VideoReader(frames, 1).clip_frames([FrameRequirement(32)], 1.0)
        assert crops.shape == (2, 32, 32, 3)

    @pytest.mark.parametrize("rotation", [0, 90, 180, -90])
    def test_the_rotation_that_the_file_asks_for_is_applied(self, folder, rotation):
        upright = np.zeros((6, 64, 96, 3), np.uint8)
        upright[:, :32, 16:48] = (255, 0, 0)
        upright[:, :32, 48:80] = (0, 255, 0)
        upright[:, 32:, 16:48] = (0, 0, 255)
        stored = np.rot90(upright, -rotation // 90, axes=(1, 2))
        path = write_video(folder / f"rotated{rotation}.mp4", stored, 6, rotation=rotation)
        metadata = read_video_metadata(path)
        assert (metadata.width, metadata.height) == (96, 64)
        ((_, crops),) = VideoReader(path).clip_frames([FrameRequirement(64)], 0.5)
        corners = crops[0][[8, 8, 56, 56], [8, 56, 8, 56]]
        assert np.abs(corners.astype(int) - [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]).max() < 40


class TestInputs:
    def test_path_file_object_and_array_agree(self, videos):
        path = videos["constant"]
        by_path = picked_frames(path, 1.0)
        assert picked_frames(str(path), 1.0) == by_path
        with open(path, "rb") as file:
            file.read(100)
            assert picked_frames(file, 1.0) == by_path
        assert picked_frames(io.BytesIO(path.read_bytes()), 1.0) == by_path
        assert picked_frames(numbered_frames(range(100)), 1.0, fps=25) == by_path

    def test_a_stream_that_cannot_seek_is_read(self, videos):
        reading, writing = os.pipe()
        small = write_video(videos["constant"].parent / "small.mp4", numbered_frames(range(10)), 10)
        with os.fdopen(writing, "wb") as sink:
            sink.write(small.read_bytes())
        with os.fdopen(reading, "rb") as source:
            assert read_video_metadata(source).num_frames == 10

    def test_images_may_be_of_any_mode_and_size(self):
        from PIL import Image

        images = [Image.new("RGB", (40, 30), (200, 0, 0)), Image.new("L", (64, 64), 90), Image.new("P", (50, 80))]
        ((_, crops),) = VideoReader(images, 0.5).clip_frames([FrameRequirement(16)], 2.0)
        assert crops[0, 8, 8].tolist() == [200, 0, 0]
        assert crops[1, 8, 8].tolist() == [90, 90, 90]

    def test_metadata(self, videos):
        metadata = read_video_metadata(videos["odd"])
        assert (metadata.width, metadata.height, metadata.num_frames) == (64, 48, 100)
        assert metadata.fps == pytest.approx(30000 / 1001)
        assert metadata.duration == pytest.approx(100 * 1001 / 30000)
        assert read_video_metadata(numbered_frames(range(10)), 5).duration == 2

    @pytest.mark.parametrize("fps", [None, 0, -1, float("inf")])
    def test_frames_need_their_rate(self, fps):
        with pytest.raises(ValueError, match="fps"):
            VideoReader(numbered_frames([1, 2]), fps)

    def test_a_file_takes_no_rate(self, videos):
        with pytest.raises(ValueError, match="its own timestamps"):
            VideoReader(videos["constant"], 25)

    @pytest.mark.parametrize(
        "frames",
        [
            np.zeros((0, 8, 8, 3), np.uint8),
            [],
            np.zeros((4, 3, 8, 8), np.uint8),
            np.zeros((4, 8, 8, 3), np.float32),
            np.zeros((8, 8, 3), np.uint8),
            np.zeros((4, 0, 8, 3), np.uint8),
        ],
        ids=["none", "empty-list", "channels-first", "float", "one-picture", "no-rows"],
    )
    def test_frames_of_another_form_are_refused(self, frames):
        with pytest.raises(VideoReadError):
            VideoReader(frames, 10)


def scaled_by_ffmpeg(path) -> np.ndarray:
    """The first picture as ffmpeg's own filter turns it to RGB."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(template=stream), graph.add("scale", "flags=bicubic"), graph.add("format", "rgb24")]
        nodes.append(graph.add("buffersink"))
        for first, second in itertools.pairwise(nodes):
            first.link_to(second)
        graph.configure()
        graph.push(next(container.decode(stream)))
        return graph.pull().to_ndarray()


@pytest.mark.parametrize(
    "colors",
    [
        None,
        Colors(),
        Colors(range=2),
        Colors(matrix=6, primaries=6, transfer=6),
        Colors(matrix=9, primaries=9, transfer=16),
    ],
    ids=["untagged", "709", "full-709", "601", "hdr"],
)
def test_colors_are_those_of_ffmpeg(tmp_path, colors):
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    frames = np.broadcast_to(noise.repeat(8, axis=0).repeat(8, axis=1), (5, 48, 64, 3))
    path = write_video(tmp_path / "video.mkv", frames, 10, codec="ffv1", colors=colors)
    (frame,) = VideoReader(path).frames_at([Fraction(1, 10)])
    assert np.abs(frame.scale(48).astype(int) - scaled_by_ffmpeg(path)).mean() < 0.1


class TestBadFiles:
    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4"):
            VideoReader(tmp_path / "nowhere.mp4")

    @pytest.mark.parametrize("name", ["text.mp4", "text.txt", "text.avi", "empty.mp4"])
    def test_a_file_that_is_no_video_is_refused(self, tmp_path, name):
        path = tmp_path / name
        path.write_text("" if name.startswith("empty") else "This is no video at all.\n" * 100)
        with pytest.raises(VideoReadError, match=name):
            VideoReader(path)

    def test_a_folder_is_refused(self, tmp_path):
        with pytest.raises(VideoReadError):
            VideoReader(tmp_path)

    @pytest.mark.parametrize(("name", "codec"), [("sound.wav", "pcm_s16le"), ("sound.mp4", "aac")])
    def test_a_file_of_sound_alone_is_refused(self, tmp_path, name, codec):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=16_000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), format="s16", layout="mono")
            frame.sample_rate = 16_000
            container.mux([*stream.encode(frame), *stream.encode(None)])
        with pytest.raises(VideoReadError, match="no video stream, only audio"):
            VideoReader(path)

    def test_a_video_track_without_pictures_is_refused(self, tmp_path, videos):
        complete = videos["constant"].read_bytes()
        start = complete.index(b"mdat") + 4
        size = int.from_bytes(complete[start - 8 : start - 4], "big") - 8
        path = tmp_path / "zeros.mp4"
        path.write_bytes(complete[:start] + bytes(size) + complete[start + size :])
        with pytest.raises(VideoReadError, match="no pictures"):
            VideoReader(path)

    def test_a_file_cut_before_its_index_is_refused(self, tmp_path, videos):
        path = tmp_path / "half.mp4"
        complete = videos["constant"].read_bytes()
        path.write_bytes(complete[: len(complete) // 2])
        with pytest.raises(VideoReadError, match=r"half\.mp4"):
            VideoReader(path)

    @pytest.mark.parametrize("suffix", ["mkv", "avi"])
    def test_a_file_cut_after_its_header_is_used_as_far_as_it_goes(self, tmp_path, suffix):
        noise = np.random.default_rng(0).integers(0, 255, (100, 48, 64, 3), dtype=np.uint8)
        whole = write_video(tmp_path / f"whole.{suffix}", noise, 10)
        complete = whole.read_bytes()
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(complete[: len(complete) // 2])
        with pytest.warns(UserWarning, match=r"announces 10\.0 s.*truncated"):
            reader = VideoReader(path)
        assert 3 < reader.metadata.duration < 7
        _, clip_length = clip_grid(reader.metadata.duration, 1.0)
        count = sum(len(frames) for _, frames in reader.clip_frames([FrameRequirement(16)], clip_length))
        assert count == clip_grid(reader.metadata.duration, 1.0)[0]

    def test_damaged_packets_are_skipped_with_a_warning(self, tmp_path):
        path = write_video(
            tmp_path / "damaged.webm", numbered_frames(range(60)), 10, codec="libvpx-vp9", options={"g": "1"}
        )
        with av.open(str(path)) as container:
            packet = list(container.demux(video=0))[25]
        data = bytearray(path.read_bytes())
        start = data.index(bytes(packet))
        data[start : start + packet.size] = b"\xff" * packet.size
        path.write_bytes(data)
        with pytest.warns(UserWarning, match=r"damaged\.webm is damaged after 2\.4 s"):
            assert picked_frames(path, 1.0) == [4, 14, 24, 34, 44, 54]
        with pytest.warns(UserWarning, match="damaged"):
            assert picked_frames(path, 0.2)[10:15] == [20, 22, 24, 26, 28]

    def test_a_playlist_does_not_open_other_files(self, tmp_path, videos):
        playlist = tmp_path / "list.mp4"
        playlist.write_text(f"#EXTM3U\n#EXTINF:4,\nhttp://127.0.0.1:9/{videos['transport'].name}\n#EXT-X-ENDLIST\n")
        with pytest.raises(VideoReadError):
            VideoReader(playlist)

    def test_a_file_in_text_mode_is_refused(self, videos):
        with open(videos["constant"], encoding="latin-1") as file, pytest.raises(ValueError, match="'rb'"):
            VideoReader(file)

    def test_without_pyav_the_error_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr(files, "av", None)
        with pytest.raises(ImportError, match=r"videolights-hf\[video\]"):
            VideoReader(numbered_frames([1, 2]), 1)

    @pytest.mark.parametrize("version", ["15.0.0", "16.1.0", "17.0.1"])
    def test_versions_of_pyav_that_give_other_colors_are_refused(self, monkeypatch, videos, version):
        monkeypatch.setattr(av, "__version__", version)
        with pytest.raises(
            ImportError, match=rf"PyAV {version} is installed, and reading videos needs 17\.1 or newer"
        ):
            VideoReader(videos["constant"])


@pytest.mark.skipif("VIDEOLIGHTS_GOLDEN_ROOT" not in os.environ, reason="VIDEOLIGHTS_GOLDEN_ROOT is not set")
def test_a_real_video_is_sampled_like_ffmpeg():
    path = Path(os.environ["VIDEOLIGHTS_GOLDEN_ROOT"]) / "data" / "videos" / "charades.mp4"
    metadata = read_video_metadata(path)
    assert (metadata.width, metadata.height, metadata.num_frames) == (480, 270, 460)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    ((_, crops),) = VideoReader(path).clip_frames([FrameRequirement(64)], 2.0)
    expected = [max(i for i, frame in enumerate(frames) if frame.time < 2 * clip + 1) for clip in range(15)]
    for crop, index in zip(crops, expected, strict=True):
        picture = frames[index].reformat(width=113, height=64, format="rgb24", interpolation="BICUBIC").to_ndarray()
        assert np.array_equal(crop, picture[:, 24:88])
