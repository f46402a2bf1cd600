"""The good files that all cases start from: small models, videos, features, a dataset, a finished run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from .running import run_command

SIZES = {
    **{"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_encoder_layers": 1},
    **{"num_decoder_layers": 1, "num_queries": 3, "contrastive_hidden_size": 8},
}
BACKBONES = {"video_backbones": [["clip", 64]], "text_backbones": [["clip", 64]], "clip_length": 1}
# Containers and codecs of which a reader must withstand all.
VIDEO_KINDS: dict[str, dict[str, Any]] = {
    "a.mkv": {},
    "a.ts": {},
    "a.avi": {"codec": "mpeg4"},
    "a.mpg": {"codec": "mpeg2video", "fps": 25},
    "a.webm": {"codec": "libvpx"},
    "a.flv": {"codec": "flv"},
    "a.h264": {"format": "h264"},
    "a.wmv": {"codec": "wmv2"},
    "a.y4m": {"codec": "rawvideo"},
    "a.gif": {"codec": "gif", "pixel_format": "rgb8"},
}


def training_command(folder: Path, output: Path) -> list[str]:
    """Train for one epoch by the recipe on the dataset of the good files."""
    settings = (
        "num_train_epochs=1 eval_epochs=1 per_device_train_batch_size=4 use_cpu=true disable_tqdm=true report_to=none"
    )
    return [
        *("train", "--recipe", f"{folder}/recipe.yaml", "--data", f"{folder}/dataset", "--output", f"{output}"),
        *(word for setting in settings.split() for word in ("--set", setting)),
    ]


def extraction_command(folder: Path, dataset: str = "out") -> list[str]:
    """Extract the videos of the good files and make a dataset of them."""
    return [
        *("extract", f"{folder}/videos", f"{folder}/features", "--clip-length", "1", "--device", "cpu"),
        *("--backbone", f"clip={folder}/model/backbones/clip", "--decoders", "1"),
        *("--annotations", f"val={folder}/annotations.jsonl", "--dataset-output", f"{folder}/{dataset}"),
    ]


def preparation_command(folder: Path) -> list[str]:
    """Gather the features of the good files in a dataset."""
    return [
        *("prepare", f"{folder}/out", "--annotations", f"val={folder}/annotations.jsonl", "--clip-length", "1"),
        *("--video-features", f"clip={folder}/features/clip_features"),
        *("--text-features", f"clip={folder}/features/clip_text_features"),
    ]


def make_good_files(folder: Path, with_graphs: bool = True) -> None:
    """Make them in a new folder.

    Args:
        folder: The folder.
        with_graphs: Also export the model, which takes as long as all else.
    """
    folder.mkdir(parents=True)
    _make_texts(folder)
    _make_videos(folder)
    _make_models(folder)
    _must_run(["convert", "--reverse", f"{folder}/model", f"{folder}/release.ckpt"])
    _must_run(extraction_command(folder, "dataset"))
    _save_features(folder)
    _must_run(training_command(folder, folder / "finished"))
    if with_graphs:
        _must_run(["export", f"{folder}/model", f"{folder}/graphs"])


def _save_features(folder: Path) -> None:
    from videolights_hf.extraction import load_video_features

    load_video_features(folder / "features", "a").save(folder / "video.npz")


def _must_run(command: list[str]) -> None:
    status, message = run_command(command)
    if status != "0":
        raise RuntimeError(f"{' '.join(command)}: {message}")


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _make_texts(folder: Path) -> None:
    rows = []
    for index, vid in enumerate("ab"):
        for query in range(4):
            start = query % 3
            rows.append(
                {"qid": 4 * index + query, "query": f"sentence {query}", "vid": vid, "duration": 6.0}
                | {"relevant_windows": [[start, start + 2]], "relevant_clip_ids": [start, start + 1]}
                | {"saliency_scores": [[4, 3, 2], [1, 2, 4]]}
            )
    _write_rows(folder / "annotations.jsonl", rows)
    _write_rows(folder / "metric_truth.jsonl", [{**row, "duration": 12} for row in rows[:3]])
    found = {"pred_relevant_windows": [[0, 4, 0.9], [2, 6, 0.2]], "pred_saliency_scores": [1, 0, 0.5, 0, 2, 1]}
    _write_rows(folder / "metric_predictions.jsonl", [{"qid": row["qid"], **found} for row in rows[:3]])
    domains = [{"qid": name, "domain": "dog", "label": [[1], [0], [1]], "duration": 3} for name in "xy"]
    _write_rows(folder / "domain_truth.jsonl", domains)
    scores = [{"qid": name, "pred_saliency_scores": [1, 0, 2]} for name in "xy"]
    _write_rows(folder / "domain_predictions.jsonl", scores)
    (folder / "subtitles").mkdir()
    cue = "00:00:01,000 --> 00:00:03,500\na dog runs\n"
    (folder / "subtitles" / "a.srt").write_text(f"1\n{cue}\n2\n{cue.replace('01,', '04,').replace('03,', '05,')}\n")
    (folder / "subtitles" / "b.vtt").write_text("WEBVTT\n\n" + cue.replace(",", "."))
    import yaml

    recipe = {"extends": "qvhighlights/videolights", "model": {**SIZES, **BACKBONES}, "data": {"train_split": "val"}}
    recipe["training"] = {"moment_bounds": None}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def _make_videos(folder: Path) -> None:
    from tests.support.videos import gray_frames, write_video

    (folder / "videos").mkdir()
    (folder / "kinds").mkdir()
    for index, vid in enumerate("ab"):
        levels = [(90 * index + 5 * number) % 256 for number in range(24)]
        write_video(folder / "videos" / f"{vid}.mp4", gray_frames(levels, 64, 64), 4)
    for name, options in VIDEO_KINDS.items():
        write_video(folder / "kinds" / name, gray_frames(range(0, 240, 20)), **{"fps": 4, **options})


def _make_models(folder: Path) -> None:
    import numpy as np
    import torch

    from tests.support.tiny_captioners import save_blip_captioner, save_blip_retrieval
    from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval, VideoLightsProcessor
    from videolights_hf.demo import demo_checkpoint

    config = VideoLightsConfig(**SIZES, **BACKBONES)
    torch.manual_seed(0)
    VideoLightsForMomentRetrieval(config).save_pretrained(folder / "model", include_code=False)
    clip = demo_checkpoint() / "backbones" / "clip"
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={"clip": str(clip)})
    processor.save_pretrained(folder / "model")
    save_blip_captioner(folder / "captioner")
    save_blip_retrieval(folder / "scorer")
    blob = {"blobs": {"conv1_w": np.zeros((4, 3, 1, 1), np.float32)}}
    (folder / "slowfast.pkl").write_bytes(pickle.dumps(blob, protocol=2))
    torch.save({"model_state": {"blocks.0.weight": torch.zeros(4)}}, folder / "slowfast.pyth")
