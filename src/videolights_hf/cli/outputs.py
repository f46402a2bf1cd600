"""The files that `videolights predict` writes: names of options, checks before the work, and the writing."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from videolights_hf.results.answers import VideoAnswers

STANDARD_OUTPUT = "-"


@dataclass
class Outputs:
    """Where results go.

    Attributes:
        files: Format (a key of `FORMATS`) to file; to a folder where there are several videos.
        cuts: Folder of the excerpts.
        json_lines: File of results as they come, `-` for standard output.
        several: Whether there are several videos, each of which gets files of its own name.
    """

    files: Mapping[str, str]
    cuts: Path | None = None
    json_lines: str | None = None
    several: bool = False
    _stream: IO[str] | None = field(default=None, init=False)

    @property
    def takes_console(self) -> bool:
        """Whether standard output is for JSON alone."""
        return STANDARD_OUTPUT in (self.files.get("json"), self.json_lines)

    def check(self) -> None:
        """Fail before the long work, not after it.

        Raises:
            typer.BadParameter: An ending that a format has not, or one name for the results of several videos.
            ImportError: A format needs a package that is not installed.
            OSError: A folder cannot be made, or a folder stands where a file should.
        """
        from videolights_hf.results.formats import FORMATS

        for name, target in self.files.items():
            kind, option = FORMATS[name], f"--{name.split()[-1]}"
            if target == STANDARD_OUTPUT:
                if name != "json" or self.several:
                    raise typer.BadParameter("only --jsonl - and --json - of one video print", param_hint=option)
                continue
            path = Path(target)
            if not self.several and kind.endings and path.suffix.lower() not in kind.endings:
                raise typer.BadParameter(f"{path}: choose one of {', '.join(kind.endings)}", param_hint=option)
            if kind.module is not None and importlib.util.find_spec(kind.module[0]) is None:
                raise ImportError(f'{option} needs {kind.module[0]}: pip install "videolights-hf[{kind.module[1]}]".')
            _make_room(path, self.several, option)
        if self.json_lines not in (None, STANDARD_OUTPUT):
            _make_room(Path(str(self.json_lines)), False, "--jsonl")
        if self.cuts is not None:
            self.cuts.mkdir(parents=True, exist_ok=True)

    def write(self, vid: str, answers: VideoAnswers) -> Iterator[Path]:
        """Write what was found in a video; gives each file when it is there."""
        from videolights_hf.results.films import write_cuts
        from videolights_hf.results.formats import FORMATS

        for name, target in self.files.items():
            if target == STANDARD_OUTPUT:
                # Escaped, so that every console takes it.
                typer.echo(json.dumps(answers.content(), indent=1, allow_nan=False))
                continue
            path = Path(target, vid + FORMATS[name].ending) if self.several else Path(target)
            if FORMATS[name].write(answers, path) is False:
                typer.echo(f"No moment for {path}", err=True)
            else:
                yield path
        if self.cuts is not None:
            yield from write_cuts(answers, self.cuts / vid if self.several else self.cuts)

    def stream(self, answers: VideoAnswers) -> None:
        """Write a line for each sentence to the JSON Lines, at once."""
        if self.json_lines is None:
            return
        if self._stream is None and self.json_lines != STANDARD_OUTPUT:
            self._stream = open(self.json_lines, "w", encoding="utf-8")  # noqa: SIM115  open until the last video
        for result in answers.predictions:
            line = json.dumps({"video": answers.video, "model": answers.model, **result}, allow_nan=False)
            if self._stream is None:
                typer.echo(line)
            else:
                print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Close the JSON Lines."""
        if self._stream is not None:
            self._stream.close()


def _make_room(path: Path, is_folder: bool, option: str) -> None:
    if is_folder:
        path.mkdir(parents=True, exist_ok=True)
    elif path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: {option} wants the name of a file.")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
