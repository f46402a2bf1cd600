"""Measure feature extraction: clips per second of each backbone, and the share of decoding.

    python benchmarks/extraction.py videos/ --backbone clip
    python benchmarks/extraction.py videos/ --random small --backbone clip --backbone blip2 --backbone slowfast

With `--random full`, backbones have random weights and the public size, and so the same speed; `--random small` makes
them small. Each backbone is measured alone, then all together. The JSON report gives for each run

- `clips_per_second`: clips encoded by all backbones of the run, divided by the wall time;
- `model_seconds`: the time inside the backbones;
- `waiting_share`: the rest of the wall time, in which the backbones wait for frames. Decoding runs in the background, so
  this is the most that a faster decoder could save;
- `decoding_seconds`: the time of decoding alone the frames that these backbones need;
- `decoding_share`: decoding's share of the total if it did not run in the background.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from transformers import Blip2Config, Blip2ForImageTextRetrieval, CLIPConfig, CLIPModel

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
from videolights_hf.video.reader import VideoSource, clip_grid

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
    """Adds up the time inside a backbone."""

    def __init__(self, backbone: FeatureBackbone):
        self.seconds = 0.0
        self._encode = backbone.encode_frames
        backbone.encode_frames = self.encode_frames

    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """Encode frames and add the time."""
        start = time.perf_counter()
        features = self._encode(frames)
        self.seconds += time.perf_counter() - start
        return features


def decoding_seconds(videos: Sequence[VideoSource], backbones: Sequence[FeatureBackbone], clip_length: float) -> float:
    start = time.perf_counter()
    for video in videos:
        reader = video.open()
        length = clip_grid(reader.metadata.duration, clip_length)[1]
        for _ in reader.clip_frames([backbone.requirement for backbone in backbones], length):
            pass
    return time.perf_counter() - start


def measure(
    videos: Sequence[VideoSource],
    backbones: Sequence[FeatureBackbone],
    watches: dict[str, Stopwatch],
    clip_length: float,
    decoders: int,
) -> dict[str, float]:
    decoding = decoding_seconds(videos, backbones, clip_length)
    for watch in watches.values():
        watch.seconds = 0.0
    start = time.perf_counter()
    results = list(VideoEncoder(backbones, clip_length, decoders).encode(videos))
    wall = time.perf_counter() - start
    clips = sum(result.num_clips for result in results if isinstance(result, VideoFeatures))
    model = sum(watch.seconds for watch in watches.values())
    return {
        "clips": clips,
        "clips_per_second": round(clips / wall, 2),
        "wall_seconds": round(wall, 2),
        "model_seconds": round(model, 2),
        "waiting_share": round(1 - model / wall, 3),
        "decoding_seconds": round(decoding, 2),
        "decoding_share": round(decoding / (decoding + model), 3),
    }


def main(
    videos: Annotated[str, typer.Argument(help="A folder, a quoted pattern or a list of videos.")],
    backbone: Backbones = None,
    random: Annotated[
        Literal["small", "full"] | None, typer.Option(help="Use backbones of random weights, of this size.")
    ] = None,
    backbone_batch_size: Annotated[list[str] | None, typer.Option(metavar="NAME=CLIPS")] = None,
    clip_length: Annotated[float, typer.Option(help="Seconds per clip.")] = 2.0,
    device: Annotated[str, typer.Option(help="Where the backbones run.")] = "cpu",
    dtype: Dtype = "float32",
    decoders: Annotated[int, typer.Option(min=1, help="Videos to decode at the same time.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the backbones.")] = 1,
) -> None:
    """Print a JSON report."""
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
    sources = list(find_videos(videos).values())

    # The first batch pays for what is set up once.
    list(VideoEncoder(backbones, clip_length).encode(sources[:1]))
    watches = {loaded.name: Stopwatch(loaded) for loaded in backbones}
    runs = [[loaded] for loaded in backbones] + ([backbones] if len(backbones) > 1 else [])
    report = {
        "setting": {**setting, "torch": torch.__version__, "machine": platform.processor() or platform.machine()},
        "videos": len(sources),
        "batch_sizes": {loaded.name: loaded.batch_size for loaded in backbones},
        "runs": {
            "+".join(loaded.name for loaded in members): measure(sources, members, watches, clip_length, decoders)
            for members in runs
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
