"""Try broken and hostile inputs at every door of the command line; every case must end in an answer or in one clear line.

    python benchmarks/fuzz.py --cases 2000 --seed 0
    python benchmarks/fuzz.py --cases 200 --door convert --door evaluate

A case is a command on good files of which some are spoiled: bytes flipped or cut, values of JSON, YAML and checkpoints
replaced by others. It depends on the seed and its number alone. Cases run in a process of their own, which is started again
if one kills it. Reported are tracebacks (also those that the command line turns into a line that blames the program),
crashes, and cases that take more than `--limit` seconds of processor time. The good files are made once, in `--work`, and
every result is noted there, in `log.jsonl`.
"""

from __future__ import annotations

import collections
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 3, 0.5, 1e308, -1e-320, 2**31, 2**63, 10**9, float("nan"), float("inf")),
    *("", "x", "../x", "/etc", "a\0b", "\ud800", "$x_1$", "1", "日本語", "a" * 5000),
    *([], [[]], [[], []], [None], [1], [-1, 2], [[1, 2]], [["clip", 8]], [0.1] * 500, {}, {"a": 1}, {"": None}),
)
# What json.dumps cannot write, put into the text afterwards.
HOSTILE_TEXTS = ("1" * 400, "[" * 100_000, "1e400", "-", "{", "\\ud800", "NaN", "[" * 50 + "]" * 50)
HOSTILE_WORDS = ("", " ", "\0", "$", "x" * 3000, "\udcff", "日本語", "[bold]", "-1", "1e400", "nan", "null", "🙂" * 50)
SENTENCES = (
    "a red circle",
    "",
    " ",
    "$\\frac$",
    "\udcff",
    "日本語の丸",
    "word " * 200,
    "[bold]x[/]",
    "🙂" * 100,
    "a\0b",
)
UNEXPECTED = "this is a fault of the program"
CRASH_STATUS = "crash"
LOG_FILE = "log.jsonl"
WAITING_FACTOR = 10

Door = Callable[[Path, random.Random], list[str]]
DOORS: dict[str, Door] = {}


def door(function: Door) -> Door:
    """Register a function that spoils files in a folder and returns the command on them."""
    DOORS[function.__name__.replace("_", "-")] = function
    return function


class Hang(BaseException):
    """A case took too long."""


# Spoiling


def spoil_bytes(path: Path, rng: random.Random) -> None:
    """Flip, cut, insert or empty bytes of a file."""
    content = bytearray(path.read_bytes())
    kind = rng.choice(("flip", "flip", "cut", "insert", "empty", "zero", "double"))
    if kind == "empty" or not content:
        content.clear()
    elif kind == "cut":
        del content[rng.randrange(len(content)) :]
    elif kind == "double":
        content *= 2
    else:
        for _ in range(rng.choice((1, 1, 4, 30))):
            # Headers are small, and matter most.
            place = rng.randrange(min(len(content), rng.choice((16, 200, len(content)))))
            if kind == "insert":
                content[place:place] = rng.randbytes(rng.choice((1, 8, 100)))
            else:
                content[place] = 0 if kind == "zero" else content[place] ^ (1 << rng.randrange(8))
    path.write_bytes(content)


