"""Commands in processes of their own, and in two that share the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def launch_two(*command: str) -> str:
    """Run a script or module (`-m`, name) with its arguments in two processes on the CPU; its standard output.

    With `--cpu`, accelerate would quietly start one process.
    """
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += [
        "--main_process_port",
        "0",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--num_machines",
        "1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [*launcher, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout
