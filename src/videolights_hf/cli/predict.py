"""`videolights predict`: moments and highlights of a video file, as a table, JSON, a picture and excerpts."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import BackboneModules, Device
from .terminal import no_progress_bars_in_logs

if TYPE_CHECKING:
    from rich.table import Table

    from videolights_hf.inference.pipeline import VideoMomentRetrievalPipeline

PICTURE_FORMATS = (".jpg", ".pdf", ".png", ".svg")


Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def predict(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video file.")],
    sentences: Annotated[
        list[str], typer.Argument(metavar="SENTENCE", help="What to look for. The video is encoded once for all.")
    ],
    model: Annotated[str, typer.Option(metavar="PATH_OR_ID", help="A model folder, or its id on the Hub.")],
    audio_path: Annotated[
        Path | None,
        typer.Option(
            "--audio",
            metavar="FILE",
            help="Features of the video's sound (.npz or .npy), for a model that uses them.",
        ),
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write moments and saliency to this file.")
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
    from videolights_hf.data.features import read_features

    _check_outputs(plot_path, cut_dir)
    audio = None if audio_path is None else read_features(audio_path)
    with no_progress_bars_in_logs():
        pipe = _load(model, device, dtype)
        results = pipe(
            video,
            sentences,
            audio=audio,
            top_k=top_k,
            score_threshold=threshold,
            nms_threshold=nms,
            batch_size=batch_size,
        )
    _print_tables(results)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        content = {"video": str(video), "model": model, "predictions": results}
        json_path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        typer.echo(f"Wrote {json_path}")
    if plot_path is not None:
        from videolights_hf.visualization.moments import plot_moments

        plot_path.parent.mkdir(parents=True, exist_ok=True)
        plot_moments(results, video).savefig(plot_path, dpi=150)
        typer.echo(f"Wrote {plot_path}")
    if cut_dir is not None:
        _cut(video, results, cut_dir)


def _check_outputs(plot_path: Path | None, cut_dir: Path | None) -> None:
    """Fail before the long work, not after it."""
    if plot_path is not None:
        if plot_path.suffix.lower() not in PICTURE_FORMATS:
            raise typer.BadParameter(f"{plot_path}: choose one of {', '.join(PICTURE_FORMATS)}", param_hint="--plot")
        if importlib.util.find_spec("matplotlib") is None:
            raise ImportError('Pictures need matplotlib: pip install "videolights-hf[viz]".')
    if cut_dir is not None:
        cut_dir.mkdir(parents=True, exist_ok=True)


def _load(model: str, device: str | None, dtype: Dtype) -> VideoMomentRetrievalPipeline:
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    from videolights_hf.inference.pipeline import VideoMomentRetrievalPipeline
    from videolights_hf.inference.processing import VideoLightsProcessor
    from videolights_hf.models.videolights.configuration import VideoLightsConfig
    from videolights_hf.models.videolights.modeling import VideoLightsForMomentRetrieval

    if not Path(model).is_dir() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise FileNotFoundError(f"No such model folder: {model}")
    model_type = VideoLightsConfig.get_config_dict(model)[0].get("model_type")
    if model_type not in (None, VideoLightsConfig.model_type):
        raise ValueError(f"{model} holds a model of the type {model_type!r}, not {VideoLightsConfig.model_type!r}.")
    # Not by `pipeline(...)`, which wraps what is wrong with a checkpoint in tracebacks.
    try:
        network = VideoLightsForMomentRetrieval.from_pretrained(model, dtype=dtype)
        processor = VideoLightsProcessor.from_pretrained(model)
    except (StrictDataclassError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"The model {model} cannot be loaded: {error}") from error
    chosen = {} if dtype == "auto" else {"dtype": getattr(torch, dtype)}
    try:
        return VideoMomentRetrievalPipeline(network, processor, device=device, **chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"Cannot run on the device {device!r}: {error}") from error


def _print_tables(results: list[dict[str, Any]]) -> None:
    from rich.console import Console

    console = Console()
    for result in results:
        console.print(_table(result))


def _table(result: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from videolights_hf.common.times import format_time

    table = Table(title=Text(result["query"], style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("moment", "start", "end", "score"):
        table.add_column(column, justify="right")
    for rank, moment in enumerate(result["moments"], start=1):
        times = (format_time(moment[name], decimals=1) for name in ("start", "end"))
        table.add_row(str(rank), *times, f"{moment['score']:.2f}")
    if not result["moments"]:
        table.caption = "No moment found."
    return table


def _cut(video: Path, results: list[dict[str, Any]], directory: Path) -> None:
    from videolights_hf.video.excerpts import excerpt_file_name, write_excerpt

    for result in results:
        for moment in result["moments"]:
            start, end = moment["start"], moment["end"]
            path = write_excerpt(video, start, end, directory / excerpt_file_name(result["query"], start, end))
            typer.echo(f"Wrote {path}")
