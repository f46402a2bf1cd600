"""`videolights app`: finding moments in a browser."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from .finder import FinderBackbones, FinderDtype, load_finder
from .options import BackboneModules, Device, Offline
from .terminal import quiet_transformers
from .zero_shot import ZERO_SHOT


def app(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[VIDEO]...", help="Videos to choose from, beside the bundled ones and uploads."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="PATH_OR_ID",
            help="A model folder or Hub id; zero-shot; or demo. Default: zero-shot, and for the bundled videos the bundled "
            "model.",
            show_default=False,
        ),
    ] = None,
    backbone: FinderBackbones = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port. Default: the first free one from 7860 on.", show_default=False),
    ] = None,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Largest upload.")] = 500,
    max_minutes: Annotated[float, typer.Option(min=0.01, help="Longest video.")] = 60,
    max_sentences: Annotated[int, typer.Option(min=1, help="Sentences per question.")] = 8,
    keep_minutes: Annotated[
        float, typer.Option(min=0.1, help="Delete uploads and results of somebody who does nothing for this long.")
    ] = 60,
    device: Device = None,
    _backbone_module: BackboneModules = None,
    _offline: Offline = False,
    dtype: FinderDtype = "auto",
) -> None:
    """Find moments in a browser: choose or upload a video, say what to look for, watch and save what was found.

    There are no accounts: put it behind a server that has them before others can reach it.

    [bold]Example[/bold]

        videolights app trip.mp4 --model DIR
    """
    if importlib.util.find_spec("gradio") is None:
        raise ModuleNotFoundError("No module named 'gradio'", name="gradio")

    from videolights_hf.app.detectors import BUNDLED, ZERO_SHOT_NOTE, Detector
    from videolights_hf.app.launch import launch_app
    from videolights_hf.app.settings import AppSettings

    settings = AppSettings(
        videos=tuple(videos or ()),
        max_megabytes=max_megabytes,
        max_minutes=max_minutes,
        max_sentences=max_sentences,
        keep_minutes=keep_minutes,
    )
    named = model or ZERO_SHOT
    with quiet_transformers():
        detector = Detector(
            named,
            lambda: load_finder(named, backbone, device, dtype),
            ZERO_SHOT_NOTE if named == ZERO_SHOT else "",
        )
        # What is wrong with a model that was named is said now, not to the first visitor.
        general = detector if model is None else detector.loaded()
        launch_app(settings, (general, BUNDLED if model is None else general), host, port)
