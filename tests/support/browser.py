"""A real browser for tests of pages: Chromium, as it is installed, without a window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

REQUIRED = "VIDEOLIGHTS_REQUIRE_BROWSER"
SCREENSHOTS = "VIDEOLIGHTS_SCREENSHOTS"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser. Where there is none, tests are skipped, or fail if the environment says that there must be one."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        _give_up(f"There is no browser: install one of {', '.join(_NAMES)}.")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _give_up('Playwright is not installed: pip install "videolights-hf[dev]".')
    with sync_playwright() as playwright:
        # Chromium's sandbox does not run for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def _give_up(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{reason} {REQUIRED} is set, so these tests may not be skipped.", pytrace=False)
    pytest.skip(reason)


def shoot(page: Any, name: str) -> None:
    """Save a picture of a page, where the environment names a folder for them."""
    if folder := os.environ.get(SCREENSHOTS):
        # Players turn a wheel for a moment when they go elsewhere.
        page.wait_for_timeout(500)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
