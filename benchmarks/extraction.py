"""Measure feature extraction: clips a second of each backbone, and how much of the time is decoding.

    python benchmarks/extraction.py videos/ --checkpoints clip=openai/clip-vit-base-patch32
    python benchmarks/extraction.py videos/ --random small --backbones clip,blip2,slowfast

Without checkpoints, backbones have random weights: as large as the public ones (`--random full`), which are as fast as
these, or small. Each backbone is measured alone, then all together. For each run the JSON report says

- `clips_per_second`: clips of the videos, each encoded by all backbones of the run, over the wall time;
- `model_seconds`: the time inside the backbones;
- `waiting_share`: of the wall time, what is left, in which the backbones wait for frames. Decoding goes on while
  they work, so this is what a faster decoder could save at most;
- `decoding_seconds` and `decoding_share`: decoding the videos alone, for the frames that these backbones need, and
  what part this would be of the whole if it did not go on in the background.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence

import numpy as np
import torch
from transformers import Blip2Config, Blip2ForImageTextRetrieval, CLIPConfig, CLIPModel

from videolights_hf.backbones import complete_checkpoints, load_backbones
from videolights_hf.backbones.base import FeatureBackbone
from videolights_hf.backbones.blip2 import Blip2Backbone
from videolights_hf.backbones.clip import ClipBackbone
from videolights_hf.backbones.features import VideoFeatures
from videolights_hf.backbones.runner import VideoEncoder
from videolights_hf.backbones.slowfast import SlowFastBackbone
from videolights_hf.backbones.slowfast_configuration import VideoLightsSlowFastConfig
from videolights_hf.backbones.slowfast_network import VideoLightsSlowFastModel
from videolights_hf.extraction import find_videos
from videolights_hf.video.reader import VideoSource, clip_grid

SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


def random_clip(size: str) -> ClipBackbone:
    small = {"vision_config": {**SMALL, "patch_size": 32}, "text_config": SMALL}
    # Frames pass no tokenizer.
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
    """Adds up the time that a backbone works."""

    def __init__(self, backbone: FeatureBackbone):
        self.seconds = 0.0
        self._encode = backbone.encode_frames
        backbone.encode_frames = self.encode_frames

    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        """Encode, and count the time."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", help="a folder, a pattern or a list of videos")
    parser.add_argument("--backbones", default="clip", help="names, separated by commas")
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="NAME=PATH_OR_ID")
    parser.add_argument("--random", choices=["small", "full"], help="random weights instead of checkpoints")
    parser.add_argument("--batch-sizes", nargs="*", default=[], metavar="NAME=CLIPS")
    parser.add_argument("--clip-length", type=float, default=2.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compute-dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--decoders", type=int, default=2, help="videos decoded at the same time")
    parser.add_argument("--threads", type=int, default=1, help="threads of the models on the CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    names = args.backbones.split(",")
    dtype = getattr(torch, args.compute_dtype)
    if args.random:
        backbones = [RANDOM[name](args.random).to(args.device, dtype) for name in names]
    else:
        checkpoints = complete_checkpoints(names, dict(pair.split("=", 1) for pair in args.checkpoints))
        backbones = load_backbones(checkpoints, args.device, dtype)
    sizes = dict(pair.split("=", 1) for pair in args.batch_sizes)
    for backbone in backbones:
        backbone.batch_size = int(sizes.get(backbone.name, backbone.batch_size))
    videos = list(find_videos(args.videos).values())

    # The first batch pays for what is set up once.
    list(VideoEncoder(backbones, args.clip_length).encode(videos[:1]))
    watches = {backbone.name: Stopwatch(backbone) for backbone in backbones}
    runs = [[backbone] for backbone in backbones] + ([backbones] if len(backbones) > 1 else [])
    report = {
        "setting": {**vars(args), "torch": torch.__version__, "machine": platform.processor() or platform.machine()},
        "videos": len(videos),
        "batch_sizes": {backbone.name: backbone.batch_size for backbone in backbones},
        "runs": {
            "+".join(backbone.name for backbone in members): measure(
                videos, members, watches, args.clip_length, args.decoders
            )
            for members in runs
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
