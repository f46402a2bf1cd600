"""The files that code blocks of documents find in their folder, made of the bundled world, by the names that documents use.

A name that a block uses is one line in `GIVEN`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.support.training import BRIEF, make_tables
from tests.support.warm import ROOT, WarmPython
from videolights_hf.common.json_lines import write_json_lines
from videolights_hf.data import load_feature_dataset
from videolights_hf.data.tables import annotation_columns, decode_array, row_to_annotation
from videolights_hf.demo import ANNOTATIONS_FILE, demo_checkpoint, demo_videos

PUBLISHED_WIDTHS = ({"slowfast": 2304, "clip": 512, "blip2": 768}, {"clip": 512, "blip2": 768})
_MAKES = r"(?:prepare|--output|--dataset-output|-o)"
"""What stands before the name of something that a block makes."""


class GivenFiles:
    """Makes each file once, and copies it to the folders of the pages that name it.

    Args:
        store: Folder for what is made.
    """

    def __init__(self, store: Path, python: WarmPython):
        self.store = store
        self.python = python

    def copy_named(self, code: str, folder: Path) -> None:
        """Put files that a block names into its page's folder, but not those that are there or that the block makes."""
        for name in GIVEN:
            pattern, target = rf"(?<![\w/.-]){re.escape(name)}(?![\w-])", folder / name
            if target.exists() or not re.search(pattern, code) or re.search(rf"{_MAKES} {pattern}", code):
                continue
            source = self.made(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)

    def made(self, name: str) -> Path:
        """A file or folder of the store."""
        path = self.store / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            GIVEN[name](self, path)
        return path

    def run(self, *arguments: object) -> None:
        """Run a `videolights` command."""
        done = self.python.run("-m", "videolights_hf", *arguments, cwd=self.store)
        assert done.returncode == 0, done.stderr


def _bundled_video(number: int) -> Callable[[GivenFiles, Path], None]:
    return lambda _, path: shutil.copyfile(demo_videos() / f"demo_0_{number:05}.mp4", path)


def _videos(_: GivenFiles, path: Path) -> None:
    path.mkdir()
    for video in demo_videos().glob("*.mp4"):
        shutil.copyfile(video, path / video.name)


