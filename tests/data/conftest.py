"""A small corpus on disk, in the layout of the published archives."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest

from videolights_hf.data.build import BuildSettings, build_feature_dataset

VIDEO_WIDTHS = {"slowfast": 6, "clip": 4}
SETTINGS = {field.name for field in fields(BuildSettings)}
TEXT_WIDTHS = {"clip": 4, "blip2": 3}


@dataclass
class Corpus:
    root: Path
    rows: dict[str, list[dict]]
    dataset: str = "qvhighlights"
    text_stem: str = "qid{}"

    def write(self):
        generator = np.random.default_rng(0)
        for split, rows in self.rows.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (self.root / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        every = [row for rows in self.rows.values() for row in rows]
        for name, width in VIDEO_WIDTHS.items():
            folder = self.root / f"{name}_video"
            folder.mkdir()
            for vid, row in {row["vid"]: row for row in every}.items():
                clips = len(row["label"]) if row.get("label") else round(row["duration"] / 2)
                # CLIP's features are a clip shorter, as in the published archives.
                matrix = generator.standard_normal((clips - (name == "clip"), width))
                np.savez(folder / f"{vid}.npz", features=matrix.astype(np.float16 if name == "clip" else np.float32))
        for name, width in TEXT_WIDTHS.items():
            folder = self.root / f"{name}_text"
            folder.mkdir()
            for row in every:
                tokens = generator.standard_normal((len(row["query"].split()) + 2, width)).astype(np.float16)
                np.savez(folder / f"{self.text_stem.format(row['qid'])}.npz", last_hidden_state=tokens)
        return self

    def video_file(self, name, vid):
        return self.root / f"{name}_video" / f"{vid}.npz"

    def text_file(self, name, qid):
        return self.root / f"{name}_text" / f"{self.text_stem.format(qid)}.npz"

    def build(self, output="built", **changes):
        arguments = {
            "annotations": {split: self.root / f"{split}.jsonl" for split in self.rows},
            "video_folders": {name: self.root / f"{name}_video" for name in VIDEO_WIDTHS},
            "text_folders": {name: self.root / f"{name}_text" for name in TEXT_WIDTHS},
            "dataset": self.dataset,
        }
        settings = {"progress": False} | {name: changes.pop(name) for name in list(changes) if name in SETTINGS}
        return build_feature_dataset(self.root / output, **(arguments | changes), settings=BuildSettings(**settings))


def moment_row(qid, vid, duration=20):
    """A row in QVHighlights' format, with two moments of two clips each."""
    first, second = 2 * (qid % 3), 12
    clips = [first // 2, first // 2 + 1, second // 2, second // 2 + 1]
    return {
        "qid": qid,
        "query": " ".join(["someone"] * (2 + qid % 4)),
        "vid": vid,
        "duration": duration,
        "relevant_windows": [[first, first + 4], [second, second + 4]],
        "relevant_clip_ids": clips,
        "saliency_scores": [[clip % 5, 1, 3] for clip in clips],
    }


def highlight_row(vid, domain, clips=6):
    """A row in TVSum's format."""
    return {
        "qid": vid,
        "query": f"the title of {vid}",
        "vid": vid,
        "duration": clips,
        "relevant_clip_ids": None,
        "relevant_windows": None,
        "domain": domain,
        "label": [[1 + (clip + annotator) % 5 for annotator in range(20)] for clip in range(clips)],
    }


@pytest.fixture
def corpus(tmp_path):
    """Ten training queries over seven videos (three of them with two queries), three validation queries."""
    train = [moment_row(qid, f"video {qid % 7}", 16 + 2 * (qid % 7)) for qid in range(10)]
    val = [moment_row(100 + qid, f"val_{qid}_0.0_20.0") for qid in range(3)]
    return Corpus(tmp_path, {"train": train, "val": val}).write()


@pytest.fixture
def highlights(tmp_path):
    """TVSum's format: two domains in two splits."""
    rows = {
        split: [highlight_row(f"{split}{k}", "BK" if k % 2 else "DS") for k in range(4)] for split in ("train", "val")
    }
    return Corpus(tmp_path, rows, dataset="tvsum", text_stem="{}").write()


@pytest.fixture
def long_videos(tmp_path):
    """Videos of 40 s (20 clips) whose moments lie within the first ten clips, across their end, and behind them."""
    moments = [[4.0, 8.0], [16.0, 26.0], [30.0, 36.0]]
    rows = {
        split: [
            {
                "qid": f"{split}{number}",
                "query": "someone",
                "vid": f"{split} video {number}",
                "duration": 40.0,
                "relevant_windows": [moment],
            }
            for number, moment in enumerate(moments)
        ]
        for split in ("train", "val")
    }
    return Corpus(tmp_path, rows, dataset="custom").write()
