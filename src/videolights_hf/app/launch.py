"""Starting and ending the app."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.middleware import Middleware

from .actions import Actions
from .detectors import BUNDLED, ZERO_SHOT, Detector
from .media import Gate, media_route
from .page import build_page, page_head, page_theme
from .settings import AppSettings

_UPLOADS = "GRADIO_TEMP_DIR"


@dataclass(frozen=True)
class RunningApp:
    """An app that runs.

    Attributes:
        address: Where its page is.
        actions: What it does.
    """

    address: str
    actions: Actions


@contextlib.contextmanager
def running_app(
    settings: AppSettings | None = None,
    detectors: tuple[Detector, Detector] = (ZERO_SHOT, BUNDLED),
    host: str | None = None,
    port: int | None = None,
) -> Iterator[RunningApp]:
    """The app while it runs in threads of its own; at the end its files are deleted.

    Args:
        settings: What the operator decides.
        detectors: The models for people's videos and for the bundled ones.
        host: Address to listen on. By default what `GRADIO_SERVER_NAME` says, or this machine alone.
        port: By default what `GRADIO_SERVER_PORT` says, or the first free one from 7860 on.

    Raises:
        OSError: The port is taken.
    """
    settings = settings or AppSettings()
    with contextlib.ExitStack() as stack:
        actions = Actions(settings, *detectors)
        stack.callback(actions.close)
        # Where Gradio puts uploads; it asks when the page is built.
        stack.enter_context(_environment(_UPLOADS, str(actions.sessions.uploads)))
        page = build_page(actions)
        stack.callback(page.close, verbose=False)
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            allowed_paths=[],
            max_file_size=int(settings.max_megabytes * 2**20),
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=page_theme(),
            head=page_head(),
            app_kwargs={"routes": [media_route(actions.sessions)], "middleware": [Middleware(Gate)]},
        )
        yield RunningApp(address, actions)


def launch_app(
    settings: AppSettings | None = None,
    detectors: tuple[Detector, Detector] = (ZERO_SHOT, BUNDLED),
    host: str | None = None,
    port: int | None = None,
) -> None:
    """Run the app until it is interrupted or asked to end; for the arguments see [`running_app`]."""
    ended = threading.Event()

    def end(*_: Any) -> None:
        ended.set()

    # As servers of containers do; without it the files would stay.
    before = signal.signal(signal.SIGTERM, end)
    try:
        with running_app(settings, detectors, host, port) as app:
            print(f"The app is at {app.address}", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                ended.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


__all__ = ["RunningApp", "launch_app", "running_app"]
