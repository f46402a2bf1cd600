"""What the commands share: errors and warnings as lines, progress bars on terminals only."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup


def print_line(kind: str, message: object, color: str) -> None:
    """Print a message on standard error as one line, whatever line breaks it holds."""
    typer.secho(f"{kind}: {' '.join(str(message).split())}", fg=color, err=True)


@contextlib.contextmanager
def no_progress_bars_in_logs() -> Iterator[None]:
    """Keep the bars with which transformers loads and saves weights out of logs and pipes."""
    from transformers.utils import logging

    hide = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if hide:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hide:
            logging.enable_progress_bar()


class ReportingGroup(TyperGroup):
    """Commands whose expected errors end with one clear line and exit code 1.

    Expected are bad input (`ValueError`), files (`OSError`) and missing extras (`ImportError`), and whatever is
    derived from these. Warnings are printed as lines, too. `--debug` leaves everything as Python prints it.
    """

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command that was asked for."""
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        with _warnings_as_lines():
            try:
                return super().invoke(ctx)
            except (ValueError, OSError, ImportError) as error:
                print_line("Error", _describe(error), typer.colors.RED)
                raise typer.Exit(1) from error


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        # Without the error number that Python puts before them.
        return f"{error.strerror}: {error.filename}"
    return str(error)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        # The others are written for programmers.
        if issubclass(category, UserWarning):
            print_line("Warning", message, typer.colors.YELLOW)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
