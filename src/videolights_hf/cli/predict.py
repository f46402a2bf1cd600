"""`videolights predict`: moments and highlights of video files, as tables, files of many formats, and excerpts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .finder import FinderBackbones, FinderDtype, FinderModel, load_finder
from .options import BackboneModules, Device, Offline
from .outputs import Outputs
from .terminal import describe, is_expected, print_line, quiet_transformers
from .zero_shot import ZERO_SHOT

if TYPE_CHECKING:
    from videolights_hf.inference.moments import MomentResult


def predict(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO... [SENTENCE]...",
            help="The video file (- is standard input), several, a folder, or a quoted pattern; then what to look for. "
            "A video is encoded once for all sentences. Without a sentence: highlights.",
        ),
    ],
    sentences_file: Annotated[
        Path | None,
        typer.Option("--sentences", metavar="FILE", help="A text file of more sentences, one per line."),
    ] = None,
    model: FinderModel = ZERO_SHOT,
    backbone: FinderBackbones = None,
    audio_path: Annotated[
        Path | None,
        typer.Option(
            "--audio",
            metavar="FILE",
            help="Features of the video's sound (.npz, .npy or .pt), for a model that uses them.",
        ),
    ] = None,
    json_path: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="OUT",
            help="Write moments and saliency to this file; - prints them instead of the table. Of several videos, this "
            "and the following outputs are folders.",
        ),
    ] = None,
    json_lines: Annotated[
        str | None,
        typer.Option(
            "--jsonl",
            metavar="OUT",
            help="Write a line of JSON for each video and sentence as soon as it is there; - prints them.",
        ),
    ] = None,
    csv: Annotated[str | None, typer.Option(metavar="OUT", help="Write the moments as a table.")] = None,
    plot_path: Annotated[
        str | None,
        typer.Option(
            "--plot", metavar="OUT.png", help="Draw saliency and moments over thumbnails (.png, .jpg, .pdf or .svg)."
        ),
    ] = None,
    html: Annotated[
        str | None,
        typer.Option(metavar="OUT", help="Write a page with a player over the saliency curve and the moments."),
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Put the video into the page, instead of its path from there.")
    ] = False,
    edl: Annotated[str | None, typer.Option(metavar="OUT", help="Write an edit decision list (CMX 3600).")] = None,
    otio: Annotated[str | None, typer.Option(metavar="OUT", help="Write an OpenTimelineIO timeline.")] = None,
    vtt: Annotated[str | None, typer.Option(metavar="OUT", help="Write the moments as WebVTT chapters.")] = None,
    gif: Annotated[
        str | None, typer.Option(metavar="OUT.gif", help="Write the best moment as a moving picture.")
    ] = None,
    reel: Annotated[
        str | None, typer.Option(metavar="OUT.mp4", help="Write all moments to one video, in its order.")
    ] = None,
    cut_dir: Annotated[
        Path | None,
        typer.Option(
            "--cut",
            metavar="DIR",
            help="Write each moment, to the frame and with its sound, to a file in this folder.",
        ),
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
    _offline: Offline = False,
    dtype: FinderDtype = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pairs of a sentence and a window of the video per batch.")
    ] = 16,
) -> None:
    """Find the moments in videos that sentences describe.

    Long videos run in overlapping windows. Of several videos, those that cannot be read are named at the end.

    [bold]Example[/bold]

        videolights predict trip.mp4 "a dog runs" "people eat" --model DIR --html trip.html --reel best.mp4
    """
    from videolights_hf.data.features import read_features

    from .asked import read_sentences, split_words

    if embed and html is None:
        raise typer.BadParameter("there is no page: give --html", param_hint="--embed")
    videos, sentences = split_words(words)
    sentences += [] if sentences_file is None else read_sentences(sentences_file)
    targets = {
        "json": json_path,
        "csv": csv,
        "plot": plot_path,
        "embedded html" if embed else "html": html,
        "edl": edl,
        "otio": otio,
        "vtt": vtt,
        "gif": gif,
        "reel": reel,
    }
    files = {name: target for name, target in targets.items() if target is not None}
    outputs = Outputs(files, cut_dir, json_lines, several=len(videos) > 1)
    outputs.check()
    options: dict[str, Any] = {
        "top_k": top_k,
        "score_threshold": threshold,
        "nms_threshold": nms,
        "batch_size": batch_size,
        "audio": None if audio_path is None else read_features(audio_path),
    }
    with quiet_transformers():
        finder = load_finder(model, backbone, device, dtype)
        _answer_all(videos, lambda video: _find(finder, video, sentences, options), outputs, model)


def _find(finder: Any, video: str, sentences: Sequence[str], options: dict[str, Any]) -> list[MomentResult]:
    from videolights_hf.inference.generic import answer_or_highlight

    return answer_or_highlight(lambda asked: finder(video, asked, **options), sentences, options["top_k"])


def _answer_all(
    videos: dict[str, str], find: Callable[[str], list[MomentResult]], outputs: Outputs, model: str
) -> None:
    """Find and write video by video; what failed is reported when all others are done."""
    from tqdm import tqdm

    problems = []
    try:
        for vid, video in tqdm(videos.items(), unit="video", disable=None if outputs.several else True):
            try:
                _answer(vid, video, find, outputs, model)
            except Exception as error:
                if not (outputs.several and is_expected(error)):
                    raise
                problems.append(f"{video}: {describe(error)}")
    finally:
        outputs.close()
    for problem in problems:
        print_line("Error", problem, typer.colors.RED)
    if problems:
        typer.echo(f"{len(videos) - len(problems)} of {len(videos)} videos are done.", err=True)
        raise typer.Exit(1)


def _answer(vid: str, video: str, find: Callable[[str], list[MomentResult]], outputs: Outputs, model: str) -> None:
    from videolights_hf.results.answers import VideoAnswers
    from videolights_hf.video.files import stored_video

    from .tables import print_tables

    with stored_video(video) as stored:
        answers = VideoAnswers(video, model, find(stored), None if stored == video else stored)
        outputs.stream(answers)
        written = outputs.write(vid, answers)
        # After the first file, which is JSON: it is there whatever becomes of the console.
        first = next(written, None)
        if not outputs.takes_console:
            if outputs.several:
                typer.secho(video, bold=True)
            print_tables(answers.predictions)
        for path in itertools.chain([] if first is None else [first], written):
            typer.echo(f"Wrote {path}", err=outputs.takes_console)
