"""What commands and scripts share: errors and warnings as single lines, progress bars on terminals only."""

from __future__ import annotations

import contextlib
import errno
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

EXTRA_OF_MODULE = {
    "accelerate": "train",
    "datasets": "train",
    "evaluate": "train",
    "pyarrow": "train",
    "tensorboard": "train",
    "yaml": "train",
    "av": "video",
    "PIL": "video",
    "matplotlib": "viz",
    "gradio": "app",
}
"""Which extra of the package installs a module."""


def print_line(kind: str, message: object, color: str) -> None:
    """Print a message on standard error as one line, even if it has line breaks."""
    typer.secho(f"{kind}: {' '.join(str(message).split())}", fg=color, err=True)


@contextlib.contextmanager
def errors_as_lines() -> Iterator[None]:
    """End expected errors with one line on standard error and exit code 1, and print warnings as lines.

    Expected are bad input (`ValueError`), files (`OSError`), missing extras (`ImportError`), and their subclasses.
    """
    with _warnings_as_lines():
        try:
            yield
        except (ValueError, OSError, ImportError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # The reader of our output has gone, as after `| head`.
            print_line("Error", describe(error), typer.colors.RED)
            raise SystemExit(1) from error


def describe(error: Exception) -> str:
    """The message of an expected error."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition(".")[0]
        if module in EXTRA_OF_MODULE:
            return f'This needs {module}: pip install "videolights-hf[{EXTRA_OF_MODULE[module]}]"'
    if isinstance(error, OSError) and error.strerror and error.filename:
        # Without Python's error number.
        return f"{error.strerror}: {error.filename}"
    return str(error) or type(error).__name__


@contextlib.contextmanager
def no_progress_bars_in_logs() -> Iterator[None]:
    """Keep transformers' bars for loading and saving weights out of logs and pipes."""
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
    """Commands that end expected errors with one line. With `--debug`, Python prints the traceback."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the chosen command."""
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        with errors_as_lines():
            return super().invoke(ctx)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        # Other categories address programmers.
        if issubclass(category, UserWarning):
            print_line("Warning", message, typer.colors.YELLOW)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