def spoil_value(value: Any, rng: random.Random) -> Any:
    """Replace, delete or double one member somewhere inside a value of JSON."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        kind = rng.random()
        changed = dict(value) if isinstance(value, dict) else list(value)
        if kind < 0.1:
            del changed[key]
        elif kind < 0.15 and isinstance(changed, list):
            changed.append(changed[key])
        else:
            changed[key] = spoil_value(changed[key], rng)
        return changed
    return rng.choice(HOSTILE_VALUES)


def spoil_json(path: Path, rng: random.Random) -> None:
    """Spoil a JSON or JSON Lines file: mostly a value, sometimes its text or bytes."""
    if rng.random() < 0.15:
        spoil_bytes(path, rng)
        return
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    index = rng.randrange(len(lines))
    row = json.loads(lines[index])
    for _ in range(rng.choice((1, 1, 2))):
        row = spoil_value(row, rng)
    lines[index] = json.dumps(row)
    if rng.random() < 0.2 and isinstance(row, dict) and row:
        marked = {**row, rng.choice(list(row)): "@@"}
        lines[index] = json.dumps(marked).replace('"@@"', rng.choice(HOSTILE_TEXTS))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")


def spoil_text(path: Path, rng: random.Random) -> None:
    """Spoil lines of a text file."""
    if rng.random() < 0.3:
        spoil_bytes(path, rng)
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    for _ in range(rng.choice((1, 2, 5))):
        index = rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0:
            lines[index] = rng.choice(HOSTILE_WORDS)
        elif kind == 1:
            lines.insert(index, rng.choice(lines))
        elif kind == 2 and len(lines) > 1:
            del lines[index]
        else:
            place = rng.randrange(len(lines[index]) + 1)
            lines[index] = lines[index][:place] + rng.choice(HOSTILE_WORDS) + lines[index][place + rng.randrange(4) :]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")


def spoil(path: Path, rng: random.Random) -> None:
    """Spoil a file by what fits its kind, or remove it."""
    if rng.random() < 0.05:
        path.unlink()
    elif path.suffix in (".json", ".jsonl"):
        spoil_json(path, rng)
    elif path.suffix in (".srt", ".vtt", ".yaml", ".txt"):
        spoil_text(path, rng)
    else:
        spoil_bytes(path, rng)


def spoil_some(folder: Path, rng: random.Random, pattern: str = "*") -> None:
    """Spoil one to three files below a folder."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    for path in rng.sample(files, min(len(files), rng.choice((1, 1, 1, 2, 3)))):
        spoil(path, rng)


def spoil_checkpoint(path: Path, rng: random.Random) -> None:
    """Spoil the options or weights of a released checkpoint, or its bytes."""
    import argparse

    import torch

    if rng.random() < 0.3:
        spoil_bytes(path, rng)
        return
    checkpoint = torch.load(path, weights_only=False)
    part = rng.choice(("opt", "model", "model", "whole"))
    if part == "opt":
        options = vars(checkpoint["opt"]) if isinstance(checkpoint["opt"], argparse.Namespace) else checkpoint["opt"]
        spoiled = spoil_value(dict(options), rng)
        is_mapping = isinstance(spoiled, dict)
        checkpoint["opt"] = argparse.Namespace(**{str(k): v for k, v in spoiled.items()}) if is_mapping else spoiled
    elif part == "model":
        name = rng.choice(list(checkpoint["model"]))
        tensor = checkpoint["model"][name]
        checkpoint["model"][name] = rng.choice(
            (
                *(3, None, "x", [], tensor.to_sparse(), tensor.double() * 1e300, tensor.int(), tensor.bool()),
                *(tensor[..., :1], tensor.new_zeros(()), tensor * float("nan"), tensor.new_zeros(1).expand(2**34)),
            )
        )
        if rng.random() < 0.3:
            checkpoint["model"][rng.choice((7, "", "module.x", name + "x", None))] = checkpoint["model"].pop(name)
    else:
        checkpoint = rng.choice((3, None, [], {}, checkpoint["model"], {"model": 3}, {**checkpoint, "opt": None}))
    torch.save(checkpoint, path)


# Doors


@door
def evaluate(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder, rng, "metric_*.jsonl")
    options = rng.choice(([], [], ["--dataset", rng.choice(("tvsum", "highlight_detection", "x"))], ["--strict"]))
    return [
        "evaluate",
        f"{folder}/metric_predictions.jsonl",
        "--annotations",
        f"{folder}/metric_truth.jsonl",
        *options,
    ]


@door
def evaluate_domains(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder, rng, "domain_*.jsonl")
    return [
        "evaluate",
        f"{folder}/domain_predictions.jsonl",
        "--annotations",
        f"{folder}/domain_truth.jsonl",
        "--json",
        "-",
    ]


@door
def prepare(folder: Path, rng: random.Random) -> list[str]:
    if rng.random() < 0.6:
        spoil_some(folder / "features", rng, "*.npz")
    else:
        spoil(folder / "annotations.jsonl", rng)
    return [
        *("prepare", f"{folder}/out", "--annotations", f"val={folder}/annotations.jsonl", "--clip-length", "1"),
        *("--video-features", f"clip={folder}/features/clip_features"),
        *("--text-features", f"clip={folder}/features/clip_text_features"),
        *rng.choice(([], ["--strict"], ["--length-tolerance", "0"], ["--clip-length", "0"])),
    ]


