"""Cases in processes of their own, forked from one that has imported everything."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .cases import run_case
from .doors import DOORS
from .running import all_commands

WAITING_FACTOR = 10
GIB = 2**30
# What cases import first; the rest is imported when a case has met it.
PRELOADED = (
    "torch",
    "transformers",
    "datasets",
    "av",
    "matplotlib.pyplot",
    "benchmarks.fuzz.doors",
)
# Beyond this, allocating fails, so that the machine is safe.
MAX_ADDRESS_SPACE = 24 * GIB


def run_cases(
    cases: list[tuple[int, str]], work: Path, limit: float, memory: float, environment: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Results of cases, in order.

    Args:
        cases: Seed and door of each.
        work: Folder with the good files.
        limit: Seconds of processor time after which a case hangs; it may wait ten times as long.
        memory: GiB that a case may add to what the imported libraries take.
        environment: Variables of the server.
    """
    options = json.dumps({"cases": cases, "work": str(work), "limit": limit, "memory": memory})
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **environment},
    )
    assert server.stdout is not None
    with server:
        for line in server.stdout:
            yield json.loads(line)
    if server.returncode:
        raise RuntimeError(f"The server ended with {server.returncode}.")


def _serve(cases: list[tuple[int, str]], work: str, limit: float, memory: float) -> None:
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))
    _import(PRELOADED)
    all_commands()
    for seed, name in cases:
        row = _run_forked(seed, name, Path(work), limit * DOORS[name].patience, memory)
        _import(row.pop("modules", ()))
        print(json.dumps(row), file=output, flush=True)


def _import(modules: Iterable[str]) -> None:
    """Import modules, so that cases find them; those that cannot be imported are left to the cases."""
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    # Children then neither look through what was imported nor copy its pages.
    gc.freeze()


def _run_forked(seed: int, name: str, work: Path, limit: float, memory: float) -> dict[str, Any]:
    before, start = _resident_bytes(), time.perf_counter()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
        _run_and_exit(seed, name, work, writer)
    os.close(writer)
    answer = _read_until_closed(reader, WAITING_FACTOR * limit)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    _, code, usage = os.wait4(child, 0)
    row: dict[str, Any] = {"seed": seed, "door": name}
    if answer:
        row |= json.loads(answer)
    elif os.WIFSIGNALED(code) and os.WTERMSIG(code) not in (signal.SIGXCPU, signal.SIGKILL):
        row |= {"status": "crash", "message": f"ended by {signal.Signals(os.WTERMSIG(code)).name}"}
    else:
        row |= {"status": "hang", "message": f"over {limit:g} s of processor time, or {WAITING_FACTOR} times as long"}
    row["seconds"] = round(usage.ru_utime + usage.ru_stime, 2)
    row["elapsed"] = round(time.perf_counter() - start, 2)
    row["gib"] = round(max(0, usage.ru_maxrss * 1024 - before) / GIB, 2)
    if row["status"].isdecimal() and row["gib"] > memory:
        row |= {"status": "memory", "message": f"took {row['gib']} GiB more than the libraries"}
    return row


def _run_and_exit(seed: int, name: str, work: Path, writer: int) -> None:
    known = set(sys.modules)
    try:
        status, message, command = run_case(work / "good", work / "cases", seed, name)
    except BaseException as error:
        status, message, command = "crash", f"the case cannot be run: {type(error).__name__}: {error}", []
    here = str(work)
    modules = [
        one
        for one, module in list(sys.modules.items())
        if one not in known and not (getattr(module, "__file__", None) or here).startswith(here)
    ]
    row = {"status": status, "message": message[:500], "command": command, "modules": modules}
    with os.fdopen(writer, "w") as file:
        json.dump(row, file)
    os._exit(0)


def _read_until_closed(reader: int, seconds: float) -> str:
    """What a child writes until it ends; nothing if that takes too long."""
    deadline = time.monotonic() + seconds
    content = b""
    with os.fdopen(reader, "rb", buffering=0) as file:
        while True:
            ready, _, _ = select.select([file], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return ""
            part = file.read(65536)
            if not part:
                return content.decode()
            content += part


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    _serve(**json.loads(sys.argv[1]))
