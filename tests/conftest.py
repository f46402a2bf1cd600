"""What tests of several rooms use."""

import os

# Before torch is imported: pytest-xdist has a process for each core already.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.code_blocks import BLOCK_COUNTS
from tests.support.warm import ROOT, WarmPython, warm_python


@pytest.fixture(scope="session")
def python() -> Iterator[WarmPython]:
    """Runs commands in processes of their own."""
    with warm_python({**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}) as python:
        yield python


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many code blocks of the documents were run, and why others were not."""
    counts: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            # The report of what comes after a test has its properties, too.
            if getattr(report, "when", None) != "call":
                continue
            counts.update(dict(getattr(report, "user_properties", [])).get(BLOCK_COUNTS, {}))
    if counts:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))
        terminalreporter.write_line(f"Code blocks of README and docs: {listed}")
