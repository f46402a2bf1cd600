"""What commands and scripts share: errors and warnings as single lines, progress bars on terminals only."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
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
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "fastapi": "serve",
    "uvicorn": "serve",
    "gradio": "app",
}
"""Which extra of the package installs a module."""


_LISTED_PROBLEMS = 10
# Not subclasses of the expected errors, but about files and settings all the same.
_EXPECTED_BY_NAME = frozenset(
    {"HTTPError", "OutOfMemoryError", "SafetensorError", "StrictDataclassError", "UnpicklingError", "YAMLError"}
)
# typer ends the command by these.
_OF_TYPER = frozenset({"Abort", "ClickException", "Exit"})


def print_line(kind: str, message: object, color: str) -> None:
    """Print a message on standard error as one line, even if it has line breaks."""
    typer.secho(f"{kind}: {' '.join(str(message).split())}", fg=color, err=True)


@contextlib.contextmanager
def errors_as_lines() -> Iterator[None]:
    """End errors with one line on standard error and exit code 1, and print warnings as lines.

    An error that lists several problems takes a line for each. What the console cannot encode is replaced by `?`, so
    that it costs neither results nor messages.
    """
    _replace_what_cannot_be_encoded()
    with _warnings_as_lines():
        try:
            yield
        except KeyboardInterrupt:
            print_line("Stopped", "interrupted by the keyboard.", typer.colors.RED)
            raise SystemExit(130) from None
        except Exception as error:
            # The last one: the reader of our output has gone, as after `| head`.
            if _names(error) & _OF_TYPER or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            for line in _lines_of(error):
                print_line("Error", line, typer.colors.RED)
            raise SystemExit(1) from error


def is_expected(error: Exception) -> bool:
    """Whether an error is about what the user gave: input, files, missing extras, or memory."""
    return isinstance(error, (ValueError, OSError, ImportError, MemoryError)) or bool(
        _names(error) & _EXPECTED_BY_NAME
    )


def _names(error: Exception) -> set[str]:
    return {parent.__name__ for parent in type(error).__mro__}


def _lines_of(error: Exception) -> list[str]:
    problems = [_describe_problem(problem) for problem in getattr(error, "problems", ())]
    if not problems:
        return [describe(error)]
    more = len(problems) - _LISTED_PROBLEMS
    return problems[:_LISTED_PROBLEMS] + [f"... and {more} more"] * (more > 0)


def _describe_problem(problem: Any) -> str:
    path, message = getattr(problem, "path", None), getattr(problem, "message", None)
    return str(problem) if message is None else f"{path}: {message}"


def describe(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition(".")[0]
        if module in EXTRA_OF_MODULE:
            return f'This needs {module}: pip install "videolights-hf[{EXTRA_OF_MODULE[module]}]"'
    if isinstance(error, OSError) and error.strerror and error.filename:
        # Without Python's error number.
        return f"{error.strerror}: {error.filename}"
    if isinstance(error, MemoryError) or "OutOfMemoryError" in _names(error):
        return f"Out of memory. Use smaller files or batches. {error}".strip()
    if "HTTPError" in _names(error) and not isinstance(error, OSError):
        return f"The connection failed ({error}). Check it, and repeat the command."
    if not is_expected(error):
        return (
            f"{type(error).__name__}: {error}. A file is damaged, or this is a fault of the program: "
            "`videolights --debug ...` shows where."
        )
    return str(error) or type(error).__name__


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' warnings, which address programmers, and keep its progress bars out of logs and pipes."""
    from transformers.utils import logging

    from videolights_hf.common.loading import no_bars_in_logs

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with no_bars_in_logs():
            yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def no_dataset_bars_in_logs() -> Iterator[None]:
    """Keep the bars with which `datasets` saves tables out of logs and pipes."""
    import datasets

    hide = not datasets.are_progress_bars_disabled() and not sys.stderr.isatty()
    if hide:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            datasets.enable_progress_bars()


class ReportingGroup(TyperGroup):
    """Commands that end errors with one line. With `--debug`, Python prints the traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        with errors_as_lines():
            return super().invoke(ctx)


class _LineHandler(logging.Handler):
    """Prints each line of a warning that the package logs."""

    def emit(self, record: logging.LogRecord) -> None:
        for line in record.getMessage().splitlines():
            if line.strip():
                print_line("Warning", line, typer.colors.YELLOW)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        # Other categories address programmers.
        if issubclass(category, UserWarning):
            print_line("Warning", message, typer.colors.YELLOW)

    logger, handler = logging.getLogger("videolights_hf"), _LineHandler(logging.WARNING)
    logger.addHandler(handler)
    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            yield
        finally:
            logger.removeHandler(handler)


def _replace_what_cannot_be_encoded() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
