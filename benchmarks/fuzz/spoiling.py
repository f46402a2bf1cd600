"""What breaks files: bytes flipped or cut, values of JSON, YAML and checkpoints replaced by others."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 3, 0.5, 1e308, -1e-320, 2**31, 2**63, 10**9, float("nan"), float("inf")),
    *("", "x", "../x", "/proc/x", "a\0b", "\ud800", "$x_1$", "1", "日本語", "a" * 5000),
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


def spoil_arrays(path: Path, rng: random.Random) -> None:
    """Replace an array of an .npz file, its name, or the file's bytes."""
    import zipfile

    import numpy as np

    if rng.random() < 0.4:
        spoil_bytes(path, rng)
        return
    with zipfile.ZipFile(path) as archive:
        is_compressed = any(member.compress_type for member in archive.infolist())
    with np.load(path) as file:
        arrays = {name: np.asarray(file[name]) for name in file.files}
    name = rng.choice(sorted(arrays))
    array = arrays.pop(name)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: np.atleast_1d(array)[:0],
        lambda: np.atleast_1d(array)[..., :1],
        lambda: array[None],
        lambda: np.full(array.shape, 1e39),
        lambda: np.full(array.shape, np.nan, np.float32),
        lambda: np.zeros(array.shape, complex),
        lambda: array.astype(str),
        lambda: np.asarray(None, dtype=object),
        lambda: np.zeros((10_000, 10_000), np.uint8),
        lambda: np.repeat(array, 100, axis=0) if array.ndim else np.zeros(3),
        lambda: np.zeros((0, 0)),
        lambda: np.float16(3),
    )
    arrays[rng.choice((name, name, name, "x", "a/b"))] = rng.choice(changes)()
    (np.savez_compressed if is_compressed else np.savez)(path, **arrays)


def spoil_safetensors(path: Path, rng: random.Random) -> None:
    """Replace, rename or drop weights, or spoil the file's bytes."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    if rng.random() < 0.4:
        spoil_bytes(path, rng)
        return
    weights = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    name = rng.choice(sorted(weights))
    tensor = weights.pop(name)
    changes = (
        *(
            tensor * float("nan"),
            torch.atleast_1d(tensor)[..., :1].contiguous(),
            tensor.new_zeros(()),
            tensor.int(),
            tensor.bool(),
        ),
        *(
            tensor.double() * 1e300,
            torch.atleast_1d(tensor)[:0].contiguous(),
            tensor.repeat(2, *[1] * max(tensor.ndim - 1, 0)),
            None,
        ),
    )
    changed = rng.choice(changes)
    if rng.random() < 0.1:
        weights = {}
    if changed is not None:
        weights[rng.choice((name, name, name, f"x{name}", f"module.{name}"))] = changed
    save_file(weights, path, rng.choice((metadata, metadata, None, {"format": "tf"})))


def spoil(path: Path, rng: random.Random) -> None:
    """Spoil a file by what fits its kind, remove it, or put something else in its place."""
    kind = rng.random()
    if kind < 0.1:
        path.unlink()
        if kind < 0.02:
            path.mkdir()
        elif kind < 0.03:
            os.mkfifo(path)
        elif kind < 0.04:
            path.symlink_to(path.name)
    else:
        SPOILERS.get(path.suffix, spoil_bytes)(path, rng)


def spoil_some(folder: Path, rng: random.Random, pattern: str = "*") -> None:
    """Spoil one to three files below a folder; saved code is not run, so it is left alone."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file() and path.suffix != ".py")
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
                *(
                    torch.atleast_1d(tensor)[..., :1],
                    tensor.new_zeros(()),
                    tensor * float("nan"),
                    tensor.new_zeros(1).expand(2**34),
                ),
            )
        )
        if rng.random() < 0.3:
            checkpoint["model"][rng.choice((7, "", "module.x", name + "x", None))] = checkpoint["model"].pop(name)
    else:
        checkpoint = rng.choice((3, None, [], {}, checkpoint["model"], {"model": 3}, {**checkpoint, "opt": None}))
    torch.save(checkpoint, path)


SPOILERS: dict[str, Callable[[Path, random.Random], None]] = {
    **dict.fromkeys((".json", ".jsonl"), spoil_json),
    **dict.fromkeys((".srt", ".vtt", ".yaml", ".txt"), spoil_text),
    ".npz": spoil_arrays,
    ".safetensors": spoil_safetensors,
    ".ckpt": spoil_checkpoint,
}
