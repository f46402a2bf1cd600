"""The folder that code of documents and docstrings runs in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.given import GivenFiles, link_checkout
from videolights_hf.backbones import registry


@pytest.fixture(scope="session")
def given(python, tmp_path_factory) -> GivenFiles:
    """Makes the files that code names."""
    return GivenFiles(tmp_path_factory.mktemp("given"), python)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """What a reader in a checkout has."""
    folder = tmp_path / "folder"
    folder.mkdir()
    link_checkout(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # Code may register a backbone, which other tests must not meet.
    monkeypatch.setattr(registry, "BACKBONES", dict(registry.BACKBONES))
    return folder
