"""The `videolights` command. Heavy imports wait inside the commands, so that help is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from .convert import convert
from .convert_slowfast import convert_slowfast
from .evaluate import evaluate
from .extract import extract
from .predict import predict
from .terminal import ReportingGroup

app = typer.Typer(
    name="videolights",
    cls=ReportingGroup,
    help="Find the moments in a video that a sentence describes, and score every clip's highlight.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(predict)
app.command()(convert)
app.command()(convert_slowfast)
app.command()(evaluate)
app.command()(extract)


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
    """Find the moments in a video that a sentence describes, and score every clip's highlight."""
