"""`videolights predict`: moments and highlights of a video file, as a table, JSON, a picture and excerpts."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import BackboneModules, Device
from .terminal import quiet_transformers
from .zero_shot import ZERO_SHOT, load_zero_shot

if TYPE_CHECKING:
    from rich.table import Table

    from videolights_hf.inference.moments import MomentResult
    from videolights_hf.inference.pipeline import VideoMomentRetrievalPipeline

# A sentence is printed to here.
MAX_TITLE = 500
PICTURE_FORMATS = (".jpg", ".pdf", ".png", ".svg")
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DEMO = "demo"


def predict(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="The video file; - is standard input.")],
    sentences: Annotated[
        list[str], typer.Argument(metavar="SENTENCE", help="What to look for. The video is encoded once for all.")
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="PATH_OR_ID",
            help="A model folder or Hub id; zero-shot (similarity by CLIP, untrained); or demo (the bundled model of "
            "a made-up world).",
        ),
    ] = ZERO_SHOT,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone",
            metavar="NAME=PATH_OR_ID",
            help="With zero-shot: the CLIP-like model to compare by. Default: openai/clip-vit-base-patch32.",
            show_default=False,
        ),
    ] = None,
    audio_path: Annotated[
        Path | None,
        typer.Option(
            "--audio",
            metavar="FILE",
            help="Features of the video's sound (.npz or .npy), for a model that uses them.",
        ),
    ] = None,
    json_path: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="OUT",
            help="Write moments and saliency to this file; - prints them instead of the table.",
        ),
    ] = None,
    plot_path: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="OUT.png", help="Draw saliency and moments over thumbnails (.png, .jpg, .pdf or .svg)."
        ),
    ] = None,
    cut_dir: Annotated[
        Path | None, typer.Option("--cut", metavar="DIR", help="Write each moment to an mp4 file in this folder.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Keep at most this many moments per sentence.")] = 5,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Drop moments with a lower score.")] = 0.0,
    nms: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Keep only the best of moments that overlap by more than this IoU; 1 keeps all."
        ),
    ] = 0.7,
    device: Device = None,
    _backbone_module: BackboneModules = None,
    dtype: Annotated[
        Dtype,
        typer.Option(help="Type that models compute in. auto: the model as saved, the feature backbones in float32."),
    ] = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pairs of a sentence and a window of the video per batch.")
    ] = 16,
) -> None:
    """Find the moments in a video that sentences describe.

    Long videos run in overlapping windows.

    [bold]Example[/bold]

        videolights predict trip.mp4 "a dog runs" "people eat" --model DIR --plot trip.png
    """
    from videolights_hf.common.files import write_json
    from videolights_hf.data.features import read_features
    from videolights_hf.video.files import stored_video

    if backbone and model != ZERO_SHOT:
        raise typer.BadParameter("a trained model brings its own backbones.", param_hint="--backbone")
    _check_inputs(video, sentences)
    _check_outputs(json_path, plot_path, cut_dir)
    audio = None if audio_path is None else read_features(audio_path)
    with stored_video(video) as stored, quiet_transformers():
        results = _load(model, backbone, device, dtype)(
            stored,
            sentences,
            audio=audio,
            top_k=top_k,
            score_threshold=threshold,
            nms_threshold=nms,
            batch_size=batch_size,
        )
        content = {"video": video, "model": model, "predictions": results}
        if json_path == "-":
            # Escaped, so that every console takes it.
            typer.echo(json.dumps(content, indent=1, allow_nan=False))
        elif json_path is not None:
            write_json(json_path, content)
        # After the file: it is there whatever becomes of the console.
        if json_path != "-":
            _print_tables(results)
        if json_path not in (None, "-"):
            _say_written(json_path, json_path)
        if plot_path is not None:
            _plot(results, stored, plot_path)
            _say_written(plot_path, json_path)
        if cut_dir is not None:
            for path in _cut(stored, results, cut_dir):
                _say_written(path, json_path)


def _check_inputs(video: str, sentences: Sequence[str]) -> None:
    """Say at once what would otherwise be an odd answer or a late error."""
    from videolights_hf.video.files import VIDEO_ENDINGS

    for text in (video, *sentences):
        if text.lower().startswith(("http://", "https://", "ftp://", "rtsp://")):
            raise ValueError(f"{text} is an address, and only files are read: download it first.")
    for text in sentences:
        path = Path(text)
        if path.suffix.lower() in VIDEO_ENDINGS and (len(text.split()) == 1 or path.is_file()):
            raise ValueError(
                f"{text} looks like a second video, not a sentence: predict takes one video. Repeat the command for each."
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
            raise ValueError(f"The sentence {shown!r} is not valid UTF-8: type it in a UTF-8 terminal.") from None


def _check_outputs(json_path: str | None, plot_path: Path | None, cut_dir: Path | None) -> None:
    """Fail before the long work, not after it."""
    if plot_path is not None:
        if plot_path.suffix.lower() not in PICTURE_FORMATS:
            raise typer.BadParameter(f"{plot_path}: choose one of {', '.join(PICTURE_FORMATS)}", param_hint="--plot")
        if importlib.util.find_spec("matplotlib") is None:
            raise ImportError('Pictures need matplotlib: pip install "videolights-hf[viz]".')
        plot_path.parent.mkdir(parents=True, exist_ok=True)
    if json_path not in (None, "-"):
        path = Path(json_path)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder: --json wants the name of a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
    if cut_dir is not None:
        cut_dir.mkdir(parents=True, exist_ok=True)


def _load(model: str, backbone: list[str] | None, device: str | None, dtype: Dtype) -> VideoMomentRetrievalPipeline:
    import torch

    from videolights_hf.demo.bundled import demo_checkpoint
    from videolights_hf.deploy.runner import load_pipeline

    chosen = None if dtype == "auto" else getattr(torch, dtype)
    if model == ZERO_SHOT:
        return load_zero_shot(backbone, device, chosen)
    path = str(demo_checkpoint()) if model == DEMO else model
    if not Path(path).is_dir() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise FileNotFoundError(f"No such model folder: {path}")
    return load_pipeline(path, device=device, dtype=chosen)


def _print_tables(results: Sequence[MomentResult]) -> None:
    from rich.console import Console
    from rich.text import Text

    from videolights_hf.inference.moments import low_score_note

    console = Console()
    for result in results:
        console.print(Text(result["query"][:MAX_TITLE], style="bold"))
        table = _table(result)
        if table.rows:
            console.print(table)
        note = low_score_note(result["moments"]) or (None if result["moments"] else "No moment found.")
        if note:
            console.print(Text(note, style="italic"), end="\n\n")


def _table(result: MomentResult) -> Table:
    from rich import box
    from rich.table import Table

    from videolights_hf.common.times import format_time
    from videolights_hf.inference.highlights import find_highlights
    from videolights_hf.inference.moments import low_score_note

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "start", "end", "score"):
        table.add_column(column, justify="right")

    def add(name: str, span: Any, score: str) -> None:
        table.add_row(name, *(format_time(span[bound], decimals=1) for bound in ("start", "end")), score)

    moments = [] if low_score_note(result["moments"]) else result["moments"]
    for rank, moment in enumerate(moments, start=1):
        add(f"moment {rank}", moment, f"{moment['score']:.2f}")
    if table.rows:
        table.add_section()
    for rank, highlight in enumerate(find_highlights(result), start=1):
        add(f"highlight {rank}", highlight, "")
    return table


def _plot(results: list[MomentResult], video: str, path: Path) -> None:
    from videolights_hf.common.files import written_aside
    from videolights_hf.visualization.moments import plot_moments

    figure = plot_moments(results, video)
    with written_aside(path) as partial:
        figure.savefig(partial, format=path.suffix[1:].lower(), dpi=150)


def _cut(video: str, results: Sequence[MomentResult], directory: Path) -> list[Path]:
    """Write the moments to files; nothing of a sentence whose scores are all low."""
    from videolights_hf.inference.moments import low_score_note
    from videolights_hf.video.excerpts import excerpt_file_name, write_excerpt

    written = []
    for result in results:
        for moment in [] if low_score_note(result["moments"]) else result["moments"]:
            start, end = moment["start"], moment["end"]
            path = directory / excerpt_file_name(result["query"], start, end)
            written.append(write_excerpt(video, start, end, path))
    return written


def _say_written(path: str | Path, json_path: str | None) -> None:
    typer.echo(f"Wrote {path}", err=json_path == "-")
