"""What tests of several rooms use."""

import os

# Before torch is imported: pytest-xdist has a process for each core already.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402

from tests.support.warm import ROOT, WarmPython, warm_python  # noqa: E402


@pytest.fixture(scope="session")
def python() -> Iterator[WarmPython]:
    """Runs commands in processes of their own."""
    with warm_python({**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}) as python:
        yield python
