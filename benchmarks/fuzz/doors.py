"""The doors: for each, the good files that it needs, what is spoiled of them, and the command on them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .good_files import VIDEO_KINDS, extraction_command, preparation_command, training_command
from .running import REQUESTS_FILE, all_commands
from .spoiling import (
    HOSTILE_TEXTS,
    HOSTILE_WORDS,
    SENTENCES,
    spoil,
    spoil_arrays,
    spoil_bytes,
    spoil_checkpoint,
    spoil_some,
    spoil_value,
)


@dataclass(frozen=True)
class Door:
    """A way into the package.

    Attributes:
        needs: The good files that a case copies.
        make: Spoils files in the copy's folder and returns the command on them.
        share: How many of a run's cases it gets, against 1 of other doors.
        patience: How many times the limit of time it has.
    """

    needs: tuple[str, ...]
    make: Callable[[Path, random.Random], list[str]]
    share: float = 1
    patience: float = 1


DOORS: dict[str, Door] = {}


def door(
    *needs: str, share: float = 1, patience: float = 1
) -> Callable[[Callable[[Path, random.Random], list[str]]], None]:
    """Register a function as `Door.make`, named like it."""

    def register(function: Callable[[Path, random.Random], list[str]]) -> None:
        DOORS[function.__name__.replace("_", "-")] = Door(needs, function, share, patience)

    return register


# Scores


METRIC_FILES = ("metric_predictions.jsonl", "metric_truth.jsonl")
DOMAIN_FILES = ("domain_predictions.jsonl", "domain_truth.jsonl")


@door(*METRIC_FILES)
def evaluate(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder, rng, "metric_*.jsonl")
    options = rng.choice(([], [], ["--dataset", rng.choice(("tvsum", "highlight_detection", "x"))], ["--strict"]))
    return [*_scoring(folder, METRIC_FILES), "--json", f"{folder}/out.json", *options]


@door(*DOMAIN_FILES)
def evaluate_domains(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder, rng, "domain_*.jsonl")
    return [*_scoring(folder, DOMAIN_FILES), "--json", "-"]


def _scoring(folder: Path, files: tuple[str, str]) -> list[str]:
    return ["evaluate", f"{folder}/{files[0]}", "--annotations", f"{folder}/{files[1]}"]


# Data


@door("features", "annotations.jsonl")
def prepare(folder: Path, rng: random.Random) -> list[str]:
    if rng.random() < 0.6:
        spoil_some(folder / "features", rng, "*.npz")
    else:
        spoil(folder / "annotations.jsonl", rng)
    options = rng.choice(([], ["--strict"], ["--length-tolerance", "0"], ["--clip-length", "0"]))
    return [*preparation_command(folder), *options, *rng.choice(([], [], ["--parquet", f"{folder}/parquet"]))]


@door("videos", "kinds", "annotations.jsonl", "features", "model")
def extract(folder: Path, rng: random.Random) -> list[str]:
    kind = rng.randrange(5)
    command = extraction_command(folder)
    if kind == 0:
        spoil_some(folder / "videos", rng)
    elif kind == 1:
        spoil(folder / "annotations.jsonl", rng)
    elif kind == 2:
        spoil_some(folder / "features", rng)
    elif kind == 3:
        spoil_some(folder / "model" / "backbones" / "clip", rng)
    else:
        spoil_some(folder / "kinds", rng)
        # Without annotations: whatever lies in the folder.
        command = [part.replace("/videos", "/kinds") for part in command[: command.index("--annotations")]]
    return command


@door("subtitles", "annotations.jsonl", "videos")
def convert_subtitles(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "subtitles", rng)
    lengths = ["--durations", f"{folder}/annotations.jsonl"]
    if rng.random() < 0.2:
        spoil(folder / "annotations.jsonl", rng)
    elif rng.random() < 0.2:
        spoil_some(folder / "videos", rng)
        lengths = ["--videos", f"{folder}/videos"]
    return ["convert-subtitles", f"{folder}/subtitles", f"{folder}/out.jsonl", *lengths]


@door("videos", "annotations.jsonl", "model", "captioner", "scorer")
def generate(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / rng.choice(("videos", "captioner", "captioner", "scorer", "scorer")), rng)
    settings = rng.choice(("num_beams=0", "max_new_tokens=x", "x=1", "max_new_tokens=5", "max_new_tokens=5"))
    return [
        *("generate", f"{folder}/videos", f"{folder}/out", "--clip-length", "1", "--interval-length", "2"),
        *("--captioner", f"{folder}/captioner", "--scorer", f"{folder}/scorer", "--generation", settings),
        *("--backbone", f"clip={folder}/model/backbones/clip", "--decoders", "1", "--device", "cpu"),
        *rng.choice((["--captions-only"], ["--annotations", f"train={folder}/annotations.jsonl"], [])),
    ]


# Checkpoints


@door("release.ckpt")
def convert(folder: Path, rng: random.Random) -> list[str]:
    spoil_checkpoint(folder / "release.ckpt", rng)
    widths = ["--video-backbone", "clip=64", "--text-backbone", "clip=64"]
    return ["convert", f"{folder}/release.ckpt", f"{folder}/out", *rng.choice((widths, widths, [], widths[:2]))]


@door("model")
def convert_back(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "model", rng, rng.choice(("config.json", "model.safetensors")))
    return ["convert", "--reverse", f"{folder}/model", f"{folder}/out.ckpt"]


@door("slowfast.pkl", "slowfast.pyth")
def convert_slowfast(folder: Path, rng: random.Random) -> list[str]:
    name = rng.choice(("slowfast.pkl", "slowfast.pyth"))
    spoil_bytes(folder / name, rng)
    return ["convert-slowfast", f"{folder}/{name}", f"{folder}/out"]


# Half a minute where nothing is wrong.
@door("model", share=0.25, patience=4)
def export(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "model", rng, rng.choice(("*.json", "*.json", "*.safetensors")))
    return ["export", f"{folder}/model", f"{folder}/out", *rng.choice(([], ["--format", "torch"]))]


@door("finished")
def push(folder: Path, rng: random.Random) -> list[str]:
    files = ("*.json", "*.json", "config.json", "results.json", "training_record.json", "recipe.yaml", "README.md")
    spoil_some(folder / "finished", rng, rng.choice(files))
    options = ([], ["--benchmark", "a/b"], ["--benchmark", "../x"], ["--tag", "x"], ["--private"], ["--predictions"])
    name = rng.choice(
        ("someone/name", "someone/name", "name", "a/b/c", "", "someone/日本", "-", "someone/" + "x" * 200)
    )
    return ["push", f"{folder}/finished", name, *rng.choice(options)]


# Answers


@door("model", "videos")
def predict(folder: Path, rng: random.Random) -> list[str]:
    kind = rng.randrange(4)
    sentence = "a red circle"
    if kind == 0:
        spoil_bytes(folder / "videos" / "a.mp4", rng)
    elif kind == 1:
        sentence = rng.choice(SENTENCES)
    else:
        spoil_some(folder / "model", rng, rng.choice(("*.json", "*.json", "*.safetensors")))
    return _prediction(folder, folder / "videos" / "a.mp4", rng, sentence)


@door("model", "kinds")
def predict_kinds(folder: Path, rng: random.Random) -> list[str]:
    video = folder / "kinds" / rng.choice(sorted(VIDEO_KINDS))
    spoil_bytes(video, rng)
    return _prediction(folder, video, rng)


@door("graphs", "videos")
def predict_exported(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "graphs", rng, rng.choice(("*", "*.json", "*.onnx")))
    return _prediction(folder, folder / "videos" / "a.mp4", rng, model=folder / "graphs")


@door("model", "videos")
def predict_zero_shot(folder: Path, rng: random.Random) -> list[str]:
    clip = folder / "model" / "backbones" / "clip"
    spoil_some(clip, rng)
    command = _prediction(folder, folder / "videos" / "a.mp4", rng)
    place = command.index("--model")
    command[place : place + 2] = ["--model", "zero-shot", "--backbone", f"clip={clip}"]
    return command


def _prediction(
    folder: Path, video: Path, rng: random.Random, sentence: str = "a red circle", model: Path | None = None
) -> list[str]:
    outputs = rng.choice(([], ["--json", f"{folder}/out.json"], ["--json", "-"], ["--plot", f"{folder}/out.png"]))
    cut = ["--cut", f"{folder}/cuts"] if rng.random() < 0.2 else []
    return ["predict", f"{video}", sentence, "--model", f"{model or folder / 'model'}", *outputs, *cut]


@door("model", "features", "video.npz")
def ask_features(folder: Path, rng: random.Random) -> list[str]:
    if rng.random() < 0.5:
        spoil_arrays(folder / "video.npz", rng)
        return ["ask-features", f"{folder}/video.npz", f"{folder}/model"]
    spoil_some(folder / "features" / "clip_features", rng)
    return ["ask-features", f"{folder}/features", f"{folder}/model"]


QUESTION = {"sentences": ["a red circle", "b"], "top_k": 3, "score_threshold": 0.1, "nms_threshold": 0.7}
BODY_KINDS = ("application/json", "application/json", "video/mp4", "text/plain", "", "x" * 500, "日本", "a/b; c=d; c")
PATHS = (
    "/videos",
    "/videos/KEY/moments",
    "/videos/x/moments",
    "/videos/KEY",
    "/videos/%00/moments",
    "/",
    "//",
    "/%ff",
)


@door("model", "videos", share=0.5)
def serve(folder: Path, rng: random.Random) -> list[str]:
    requests = [_request(folder, rng) for _ in range(5)]
    (folder / REQUESTS_FILE).write_text(json.dumps(requests), encoding="utf-8")
    if rng.random() < 0.3:
        spoil_bytes(folder / "videos" / "a.mp4", rng)
    return ["serve", f"{folder}/model", "--allow-folder", f"{folder}/videos", "--device", "cpu"]


def _request(folder: Path, rng: random.Random) -> tuple[str, str, str, str | None]:
    """Method, path, content type and body; without a body, the bytes of a video."""
    kind = rng.randrange(5)
    if kind == 0:
        return "POST", "/videos", rng.choice((*BODY_KINDS, "video/mp4", "video/mp4")), None
    if kind == 1:
        path = rng.choice(
            (f"{folder}/videos/a.mp4", f"{folder}/model/config.json", f"{folder}/videos", *HOSTILE_WORDS)
        )
        source = {"path": path} if rng.random() < 0.8 else {"url": path}
        return "POST", "/videos", "application/json", json.dumps(spoil_value(source, rng))
    if kind == 2:
        method = rng.choice(("GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"))
        return method, rng.choice(PATHS), rng.choice(BODY_KINDS), rng.choice((*HOSTILE_WORDS, *HOSTILE_TEXTS))
    question = json.dumps(spoil_value(QUESTION, rng))
    if rng.random() < 0.3:
        question = question.replace("0.1", rng.choice(HOSTILE_TEXTS), 1)
    return "POST", "/videos/KEY/moments", "application/json", question


@door("model", "videos")
def serve_spoiled_model(folder: Path, rng: random.Random) -> list[str]:
    (folder / REQUESTS_FILE).write_text(json.dumps([("POST", "/videos/KEY/moments", "", json.dumps(QUESTION))]))
    spoil_some(folder / "model", rng, rng.choice(("*.json", "*.safetensors")))
    return ["serve", f"{folder}/model", "--device", "cpu"]


# Training


@door("dataset", "recipe.yaml")
def train_on_spoiled_data(folder: Path, rng: random.Random) -> list[str]:
    # Arrow files are mapped into memory and hold no checksums: their bytes are left alone.
    spoil_some(folder / "dataset", rng, "*.json")
    return training_command(folder, folder / "run")


@door("dataset", "recipe.yaml")
def train_by_spoiled_recipe(folder: Path, rng: random.Random) -> list[str]:
    command = training_command(folder, folder / "run")
    if rng.random() < 0.5:
        spoil(folder / "recipe.yaml", rng)
        return command
    names = "metric_for_best_model hidden_size ema_decay num_queries learning_rate moment_bounds eval_split dropout"
    value = rng.choice((*HOSTILE_WORDS[1:], "0", "[]", "{}", "true", "[1, 2]", "-5", "1e-400"))
    name = rng.choice(names.split())
    return [*command, "--set", f"{name}={value}"]


@door("dataset", "recipe.yaml", "finished", share=0.25)
def resume_spoiled_run(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "finished", rng)
    return [*training_command(folder, folder / "finished"), "--resume", "--set", "num_train_epochs=2"]


@door("dataset", "finished")
def evaluate_spoiled_checkpoint(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "finished", rng, rng.choice(("*.json", "*.safetensors", "recipe.yaml")))
    return ["evaluate", f"{folder}/finished", "--data", f"{folder}/dataset", "--output", f"{folder}/out"]


@door("dataset", "recipe.yaml", "finished", share=0.25)
def train_from_spoiled_checkpoint(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "finished", rng, rng.choice(("config.json", "model.safetensors")))
    return [*training_command(folder, folder / "run"), "--init-from", f"{folder}/finished"]


# Options


NUMBERS = ("0", "1", "-1", "3", "0.5", "1e9", "1000000000", "1e400", "nan", "inf", "-0.0", "1e-320", "٣")
# Installs nothing, imports nothing and starts no processes.
UNTRIED_OPTIONS = ("--backbone-module", "--num-proc", "--help", "--version")


@door(
    *METRIC_FILES,
    "annotations.jsonl",
    "features",
    "videos",
    "subtitles",
    "release.ckpt",
    "model",
    "recipe.yaml",
    "dataset",
)
def spoiled_options(folder: Path, rng: random.Random) -> list[str]:
    subtitles = ["convert-subtitles", f"{folder}/subtitles", f"{folder}/out.jsonl"]
    commands = (
        _scoring(folder, METRIC_FILES),
        ["predict", f"{folder}/videos/a.mp4", "a red circle", "--model", f"{folder}/model"],
        extraction_command(folder),
        [*subtitles, "--durations", f"{folder}/annotations.jsonl"],
        ["convert", f"{folder}/release.ckpt", f"{folder}/out"],
        preparation_command(folder),
        ["evaluate", f"{folder}/model", "--data", f"{folder}/dataset", "--output", f"{folder}/out"],
        training_command(folder, folder / "run"),
    )
    command = rng.choice(commands)
    for _ in range(rng.choice((1, 1, 2))):
        command = [*command, *_hostile_option(command[0], folder, rng)]
    return command


def _hostile_option(name: str, folder: Path, rng: random.Random) -> list[str]:
    """An option of a command with a hostile value; a good one for a switch."""
    options = [one for one in all_commands().commands[name].params if one.param_type_name == "option"]
    option = rng.choice([one for one in options if one.opts[0] not in UNTRIED_OPTIONS])
    if option.is_flag:
        return [option.opts[0]]
    choices = getattr(getattr(option, "type", None), "choices", ())
    names = ("clip", "clip=", "=", "a=b=c", "val=x", f"val={folder}", f"{folder}/none", f"{folder}/annotations.jsonl")
    value = rng.choice((*NUMBERS, *HOSTILE_WORDS, *names, *choices, "tvsum", "meta"))
    return [option.opts[0], value]
