"""What the numbers of a benchmark depend on beside the code: the machine and the versions of the libraries."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe_machine(*libraries: str) -> dict[str, str | int]:
    """Processor, cores that this process may use, and versions of Python and some libraries."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    versions = {library: version(library) for library in libraries}
    return {"processor": processor_name(), "cores": cores, "python": platform.python_version(), **versions}


def processor_name() -> str:
    """The processor's name, where the system tells it; else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