@door
def convert(folder: Path, rng: random.Random) -> list[str]:
    spoil_checkpoint(folder / "release.ckpt", rng)
    widths = ["--video-backbone", "clip=64", "--text-backbone", "clip=64"]
    return ["convert", f"{folder}/release.ckpt", f"{folder}/out", *rng.choice((widths, widths, [], widths[:2]))]


@door
def convert_back(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "model", rng, rng.choice(("config.json", "model.safetensors")))
    return ["convert", "--reverse", f"{folder}/model", f"{folder}/out.ckpt"]


@door
def convert_slowfast(folder: Path, rng: random.Random) -> list[str]:
    name = rng.choice(("slowfast.pkl", "slowfast.pyth"))
    spoil_bytes(folder / name, rng)
    return ["convert-slowfast", f"{folder}/{name}", f"{folder}/out"]


@door
def predict(folder: Path, rng: random.Random) -> list[str]:
    kind = rng.randrange(4)
    sentence = "a red circle"
    if kind == 0:
        spoil_bytes(folder / "videos" / "a.mp4", rng)
    elif kind == 1:
        sentence = rng.choice(SENTENCES)
    else:
        spoil_some(folder / "model", rng, rng.choice(("*.json", "*.json", "*.safetensors")))
    outputs = rng.choice(([], ["--json", f"{folder}/out.json"], ["--json", "-"], ["--plot", f"{folder}/out.png"]))
    cut = ["--cut", f"{folder}/cuts"] if rng.random() < 0.2 else []
    return ["predict", f"{folder}/videos/a.mp4", sentence, "--model", f"{folder}/model", *outputs, *cut]


@door
def extract(folder: Path, rng: random.Random) -> list[str]:
    kind = rng.randrange(4)
    if kind == 0:
        spoil_some(folder / "videos", rng)
    elif kind == 1:
        spoil(folder / "annotations.jsonl", rng)
    elif kind == 2:
        spoil_some(folder / "features", rng)
    else:
        spoil_some(folder / "model" / "backbones" / "clip", rng)
    dataset = ["--annotations", f"val={folder}/annotations.jsonl", "--dataset-output", f"{folder}/out"]
    return [
        *("extract", f"{folder}/videos", f"{folder}/features", "--clip-length", "1", "--device", "cpu"),
        *("--backbone", f"clip={folder}/model/backbones/clip", "--decoders", "1"),
        *(dataset if rng.random() < 0.6 else []),
    ]


@door
def convert_subtitles(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "subtitles", rng)
    if rng.random() < 0.2:
        spoil(folder / "annotations.jsonl", rng)
    durations = ["--durations", f"{folder}/annotations.jsonl"]
    return ["convert-subtitles", f"{folder}/subtitles", f"{folder}/out.jsonl", *durations]


def _training(folder: Path) -> list[str]:
    settings = (
        "num_train_epochs=1 eval_epochs=1 per_device_train_batch_size=4 use_cpu=true disable_tqdm=true report_to=none"
    )
    return [
        *("train", "--recipe", f"{folder}/recipe.yaml", "--data", f"{folder}/dataset", "--output", f"{folder}/run"),
        *(word for setting in settings.split() for word in ("--set", setting)),
    ]


@door
def train_on_spoiled_data(folder: Path, rng: random.Random) -> list[str]:
    # Arrow files are mapped into memory and hold no checksums: their bytes are left alone.
    spoil_some(folder / "dataset", rng, "*.json")
    return _training(folder)


@door
def train_by_spoiled_recipe(folder: Path, rng: random.Random) -> list[str]:
    command = _training(folder)
    if rng.random() < 0.5:
        spoil(folder / "recipe.yaml", rng)
        return command
    names = "metric_for_best_model hidden_size ema_decay num_queries learning_rate moment_bounds eval_split dropout"
    value = rng.choice((*HOSTILE_WORDS[1:], "0", "[]", "{}", "true", "[1, 2]", "-5", "1e-400"))
    name = rng.choice(names.split())
    return [*command, "--set", f"{name}={value}"]


@door
def resume_spoiled_run(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "finished", rng)
    command = _training(folder)
    command[command.index("--output") + 1] = f"{folder}/finished"
    return [*command, "--resume", "--set", "num_train_epochs=2"]


@door
def evaluate_spoiled_checkpoint(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "finished", rng, rng.choice(("*.json", "*.safetensors", "recipe.yaml")))
    return ["evaluate", f"{folder}/finished", "--data", f"{folder}/dataset", "--output", f"{folder}/out"]


@door
def train_from_spoiled_checkpoint(folder: Path, rng: random.Random) -> list[str]:
    spoil_some(folder / "finished", rng, rng.choice(("config.json", "model.safetensors")))
    return [*_training(folder), "--init-from", f"{folder}/finished"]


# Good files


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_video(path: Path, brightness: int) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(24):
            picture = np.full((64, 64, 3), (brightness + 5 * index) % 256, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def _must_run(command: list[str]) -> None:
    status, message = run_command(command)
    if status != "0":
        raise RuntimeError(f"{' '.join(command)}: {message}")


def make_good_files(folder: Path) -> None:
    """Make the files that all cases start from: a small model, videos, features, a dataset, a finished run."""
    import pickle

    import numpy as np
    import torch

    from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval, VideoLightsProcessor
    from videolights_hf.demo import demo_checkpoint

    folder.mkdir(parents=True)
    (folder / "videos").mkdir()
    rows = []
    for index, vid in enumerate("ab"):
        _write_video(folder / "videos" / f"{vid}.mp4", 90 * index)
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
    _write_rows(
        folder / "domain_predictions.jsonl", [{"qid": name, "pred_saliency_scores": [1, 0, 2]} for name in "xy"]
    )
    (folder / "subtitles").mkdir()
    cue = "00:00:01,000 --> 00:00:03,500\na dog runs\n"
    (folder / "subtitles" / "a.srt").write_text(f"1\n{cue}\n2\n{cue.replace('01,', '04,').replace('03,', '05,')}\n")
    (folder / "subtitles" / "b.vtt").write_text("WEBVTT\n\n" + cue.replace(",", "."))

    clip = demo_checkpoint() / "backbones" / "clip"
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_encoder_layers": 1}
    sizes |= {"num_decoder_layers": 1, "num_queries": 3, "contrastive_hidden_size": 8}
    backbones = {"video_backbones": [["clip", 64]], "text_backbones": [["clip", 64]], "clip_length": 1}
    config = VideoLightsConfig(**sizes, **backbones)
    torch.manual_seed(0)
    model = VideoLightsForMomentRetrieval(config)
    model.save_pretrained(folder / "model", include_code=False)
    processor = VideoLightsProcessor.from_config(config, backbone_checkpoints={"clip": str(clip)})
    processor.save_pretrained(folder / "model")
    _must_run(["convert", "--reverse", f"{folder}/model", f"{folder}/release.ckpt"])
    blob = {"blobs": {"conv1_w": np.zeros((4, 3, 1, 1), np.float32)}}
    (folder / "slowfast.pkl").write_bytes(pickle.dumps(blob, protocol=2))
    torch.save({"model_state": {"blocks.0.weight": torch.zeros(4)}}, folder / "slowfast.pyth")
    recipe = {"extends": "qvhighlights/videolights", "model": {**sizes, **backbones}, "data": {"train_split": "val"}}
    recipe["training"] = {"moment_bounds": None}
    import yaml

    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    _must_run(
        [
            *("extract", f"{folder}/videos", f"{folder}/features", "--clip-length", "1", "--device", "cpu"),
            *("--backbone", f"clip={folder}/model/backbones/clip", "--dataset-output", f"{folder}/dataset"),
            *("--annotations", f"val={folder}/annotations.jsonl"),
        ]
    )
    command = _training(folder)
    command[command.index("--output") + 1] = f"{folder}/finished"
    _must_run(command)


# Running


def run_command(command: list[str]) -> tuple[str, str]:
    """Run a command in this process; its exit code, or the kind of its failure, and what it said."""
    from typer.testing import CliRunner

    from videolights_hf.cli.main import app

    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, command)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        return "traceback", f"{type(error).__name__}: {error}"
    last = (result.stderr.strip().splitlines() or [""])[-1]
    if UNEXPECTED in result.stderr:
        return "traceback", next(line for line in result.stderr.splitlines() if UNEXPECTED in line)
    if result.exit_code and "Error" not in result.stderr:
        return "silent", f"exit code {result.exit_code} without an error: {last}"
    return str(result.exit_code), last


