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
    from videolights_hf.corpus import generate_asr_corpus

    if (videos is None) == (not durations):
        raise typer.BadParameter("give either --videos or --durations", param_hint="--videos")
    corpus = generate_asr_corpus(subtitles, output, videos=videos, durations=durations or (), exclude=exclude or ())
    for failure in corpus.failed:
        print_line("Failed", f"{failure.vid}: {failure.error}", typer.colors.YELLOW)
    typer.echo(f"{corpus.num_videos} videos; {corpus.left_out}")
    typer.echo(f"Wrote {output}: {corpus.summary}")
