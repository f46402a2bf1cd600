"""Convert subtitles to the ASR corpus, the baseline of synthetic captions: what is said in a video as queries.

    python examples/convert_subtitles.py subtitles/ asr.jsonl --videos videos/ --exclude val.jsonl --exclude test.jsonl

Subtitles are `.srt`, `.vtt` or `.jsonl` files named after their video (`{vid}.vtt`, `{vid}.en.vtt`); a line of a `.jsonl`
file has `text`, `start`, and `end` or `duration`, and may have a `vid`. Where the videos are not at hand, `--durations`
takes their durations from annotation files. `videolights convert-subtitles` does the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.corpus import generate_asr_corpus


def main(
    subtitles: Annotated[str, typer.Argument(help="Folder, quoted pattern or file.")],
    output: Annotated[Path, typer.Argument(help="JSON Lines file to write, in the annotation format.")],
    videos: Annotated[str | None, typer.Option(help="Folder, quoted pattern or list of the videos.")] = None,
    durations: Annotated[list[str], typer.Option(help="Annotation file with durations.")] = [],  # noqa: B006
    exclude: Annotated[list[str], typer.Option(help="Annotation file whose videos are left out.")] = [],  # noqa: B006
) -> None:
    """Convert, and print what became of the videos and subtitles."""
    corpus = generate_asr_corpus(subtitles, output, videos=videos, durations=durations, exclude=exclude)
    for failure in corpus.failed:
        print(f"not read: {failure.vid}: {failure.error}")
    print(corpus)


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
