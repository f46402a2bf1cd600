"""Files of all kinds with broken bytes end in pictures or in one error; `python -m benchmarks.fuzz` tries whole commands."""

from __future__ import annotations

import random

import pytest

from benchmarks.fuzz.spoiling import spoil_bytes
from tests.support.videos import Tone, numbered_frames, write_video
from videolights_hf.video.excerpts import write_excerpt
from videolights_hf.video.reader import FrameRequirement, VideoReader

SOUND = Tone(2, rate=48_000, layout="stereo", num_channels=2)
KINDS = {
    "a.mp4": {"sounds": [SOUND]},
    "a.mkv": {"sounds": [SOUND]},
    "a.ts": {"sounds": [SOUND]},
    "a.avi": {"sounds": [Tone(2, codec="pcm_s16le")]},
    "a.webm": {"codec": "libvpx"},
    "a.mpg": {"codec": "mpeg2video", "fps": 25},
    "a.flv": {"codec": "flv"},
    "a.h264": {"format": "h264"},
    "a.wmv": {"codec": "wmv2"},
    "a.y4m": {"codec": "rawvideo"},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", KINDS)
def test_broken_bytes_end_in_pictures_or_in_one_error(tmp_path, name):
    options = {"fps": 10, **KINDS[name]}
    good = write_video(tmp_path / name, numbered_frames(range(20)), **options).read_bytes()
    endings = set()
    for seed in range(12):
        path = tmp_path / f"{seed}-{name}"
        path.write_bytes(good)
        if seed:
            spoil_bytes(path, random.Random(f"{name} {seed}"))
        try:
            reader = VideoReader(path)
            for _ in reader.clip_frames([FrameRequirement(32), FrameRequirement(32, 4, "30fps")], 1.0):
                pass
            write_excerpt(path, 0, min(1.0, reader.metadata.duration), tmp_path / "excerpt.mp4")
            endings.add("pictures")
        except (ValueError, OSError) as error:
            endings.add("one error" if len(str(error).splitlines()) == 1 else str(error))
    assert endings in ({"pictures"}, {"pictures", "one error"})
