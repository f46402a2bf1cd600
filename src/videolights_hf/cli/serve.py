"""`videolights serve`: a model behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import BackboneModules, Device, Offline, parse_pairs
from .terminal import quiet_transformers


def serve(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model folder, its id on the Hub, what `export` wrote, or demo: the bundled model."
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = 8000,
    allow_folder: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Clients may name videos in this folder. Repeat for several."),
    ] = None,
    allow_url_prefix: Annotated[
        list[str] | None,
        typer.Option(metavar="URL/", help="Clients may name addresses that begin so. Repeat for several."),
    ] = None,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Largest video file.")] = 500,
    max_minutes: Annotated[float, typer.Option(min=0.01, help="Longest video.")] = 60,
    max_sentences: Annotated[int, typer.Option(min=1, help="Sentences per question.")] = 32,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that wait or run at once.")] = 16,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take.")] = 300,
    max_videos: Annotated[int, typer.Option(min=1, help="Encoded videos to keep.")] = 100,
    device: Device = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH_OR_ID",
            help="Load a backbone of the model from here, in place of the one that it names. Repeat for several.",
        ),
    ] = None,
    _backbone_module: BackboneModules = None,
    _offline: Offline = False,
) -> None:
    """Serve a model over HTTP: add a video once, ask about it many times. /docs shows what can be asked.

    There are no accounts: put it behind a server that has them before others can reach it.

    [bold]Example[/bold]

        videolights serve runs/qvh-b --allow-folder /data/videos
    """
    import uvicorn

    from videolights_hf.demo.bundled import demo_checkpoint
    from videolights_hf.deploy.answers import AnswerService, ServiceSettings
    from videolights_hf.deploy.runner import load_pipeline
    from videolights_hf.deploy.service import create_app

    settings = ServiceSettings(
        allow_folders=tuple(allow_folder or ()),
        allow_url_prefixes=tuple(allow_url_prefix or ()),
        max_megabytes=max_megabytes,
        max_minutes=max_minutes,
        max_sentences=max_sentences,
        max_queue=max_queue,
        timeout=timeout,
        max_videos=max_videos,
    )
    with quiet_transformers():
        checkpoints = parse_pairs(backbone, "--backbone", "NAME=PATH_OR_ID")
        path = demo_checkpoint() if model == "demo" else model
        pipeline = load_pipeline(path, device=device, backbone_checkpoints=checkpoints)
        # Before the first request: a backbone that is missing is found now.
        for name, _ in [*pipeline.processor.video_backbones, *pipeline.processor.text_backbones]:
            pipeline.processor.get_backbone(name)
        uvicorn.run(create_app(AnswerService(pipeline, settings)), host=host, port=port)