def _annotations(*vids: int) -> Callable[[GivenFiles, Path], None]:
    def write(_: GivenFiles, path: Path) -> None:
        lines = (demo_videos() / ANNOTATIONS_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
        names = [f"demo_0_{number:05}" for number in vids]
        path.write_text("".join(line for line in lines if json.loads(line)["vid"] in names), encoding="utf-8")

    return write


def _dataset(given: GivenFiles, path: Path) -> None:
    videos, model = given.made("videos"), given.made("model")
    splits = [f"{split}={given.made(f'{split}.jsonl')}" for split in ("train", "val")]
    annotations = [word for split in splits for word in ("--annotations", split)]
    backbone = f"clip={model / 'backbones' / 'clip'}"
    features = given.store / "features"
    given.run(
        *("extract", videos, features, "--backbone", backbone, "--clip-length", 1, "--device", "cpu"),
        *(*annotations, "--dataset-output", path),
    )


def _features(given: GivenFiles, path: Path) -> None:
    given.made("data/mine")
    assert path.is_dir()


def _run(recipe: str, data: str, *settings: str) -> Callable[[GivenFiles, Path], None]:
    def train(given: GivenFiles, path: Path) -> None:
        changes = [word for setting in (*BRIEF, *settings) for word in ("--set", setting)]
        given.run("train", "--recipe", recipe, "--data", given.made(data), "--output", path, *changes)

    return train


def _copy(name: str, part: str = "") -> Callable[[GivenFiles, Path], None]:
    return lambda given, path: shutil.copytree(given.made(name) / part, path)


def _bundled_model(_: GivenFiles, path: Path) -> None:
    shutil.copytree(demo_checkpoint(), path)


def _published_dataset(_: GivenFiles, path: Path) -> None:
    make_tables(sizes={"train": 4, "val": 3, "test": 2}, widths=PUBLISHED_WIDTHS).save_to_disk(path)


def _published_annotations(split: str) -> Callable[[GivenFiles, Path], None]:
    def write(given: GivenFiles, path: Path) -> None:
        rows = load_feature_dataset(given.made("data/qvh"))[split]
        rows = rows.select_columns(annotation_columns(rows.column_names))
        write_json_lines(path, [row_to_annotation(row) for row in rows])

    return write


def _archive(kind: str, name: str) -> Callable[[GivenFiles, Path], None]:
    """A folder of feature files, as in the published archives."""

    def write(given: GivenFiles, path: Path) -> None:
        path.mkdir()
        tables = load_feature_dataset(given.made("data/qvh"))
        if kind == "video":
            for row in tables["videos"]:
                np.savez(path / f"{row['vid']}.npz", features=decode_array(row[f"video_{name}"]))
        else:
            for row in (row for split in ("train", "val", "test") for row in tables[split]):
                np.savez(path / f"qid{row['qid']}.npz", last_hidden_state=decode_array(row[f"text_{name}"]))

    return write


def _subtitles(_: GivenFiles, path: Path) -> None:
    path.mkdir()
    for video in demo_videos().glob("*.mp4"):
        (path / f"{video.stem}.srt").write_text("1\n00:00:01,000 --> 00:00:04,000\nLook at the red star.\n")


GIVEN: dict[str, Callable[[GivenFiles, Path], None]] = {
    "video.mp4": _bundled_video(0),
    "trip.mp4": _bundled_video(0),
    "holiday.mp4": _bundled_video(1),
    "videos": _videos,
    "annotations.jsonl": _annotations(0, 1, 2),
    "train.jsonl": _annotations(0, 1),
    "val.jsonl": _annotations(2),
    "test.jsonl": _annotations(2),
    "subtitles": _subtitles,
    "model": _bundled_model,
    "videolights-b": _bundled_model,
    "videolights-b-pt": _bundled_model,
    "runs/finetuned": _bundled_model,
    "data/mine": _dataset,
    "runs/mine": _run("qvhighlights/clip", "data/mine", "clip_length=1"),
    "features": _features,
    "clip_video": _copy("features", "clip_features"),
    "clip_text": _copy("features", "clip_text_features"),
    # Random features of the published widths, of few queries.
    "data/qvh": _published_dataset,
    "data/qvhighlights": _published_dataset,
    "data/part": _published_dataset,
    "runs/qvh-b": _run("qvhighlights/videolights-b", "data/qvh"),
    "runs/videolights": _run("qvhighlights/videolights", "data/qvh"),
    "runs/qd-detr": _run("qvhighlights/qd-detr", "data/qvh"),
    "runs/qd-detr-fra": _copy("runs/qvh-b"),
    "runs/a-2018": _copy("runs/qd-detr"),
    "runs/a-2019": _copy("runs/qd-detr"),
    "runs/b-2018": _copy("runs/qvh-b"),
    "runs/b-2019": _copy("runs/qvh-b"),
    "highlight_train_release.jsonl": _published_annotations("train"),
    "highlight_val_release.jsonl": _published_annotations("val"),
    "highlight_test_with_gt.jsonl": _published_annotations("test"),
    "slowfast_features": _archive("video", "slowfast"),
    "clip_features": _archive("video", "clip"),
    "blip_video_features": _archive("video", "blip2"),
    "clip_text_features": _archive("text", "clip"),
    "blip_text_features": _archive("text", "blip2"),
}
"""What makes each file. Models and runs are tiny, and stand in for those that readers have."""

LINKED = ("examples", "benchmarks", "metrics", "constraints.txt")
"""What lies in a checkout, and documents name from its root."""


def link_checkout(folder: Path) -> None:
    """Link what a reader in a checkout has."""
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    (folder / "docs" / "images").mkdir(parents=True)
