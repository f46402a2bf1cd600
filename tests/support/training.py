"""Small feature datasets, models and recipes for tests that train."""

from __future__ import annotations

import numpy as np
from datasets import Dataset, DatasetDict

from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
from videolights_hf.data import FeatureDataset
from videolights_hf.data.tables import AUDIO, annotation_to_row, encode_array, query_schema, video_schema
from videolights_hf.training import Recipe, RunData, VideoLightsTrainer, VideoLightsTrainingArguments, load_recipe

VIDEO_WIDTHS = {"slowfast": 6, "clip": 4, "blip2": 5, "i3d": 7}
TEXT_WIDTHS = {"clip": 4, "blip2": 5}
SMALL = {
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "num_encoder_layers": 1,
    "num_decoder_layers": 2,
    "num_queries": 3,
    "contrastive_hidden_size": 4,
}

BRIEF = [
    *(f"model.{key}={value}" for key, value in SMALL.items()),
    "num_train_epochs=2",
    "per_device_train_batch_size=4",
    "eval_epochs=1",
    "use_cpu=true",
    "disable_tqdm=true",
    "report_to=none",
    "learning_rate=1e-3",
]


def brief(name: str = "qvhighlights/videolights", *overrides: str) -> Recipe:
    """A recipe cut down to a tiny model and two epochs."""
    return load_recipe(name, [*BRIEF, *overrides])


def run_data(rule: str = "graded", sizes: dict[str, int] | None = None, **options) -> RunData:
    """A small feature dataset to train on."""
    return RunData(make_tables(rule, sizes), **options)


def graded_row(qid: int, clips: int) -> dict:
    """A row in QVHighlights' format: one moment of two clips."""
    first = qid % (clips - 2)
    return {
        "relevant_windows": [[2.0 * first, 2.0 * first + 4]],
        "relevant_clip_ids": [first, first + 1],
        "saliency_scores": [[4, 3, qid % 5], [1, 2, 3]],
    }


def window_row(qid: int, clips: int) -> dict:
    """A row in Charades-STA's format."""
    return {"relevant_windows": graded_row(qid, clips)["relevant_windows"]}


def annotators_row(qid: int, clips: int) -> dict:
    """A row in TVSum's format."""
    label = [[1 + (clip * (qid + 1) + rater) % 5 for rater in range(20)] for clip in range(clips)]
    return {"label": label, "domain": ["BK", "DS"][qid % 2]}


def binary_row(qid: int, clips: int) -> dict:
    """A row in YouTube Highlights' format."""
    return {"label": [[(clip + qid) % 2] for clip in range(clips)], "domain": ["dog", "skiing"][qid % 2]}


ROWS = {"graded": graded_row, "window": window_row, "annotators": annotators_row, "binary": binary_row, "none": None}


def make_tables(
    rule: str = "graded",
    sizes: dict[str, int] | None = None,
    clip_length: float = 2.0,
    seed: int = 0,
    audio: bool = False,
    widths: tuple[dict[str, int], dict[str, int]] = (VIDEO_WIDTHS, TEXT_WIDTHS),
) -> DatasetDict:
    """A feature dataset of random features with rows of one label rule (`"none"`: without labels)."""
    rng = np.random.default_rng(seed)
    video_widths, text_widths = widths
    video_widths = video_widths | ({AUDIO: 3} if audio else {})
    videos, splits, qid = [], {}, 0
    for split, size in (sizes or {"train": 12, "val": 7}).items():
        rows = []
        for _ in range(size):
            clips = 5 + qid % 4
            annotation = {
                "qid": qid,
                "query": f"query {qid}",
                "vid": f"v{qid}",
                "duration": clips * clip_length,
                **(ROWS[rule](qid, clips) if ROWS[rule] else {}),
            }
            text = {
                f"text_{name}": encode_array(rng.standard_normal((2 + qid % 3, width)).astype(np.float16))
                for name, width in text_widths.items()
            }
            constants = {
                "clip_length": clip_length,
                "label_rule": "window" if rule == "none" else rule,
                "num_clips": clips,
            }
            rows.append(annotation_to_row(annotation) | constants | text)
            features = {
                f"video_{name}": encode_array(rng.standard_normal((clips, width)).astype(np.float16))
                for name, width in video_widths.items()
            }
            videos.append({"vid": f"v{qid}", "num_clips": clips, **features})
            qid += 1
        splits[split] = Dataset.from_list(rows, features=query_schema(list(text_widths), integer_qids=True))
    return DatasetDict(
        {"videos": Dataset.from_list(videos, features=video_schema(list(video_widths))), **splits},
    )


def small_config(**overrides) -> VideoLightsConfig:
    """A tiny model on the datasets above."""
    backbones = {
        "video_backbones": [["slowfast", 6], ["clip", 4]],
        "text_backbones": [["clip", 4]],
    }
    return VideoLightsConfig(**{**SMALL, **backbones, **overrides})


def small_arguments(output_dir, **overrides) -> VideoLightsTrainingArguments:
    """Arguments of a short run on the CPU."""
    defaults = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 3,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
    }
    return VideoLightsTrainingArguments(output_dir=str(output_dir), **{**defaults, **overrides})


def small_trainer(output_dir, tables=None, config=None, trainer_options=None, **arguments) -> VideoLightsTrainer:
    """A trainer of a tiny model on a small dataset."""
    import torch

    args = small_arguments(output_dir, **arguments)
    tables = make_tables() if tables is None else tables
    config = config or small_config()
    torch.manual_seed(args.seed)
    return VideoLightsTrainer(
        VideoLightsForMomentRetrieval(config),
        args,
        train_dataset=FeatureDataset.from_config(tables, "train", config, training=True, seed=args.seed),
        eval_dataset=FeatureDataset.from_config(tables, "val", config),
        **(trainer_options or {}),
    )


def end_weights(trainer: VideoLightsTrainer) -> dict:
    """A copy of the model's weights."""
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}