def run_case(good: Path, work: Path, seed: int, name: str, limit: float) -> tuple[str, str, list[str]]:
    """Run one case in this process; see `run_command`. A case over the limit is a hang."""
    rng = random.Random(f"{seed} {name}")
    folder = work / f"{name}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)

    def stop(*_: Any) -> None:
        raise Hang

    command: list[str] = []
    # Processor time does not depend on what else the machine does; who waits for ever uses none.
    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, limit),
        (signal.ITIMER_REAL, signal.SIGALRM, WAITING_FACTOR * limit),
    )
    try:
        command = DOORS[name](folder, rng)
        for timer, number, seconds in timers:
            signal.signal(number, stop)
            signal.setitimer(timer, seconds)
        status, message = run_command(command)
    except Hang:
        status, message = "hang", f"over {limit:g} s of processor time, or {WAITING_FACTOR} times as long in total"
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)
    if status.isdecimal():
        shutil.rmtree(folder, ignore_errors=True)
    return status, message, command


def _work(good: Path, work: Path, cases: list[tuple[int, str]], limit: float) -> None:
    """Run cases and print a line of JSON before and after each."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for seed, name in cases:
        print(json.dumps({"seed": seed, "door": name}), file=output, flush=True)
        start = time.perf_counter()
        status, message, command = run_case(good, work, seed, name, limit)
        row = {"seed": seed, "door": name, "status": status, "message": message[:500], "command": command}
        row["seconds"] = round(time.perf_counter() - start, 2)
        print(json.dumps(row), file=output, flush=True)


def _run_all(cases: list[tuple[int, str]], options: list[str], memory: int) -> Iterator[dict[str, Any]]:
    """Results of all cases, from processes that are started again after a crash."""
    left = list(cases)
    while left:
        worker = subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps(left), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        assert worker.stdout is not None
        started: dict[str, Any] | None = None
        for line in worker.stdout:
            row = json.loads(line)
            if "status" in row:
                left.pop(0)
                started = None
                yield row
            else:
                started = row
        code = worker.wait()
        if started is not None:
            left.pop(0)
            yield {**started, "status": CRASH_STATUS, "message": f"the process ended with {code}", "seconds": 0}
        elif code:
            raise RuntimeError(f"The worker ended with {code} before its first case.")


def main(
    cases: Annotated[int, typer.Option(min=1, help="How many cases to run.")] = 200,
    seed: Annotated[int, typer.Option(help="Number of the first case.")] = 0,
    doors: Annotated[list[str] | None, typer.Option("--door", help="Only this door. Repeat for several.")] = None,
    work: Annotated[Path, typer.Option(help="Folder for the files; those of faults are kept.")] = Path("runs/fuzz"),
    limit: Annotated[float, typer.Option(help="Seconds of processor time after which a case hangs.")] = 60.0,
    memory: Annotated[int, typer.Option(help="GiB of address space for the process.")] = 24,
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run cases and print faults and counts."""
    work = work.absolute()
    good = work / "good"
    if worker is not None:
        _work(good, work / "cases", [(number, name) for number, name in json.loads(worker)], limit)
        return
    if not good.is_dir():
        make_good_files(good)
    names = doors or list(DOORS)
    plan = [(number, names[number % len(names)]) for number in range(seed, seed + cases)]
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    slow: list[dict[str, Any]] = []
    for row in _run_all(plan, ["--work", str(work), "--limit", str(limit)], memory << 30):
        with open(work / LOG_FILE, "a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        counts[row["door"]][row["status"]] += 1
        slow = sorted([*slow, row], key=lambda one: -one["seconds"])[:3]
        if not row["status"].isdecimal():
            print(f"{row['status']} {row['door']} seed {row['seed']}: {row['message']}", flush=True)
    for name, found in counts.items():
        print(f"{name:30} " + ", ".join(f"{status}: {count}" for status, count in sorted(found.items())))
    print("slowest: " + ", ".join(f"{row['door']} {row['seed']} ({row['seconds']} s)" for row in slow))
    faults = sum(count for found in counts.values() for status, count in found.items() if not status.isdecimal())
    print(f"{cases} cases, {faults} faults")
    raise typer.Exit(min(faults, 1))


if __name__ == "__main__":
    typer.run(main)
