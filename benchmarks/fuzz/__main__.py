"""Try broken and hostile inputs at every door; every case must end in an answer or in clear lines.

    python -m benchmarks.fuzz --cases 2000 --seed 0
    python -m benchmarks.fuzz --cases 200 --door convert --door evaluate

A case is a command on good files of which some are spoiled; it depends on its door and seed alone. Cases run in processes
of their own, and `push` on a Hub on this machine. Reported are tracebacks (also those that the command line turns into a
line that blames the program), errors without a line, loading bars in logs, results that are no JSON, files beside the folder of the case,
crashes, hangs, and memory beyond the limit. The good files are made once, in `--work`, and every result is noted there, in
`log.jsonl`.
"""

from __future__ import annotations

import collections
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.support.hub_server import HubServer

from .cases import DOORS
from .good_files import make_good_files
from .server import run_cases

LOG_FILE = "log.jsonl"


def main(
    cases: Annotated[int, typer.Option(min=1, help="How many cases to run.")] = 200,
    seed: Annotated[int, typer.Option(help="Number of the first case.")] = 0,
    doors: Annotated[list[str] | None, typer.Option("--door", help="Only this door. Repeat for several.")] = None,
    work: Annotated[Path, typer.Option(help="Folder for the files; those of faults are kept.")] = Path("runs/fuzz"),
    limit: Annotated[float, typer.Option(help="Seconds of processor time after which a case hangs.")] = 60.0,
    memory: Annotated[float, typer.Option(help="GiB that a case may take beyond the libraries.")] = 4.0,
) -> None:
    """Run cases and print faults and counts."""
    work = work.absolute()
    if not (work / "good").is_dir():
        make_good_files(work / "good")
    chosen = doors or list(DOORS)
    names = [name for turn in range(4) for name in chosen if turn < 4 * DOORS[name].share]
    plan = [(number, names[number % len(names)]) for number in range(seed, seed + cases)]
    rows: list[dict[str, Any]] = []
    start = time.monotonic()
    with HubServer() as hub:
        environment = hub.environment(work / "home")
        # Bars in logs are faults.
        del environment["HF_HUB_DISABLE_PROGRESS_BARS"]
        for row in run_cases(plan, work, limit, memory, environment):
            with open(work / LOG_FILE, "a", encoding="utf-8") as log:
                log.write(json.dumps(row) + "\n")
            if not row["status"].isdecimal():
                print(f"{row['status']} {row['door']} seed {row['seed']}: {row['message']}", flush=True)
            rows.append(row)
            hub.repositories.clear(), hub.commits.clear(), hub.large_files.clear()
    raise typer.Exit(_report(rows, time.monotonic() - start))


def _report(rows: list[dict[str, Any]], elapsed: float) -> int:
    """Print counts by door, what took longest, and the number of faults; 1 if there are any."""
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for row in rows:
        counts[row["door"]][row["status"]] += 1
    for name, found in counts.items():
        seconds = sum(row["seconds"] for row in rows if row["door"] == name) / found.total()
        endings = ", ".join(f"{status}: {count}" for status, count in sorted(found.items()))
        print(f"{name:30} {found.total():5} cases, {seconds:5.2f} s each; {endings}")
    slow = sorted(rows, key=lambda row: -row["seconds"])[:3]
    large = sorted(rows, key=lambda row: -row["gib"])[:3]
    print("longest: " + ", ".join(f"{row['door']} {row['seed']} ({row['seconds']} s)" for row in slow))
    print("largest: " + ", ".join(f"{row['door']} {row['seed']} ({row['gib']} GiB)" for row in large))
    faults = sum(not row["status"].isdecimal() for row in rows)
    print(f"{len(rows)} cases, {faults} faults, {elapsed:.0f} s")
    return min(faults, 1)


typer.run(main)
