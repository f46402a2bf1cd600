"""Doors to what is made of results: comparisons, pictures, summaries, tables of the paper."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from .doors import METRIC_FILES, door
from .spoiling import SENTENCES, spoil, spoil_bytes, spoil_some


def _runs(folder: Path, rng: random.Random) -> list[str]:
    """Two files of predictions, or a trained folder, with their truth; some spoiled."""
    predictions, truth = (folder / name for name in METRIC_FILES)
    other = folder / "other.jsonl"
    shutil.copyfile(predictions, other)
    kind = rng.randrange(5)
    if kind == 0:
        spoil_some(folder / "finished", rng, rng.choice(("*.json", "*.jsonl")))
        return [f"a={folder}/finished", f"b={folder}/finished", "--data", f"{folder}/dataset"]
    if kind == 1:
        names = ("", "=", "a=", "$x$=", "日本語=", "x" * 300 + "=")
        return [f"{rng.choice(names)}{predictions}", f"b={other}", "--annotations", f"{truth}"]
    spoil(rng.choice((predictions, other, truth)), rng)
    return [f"a={predictions}", f"b={other}", "--annotations", f"{truth}"]


@door(*METRIC_FILES, "finished", "dataset")
def compare(folder: Path, rng: random.Random) -> list[str]:
    options = rng.choice(([], ["--unit", "video"], ["--plot", f"{folder}/out.png"], ["--plot", f"{folder}/out.xyz"]))
    return ["compare", *_runs(folder, rng), "--resamples", "100", "--json", f"{folder}/out.json", *options]


@door(*METRIC_FILES, "finished", "dataset", "videos")
def plot_results(folder: Path, rng: random.Random) -> list[str]:
    kind = rng.choice(("predictions", "errors", "breakdown"))
    runs = _runs(folder, rng)
    if kind == "errors":
        runs = [runs[0], *runs[runs.index("--data" if "--data" in runs else "--annotations") :]]
    options = []
    if kind != "breakdown":
        options = rng.choice(([], ["--videos", f"{folder}/videos"], ["--num", "1"], ["--top-k", "2"]))
    if "--videos" in options:
        spoil_some(folder / "videos", rng)
    return ["plot", kind, *runs, *options, "-o", f"{folder}/out.png"]


@door("finished", share=0.25)
def plot_training(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "finished", rng, rng.choice(("*.json", "trainer_state.json")))
    return ["plot", "training", f"{folder}/finished", "-o", f"{folder}/out.png"]


@door("model", "videos", "dataset", "annotations.jsonl")
def plot_relevance(folder: Path, rng: random.Random) -> list[str]:
    if rng.random() < 0.5:
        spoil_some(folder / "model", rng, rng.choice(("*.json", "*.safetensors")))
        sentence = "a red circle"
    else:
        sentence = rng.choice(SENTENCES)
    video = ["--video", f"{folder}/videos/a.mp4", "--query", sentence]
    source = rng.choice((video, video, ["--data", f"{folder}/dataset", "--qid", rng.choice(("1", "x", "-1", ""))]))
    return ["plot", "relevance", f"{folder}/model", *source, "-o", f"{folder}/out.png"]


@door("model", "kinds", "videos")
def summarize(folder: Path, rng: random.Random) -> list[str]:
    video = rng.choice([folder / "videos" / "a.mp4", *sorted((folder / "kinds").iterdir())])
    spoil_bytes(video, rng)
    sentence = [rng.choice(SENTENCES)] if rng.random() < 0.7 else []
    length = rng.choice(("2", "2", "3", "0", "-1", "nan", "1e300", "0.01"))
    options = ["--model", f"{folder}/model", "--length", length, "--output", f"{folder}/out.mp4"]
    return ["summarize", f"{video}", *sentence, *options]


@door("dataset")
def reproduce(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "dataset", rng, "*.json")
    table = rng.choice(("ii", "vi", "vii", "x", "", "figure-7"))
    options = rng.choice(([], ["--row", "x"], ["--seed", "1"], ["--set", "hidden_size=0"]))
    return ["reproduce", table, "--data", f"{folder}/dataset", "--output", f"{folder}/out", "--dry-run", *options]
