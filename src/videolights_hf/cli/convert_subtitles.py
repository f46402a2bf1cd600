"""`videolights convert-subtitles`: subtitle files to a pretraining corpus of spoken sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Exclude
from .terminal import print_line


def convert_subtitles(
    subtitles: Annotated[
        str,
        typer.Argument(
            metavar="SUBTITLES", help="A folder (searched with its subfolders), a quoted pattern, or a file."
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT.jsonl", help="The corpus to write, in the annotation format.")
    ],
    videos: Annotated[
        str | None,
        typer.Option(metavar="VIDEOS", help="Folder, quoted pattern or list of the videos, to read their durations."),
    ] = None,
    durations: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Annotation file, to take durations from. Repeat for several."),
    ] = None,
    exclude: Exclude = None,
) -> None:
    """Convert subtitles to a pretraining corpus: sentences become queries, their times the moments.

    Subtitles are .srt, .vtt or .jsonl files named after their video: VID.vtt or VID.en.vtt. A line of a .jsonl file has
    text, start, and end or duration, and may have a vid.

    [bold]Example[/bold]

        videolights convert-subtitles subtitles/ asr.jsonl --videos videos/ --exclude val.jsonl --exclude test.jsonl
    """
    from videolights_hf import corpus

    if (videos is None) == (not durations):
        raise typer.BadParameter("give either --videos or --durations", param_hint="--videos")
    files = corpus.find_subtitles(subtitles)
    excluded = {vid for path in exclude or [] for vid in corpus.read_vids(path)}
    if videos is not None:
        from videolights_hf.extraction import find_videos

        seconds, failed = corpus.read_durations(find_videos(videos))
        for failure in failed:
            print_line("Failed", f"{failure.vid}: {failure.error}", typer.colors.YELLOW)
    else:
        seconds = {vid: value for path in durations or [] for vid, value in corpus.annotated_durations(path).items()}
    kept, left_out = corpus.leave_out(seconds, excluded)
    typer.echo(f"{len(seconds)} videos; {left_out}")
    summary = corpus.convert_subtitles(files, kept, output)
    typer.echo(f"Wrote {output}: {summary}")
