"""Measure feature extraction beside the backbones' own speed: clips per second, and where the rest of the time goes.

    python -m benchmarks.extraction --made-up 300 --random full --backbone clip --backbone blip2 --backbone slowfast
    python -m benchmarks.extraction videos/ --backbone clip

With `--random full`, backbones have random weights and the public size, and so the same speed; `--random small` makes
them small. `--made-up SECONDS` makes a video of 640 x 360 pixels at 30 frames per second. Each backbone is measured alone,
then all together. In each round the networks run alone on pixels that are ready, in the batches and with the threads of
the extraction, before and after the videos are extracted. The JSON report gives for each run, as medians over the rounds,

- `forward_clips_per_second`: clips that the networks alone encode per second;
- `clips_per_second`: clips that are decoded, prepared and encoded by all backbones of the run per second;
- `share_of_forward`: the second by the first, which a change of the machine's load between the two distorts;
- `network_share`: the share of an extraction's wall time inside the networks. It does not show by how much decoding slows
  these where cores are few;
- `decoding_clips_per_second`: clips of which the frames that these backbones need are decoded per second, alone in one
  thread;
- `forward_seconds`, `preparing_seconds`, `waiting_seconds`: the wall time of an extraction, inside the networks, in the
  backbones around them (pixels are normalized), and the rest, in which the backbones wait for frames;
- `cpu_seconds`: processor time of an extraction, decoding threads included. On fewer free cores than threads, this and
  not the wall time is what bounds it;
- `seconds_for_an_hour`: the wall time of an hour of video at this rate.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import av
import numpy as np
import torch
import typer
from transformers import Blip2Config, Blip2ForImageTextRetrieval, CLIPConfig, CLIPModel

from benchmarks.machine import describe_machine
from videolights_hf.backbones import load_backbones
from videolights_hf.backbones.base import FeatureBackbone
from videolights_hf.backbones.blip2 import Blip2Backbone
from videolights_hf.backbones.clip import ClipBackbone
from videolights_hf.backbones.features import VideoFeatures
from videolights_hf.backbones.runner import VideoEncoder
from videolights_hf.backbones.slowfast import SlowFastBackbone
from videolights_hf.backbones.slowfast_configuration import VideoLightsSlowFastConfig
from videolights_hf.backbones.slowfast_network import VideoLightsSlowFastModel
from videolights_hf.cli.options import Backbones, Dtype, parse_backbones, parse_pairs
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.extraction import find_videos
from videolights_hf.video.reader import VideoSource

SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


def random_clip(size: str) -> ClipBackbone:
    small = {"vision_config": {**SMALL, "patch_size": 32}, "text_config": SMALL}
    # Only frames are encoded.
    return ClipBackbone(CLIPModel(CLIPConfig(**(small if size == "small" else {}))), tokenizer=None)


def random_blip2(size: str) -> Blip2Backbone:
    small = {
        "vision_config": {**SMALL, "patch_size": 14},
        "qformer_config": {**SMALL, "encoder_hidden_size": 64},
        "num_query_tokens": 8,
    }
    settings = small if size == "small" else {"qformer_config": {"encoder_hidden_size": 1408}}
    settings["qformer_config"]["use_qformer_text_input"] = True
    return Blip2Backbone(Blip2ForImageTextRetrieval(Blip2Config(**settings)), tokenizer=None)


def random_slowfast(size: str) -> SlowFastBackbone:
    small = {"embedding_size": 8, "hidden_sizes": [32, 64, 96, 128], "depths": [1, 1, 1, 1]}
    return SlowFastBackbone(VideoLightsSlowFastModel(VideoLightsSlowFastConfig(**(small if size == "small" else {}))))


RANDOM = {"clip": random_clip, "blip2": random_blip2, "slowfast": random_slowfast}


class Stopwatch:
    """Adds up the time inside a backbone, and inside its network, and keeps the network's last full input."""

    def __init__(self, backbone: FeatureBackbone):
        self.backbone = backbone
        self.clear()
        self._batch: torch.Tensor | None = None
        self._encode = backbone.encode_frames
        backbone.encode_frames = self.encode_frames
        # Both take normalized pixels.
        owner, name = (
            (backbone, "image_features") if hasattr(backbone, "image_features") else (backbone.model, "forward")
        )
        self._forward = getattr(owner, name)
        setattr(owner, name, self.forward)

    def clear(self) -> None:
        """Begin anew."""
        self.seconds = self.forward_seconds = 0.0

    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """Encode frames and add the time."""
        start = time.perf_counter()
        features = self._encode(frames)
        self.seconds += time.perf_counter() - start
        return features

    def forward(self, pixels: torch.Tensor, **kwargs: Any) -> Any:
        """Run the network and add the time."""
        start = time.perf_counter()
        output = self._forward(pixels, **kwargs)
        self.forward_seconds += self._since(start)
        if self._batch is None or len(pixels) > len(self._batch):
            self._batch = pixels.clone()
        return output

    @torch.inference_mode()
    def alone(self) -> float:
        """Seconds per clip of the network on pixels that are ready."""
        if self._batch is None:
            raise ValueError("The videos have no clip.")
        start = time.perf_counter()
        self._forward(self._batch)
        return self._since(start) / len(self._batch)

    def _since(self, start: float) -> float:
        if self.backbone.model.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def made_up_video(path: Path, seconds: int) -> None:
    """A video of a noisy, moving picture, 640 x 360 pixels at 30 frames per second: ten seconds, repeated."""
    width, height, rate = 640, 360, 30
    noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    picture = noise.repeat(4, axis=0).repeat(4, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "28", "g": "150"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        packets: list[av.Packet] = []
        for number in range(10 * rate):
            moved = np.roll(picture, (number, 2 * number), axis=(0, 1))
            packets += stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24"))
        packets += stream.encode()
        length = round(10 / packets[0].time_base)
        for turn in range(math.ceil(seconds / 10)):
            for packet in packets:
                # A packet is gone when it is written.
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, packet.is_keyframe
                copy.pts, copy.dts = packet.pts + turn * length, packet.dts + turn * length
                copy.duration = packet.duration
                container.mux(copy)


def decoding_rate(videos: Sequence[VideoSource], backbones: Sequence[FeatureBackbone], clip_length: float) -> float:
    """Clips per second of decoding alone."""
    clips = 0
    start = time.perf_counter()
    for video in videos:
        reader = video.open()
        clips += reader.clip_grid(clip_length)[0]
        for _ in reader.clip_frames([backbone.requirement for backbone in backbones], clip_length):
            pass
    return clips / (time.perf_counter() - start)


def extract(videos: Sequence[VideoSource], watches: Sequence[Stopwatch], encoder: VideoEncoder) -> dict[str, float]:
    """Extract the videos once."""
    for watch in watches:
        watch.clear()
    start, cpu = time.perf_counter(), time.process_time()
    results = list(encoder.encode(videos))
    wall = time.perf_counter() - start
    inside, forward = sum(watch.seconds for watch in watches), sum(watch.forward_seconds for watch in watches)
    clips = sum(result.num_clips for result in results if isinstance(result, VideoFeatures))
    return {
        "clips": clips,
        "clips_per_second": clips / wall,
        "forward_seconds": forward,
        "network_share": forward / wall,
        "preparing_seconds": inside - forward,
        "waiting_seconds": wall - inside,
        "cpu_seconds": time.process_time() - cpu,
    }


def measure(
    videos: Sequence[VideoSource], watches: Sequence[Stopwatch], encoder: VideoEncoder, rounds: int
) -> dict[str, float]:
    """The medians of alternating rounds; see the module."""
    members = [watch.backbone for watch in watches]
    # The first batches pay for what is set up once.
    list(encoder.encode(videos[:1]))
    found = []
    for _ in range(rounds):
        decoding = decoding_rate(videos, members, encoder.clip_length)
        # Before and after, since the load of a machine changes.
        before = sum(watch.alone() for watch in watches)
        row = extract(videos, watches, encoder)
        forward = 2 / (before + sum(watch.alone() for watch in watches))
        row |= {
            "forward_clips_per_second": forward,
            "decoding_clips_per_second": decoding,
            "share_of_forward": row["clips_per_second"] / forward,
            "seconds_for_an_hour": 3600 / encoder.clip_length / row["clips_per_second"],
        }
        found.append(row)
    return {name: round(statistics.median(row[name] for row in found), 3) for name in found[0]}


def main(
    videos: Annotated[str | None, typer.Argument(help="A folder, a quoted pattern or a list of videos.")] = None,
    backbone: Backbones = None,
    random: Annotated[
        Literal["small", "full"] | None, typer.Option(help="Use backbones of random weights, of this size.")
    ] = None,
    made_up: Annotated[int | None, typer.Option(min=10, help="Make a video of so many seconds.")] = None,
    backbone_batch_size: Annotated[list[str] | None, typer.Option(metavar="NAME=CLIPS")] = None,
    clip_length: Annotated[float, typer.Option(help="Seconds per clip.")] = 2.0,
    device: Annotated[str, typer.Option(help="Where the backbones run.")] = "cpu",
    dtype: Dtype = "float32",
    decoders: Annotated[int, typer.Option(min=1, help="Videos to decode at the same time.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the backbones.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds.")] = 3,
) -> None:
    """Print a JSON report and a table."""
    if (videos is None) == (made_up is None):
        raise typer.BadParameter("give either videos or --made-up SECONDS")
    setting = {name: value for name, value in locals().items() if value is not None}
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if random:
        names = [name.partition("=")[0] for name in backbone or ["clip"]]
        backbones = [RANDOM[name](random).to(device, getattr(torch, dtype)) for name in names]
    else:
        backbones = load_backbones(parse_backbones(backbone), device, getattr(torch, dtype))
    sizes = parse_pairs(backbone_batch_size, "--backbone-batch-size", "NAME=CLIPS")
    for loaded in backbones:
        loaded.batch_size = int(sizes.get(loaded.name, loaded.batch_size))
    with tempfile.TemporaryDirectory() as folder:
        if made_up is not None:
            made_up_video(Path(folder, "made_up.mp4"), made_up)
        sources = list(find_videos(videos or folder).values())
        watches = [Stopwatch(loaded) for loaded in backbones]
        runs = [[watch] for watch in watches] + ([watches] if len(watches) > 1 else [])
        report = {
            "setting": {**setting, **describe_machine("torch", "transformers", "av")},
            "videos": len(sources),
            "batch_sizes": {loaded.name: loaded.batch_size for loaded in backbones},
            "runs": {
                "+".join(watch.backbone.name for watch in members): measure(
                    sources,
                    members,
                    VideoEncoder([watch.backbone for watch in members], clip_length, decoders),
                    rounds,
                )
                for members in runs
            },
        }
    print(json.dumps(report, indent=1))
    columns = ("forward_clips_per_second", "clips_per_second", "share_of_forward", "network_share",
               "decoding_clips_per_second", "seconds_for_an_hour")  # fmt: skip
    print("\n| backbones |", " | ".join(column.replace("_", " ") for column in columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in report["runs"].items():
        print(f"| {name} |", " | ".join(f"{row[column]:.2f}" for column in columns), "|")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
