"""Measure how long imports, the command line and the first answer of a pipeline take in a fresh process.

    python -m benchmarks.startup [--rounds 7] [--what "import torch"]

Each of the things below runs in a process of its own, one after the other, for some rounds, so that a busy machine slows
all alike. Reported is the median over the rounds of the processor time (user and system) of the process, and of what it
needs beyond a bare Python. The rows of torch and transformers alone are the floor of what needs them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Annotated

import typer

from benchmarks.machine import describe_machine
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.demo import demo_checkpoint, demo_videos

BARE = "bare Python"
FIRST_CALL = """
import videolights_hf
from transformers import pipeline
pipe = pipeline("video-moment-retrieval", model={checkpoint!r})
pipe({video!r}, "a red square moves")
"""


def processes() -> dict[str, list[str]]:
    """What is measured: a name, and the arguments of Python."""
    first_call = FIRST_CALL.format(
        checkpoint=str(demo_checkpoint()), video=str(sorted(demo_videos().glob("*.mp4"))[0])
    )
    scripts = {
        BARE: "",
        "import torch": "import torch",
        "import transformers.modeling_utils": "import transformers.modeling_utils",
        "import videolights_hf": "import videolights_hf",
        "a model class": "from videolights_hf import VideoLightsForMomentRetrieval",
        "the processor class": "from videolights_hf import VideoLightsProcessor",
        "transformers.pipeline alone": "from transformers import pipeline",
        "first call of a pipeline": first_call,
    }
    commands = {name: ["-c", script] for name, script in scripts.items()}
    return commands | {"videolights --help": ["-m", "videolights_hf", "--help"]}


def cpu_seconds(arguments: list[str]) -> float:
    """Processor time of a fresh Python process."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds.")] = 7,
    what: Annotated[list[str] | None, typer.Option(help="Measure this alone; may be repeated.")] = None,
) -> None:
    """Print a JSON report and a table."""
    commands = {name: command for name, command in processes().items() if not what or name in [BARE, *what]}
    os.environ["HF_HUB_OFFLINE"] = "1"
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            seconds[name].append(cpu_seconds(command))
    # The first round reads the files from the disk.
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    report = {
        name: {"cpu_seconds": median, "beyond_python": median - medians[BARE]} for name, median in medians.items()
    }
    machine = describe_machine("torch", "transformers", "videolights-hf")
    print(json.dumps({"machine": machine, "rounds": rounds, "processes": report}, indent=1))
    print("\n| fresh process | CPU s | beyond bare Python |\n|---|---|---|")
    for name, row in report.items():
        print(f"| {name} | {row['cpu_seconds']:.2f} | {row['beyond_python']:.2f} |")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
