"""What tests of several rooms use."""

import os

# Before torch is imported: pytest-xdist has a process for each core already.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator

import pytest

from tests.support.warm import ROOT, WarmPython, warm_python


@pytest.fixture(scope="session")
def python() -> Iterator[WarmPython]:
    """Runs commands in processes of their own."""
    with warm_python({**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}) as python:
        yield python
