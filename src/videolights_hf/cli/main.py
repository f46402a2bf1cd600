"""The `videolights` command. Commands import what is heavy when they run, so that help is quick."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from . import plot
from .app import app as app_command
from .compare import compare
from .convert import convert
from .convert_slowfast import convert_slowfast
from .convert_subtitles import convert_subtitles
from .evaluate import evaluate
from .export import export
from .extract import extract
from .generate import generate
from .plot_relevance import relevance
from .predict import predict
from .prepare import prepare
from .push import push
from .reproduce import reproduce
from .serve import serve
from .summarize import summarize
from .terminal import ReportingGroup
from .train import train

COMMANDS: tuple[Callable[..., Any], ...] = (
    predict,
    app_command,
    summarize,
    train,
    reproduce,
    evaluate,
    compare,
    prepare,
    extract,
    generate,
    convert_subtitles,
    push,
    convert,
    convert_slowfast,
    export,
    serve,
)

PLOTS: tuple[Callable[..., Any], ...] = (relevance, plot.predictions, plot.training, plot.breakdown, plot.errors)

app = typer.Typer(
    name="videolights",
    cls=ReportingGroup,
    help="Find the moments in a video that a sentence describes, and score every clip as a highlight.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help_of(command: Callable[..., Any]) -> str:
    """The docstring with each paragraph on one line, for the terminal to wrap."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(command) or "")


for _command in COMMANDS:
    app.command(help=_help_of(_command))(_command)
for _command in PLOTS:
    plot.app.command(help=_help_of(_command))(_command)
app.add_typer(plot.app, name="plot")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"videolights-hf {version('videolights-hf')}")
        raise typer.Exit


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find the moments in a video that a sentence describes, and score every clip as a highlight."""
