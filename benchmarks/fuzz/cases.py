"""One case: good files, of which a door spoils some, its command, and what that leaves."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from . import result_doors  # noqa: F401 (registers its doors)
from .doors import DOORS
from .running import is_no_json, run_command


def run_case(good: Path, work: Path, seed: int, name: str) -> tuple[str, str, list[str]]:
    """Run one case in this process, in a folder that stays if there was a fault; see `run_command`."""
    rng = random.Random(f"{seed} {name}")
    room = work / f"{name}-{seed}"
    shutil.rmtree(room, ignore_errors=True)
    folder = room / "files"
    folder.mkdir(parents=True)
    door = DOORS[name]
    for part in door.needs:
        copy = shutil.copytree if (good / part).is_dir() else shutil.copyfile
        copy(good / part, folder / part)
    command = door.make(folder, rng)
    with _inside(folder):
        status, message = run_command(command)
    if status.isdecimal():
        status, message = _judge_files(room, folder) or (status, message)
    if status.isdecimal():
        shutil.rmtree(room, ignore_errors=True)
    return status, message, command


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _judge_files(room: Path, folder: Path) -> tuple[str, str] | None:
    """What is wrong with the files that a case left."""
    outside = sorted(path.name for path in room.iterdir() if path != folder)
    if outside:
        return "escape", f"written beside the folder: {outside}"
    for path in [folder / "out.json", folder / "out.jsonl", *folder.glob("out/*.json*"), *folder.glob("run/*.json*")]:
        if path.is_file() and is_no_json(path.read_text(encoding="utf-8")):
            return "not-json", f"{path.relative_to(folder)} is no JSON"
    return None
