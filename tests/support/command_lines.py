"""Command lines of documents, parsed by the real commands and not run."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import io
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import typer
from typer.main import get_command

from tests.support.warm import ROOT
from videolights_hf.cli.main import app
from videolights_hf.cli.options import parse_backbones, parse_splits
from videolights_hf.training import load_recipe

PROGRAMS = frozenset({"bash", "cat", "cp", "curl", "docker", "git", "head", "ls", "mkdir", "mv", "pre-commit", "tail"})
PROGRAMS |= frozenset({"hf", "python3", "source", "twine", "unzip", "zip"})
"""Others that documents may use, and that are not looked into."""


def check_command(words: Sequence[str]) -> None:
    """Parse a command with the options of the program that it names.

    Raises:
        ValueError: What is wrong with it.
    """
    name, *arguments = words
    if name == "videolights":
        _parse(_package_command(), arguments)
    elif name == "python":
        _check_python(arguments)
    elif name in {"accelerate", "torchrun"}:
        _check_launcher(name, arguments)
    elif name == "pip":
        _check_pip(arguments)
    elif name == "make":
        targets = re.findall(r"(?m)^([a-z]+):.*##", (ROOT / "Makefile").read_text())
        _check_known(arguments, targets, "targets of the Makefile")
    elif name not in PROGRAMS and not name.endswith("/pre-commit"):
        raise ValueError(f"{name!r} is not a program that documents use; if it should be, add it to {__name__}")


def command_names() -> list[str]:
    """The commands of `videolights`."""
    return list(_package_command().commands)


def check_mention(words: Sequence[str]) -> None:
    """Find the command and the options that prose names, as in `videolights predict --json OUT`.

    Raises:
        ValueError: There is no such command or option.
    """
    command, number = _package_command(), 1
    while getattr(command, "commands", None) and number < len(words) and words[number] in command.commands:
        command, number = command.commands[words[number]], number + 1
    if number == 1 and len(words) > 1 and words[1].islower() and words[1].replace("-", "").isalpha():
        raise ValueError(f"there is no command {words[1]!r}")
    known = ["--help", *(name for option in command.params for name in option.opts)]
    _check_known([word.partition("=")[0] for word in words[number:] if re.match("--[a-z]", word)], known, "options")


def _check_known(found: Sequence[str], known: Sequence[str], kind: str) -> None:
    if unknown := sorted(set(found) - set(known)):
        raise ValueError(f"{', '.join(unknown)}: unknown {kind}, there are {', '.join(known)}")


def _check_pip(arguments: Sequence[str]) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = re.findall(r"(?m)^(\w+) = ", section)
    for requirement in arguments:
        if found := re.fullmatch(r"(?:\.|videolights-hf)\[(.*)\]", requirement):
            _check_known(found[1].split(","), extras, "extras")


def _check_python(arguments: Sequence[str]) -> None:
    kind, *rest = arguments
    if kind == "-c":
        check_python(rest[0])
    elif kind == "-m":
        _check_module(rest)
    else:
        _check_script(kind, rest)


def _check_module(arguments: Sequence[str]) -> None:
    name, *rest = arguments
    if name == "videolights_hf":
        _parse(_package_command(), rest)
    elif name.startswith("benchmarks"):
        _check_program(name, rest)
    elif name not in {"build", "http.server", "pip", "pytest", "venv", "zipfile"}:
        raise ValueError(f"{name!r} is not a module that documents run")


def _check_script(path: str, arguments: Sequence[str]) -> None:
    if not (ROOT / path).is_file():
        raise ValueError(f"there is no script {path}")
    _check_program(path, arguments)


def _check_program(program: str, arguments: Sequence[str]) -> None:
    command, before = _command_of(program)
    _parse(command, [*before, *arguments])


def _check_launcher(name: str, arguments: Sequence[str]) -> None:
    from accelerate.commands.launch import launch_command_parser
    from torch.distributed.run import get_args_parser

    parser: Any = get_args_parser()
    if name == "accelerate":
        if arguments[0] != "launch":
            raise ValueError(f"accelerate {arguments[0]}: documents use only accelerate launch")
        parser, arguments = launch_command_parser(), arguments[1:]
    with _exits_as_errors():
        parsed = parser.parse_args(list(arguments))
    words = [parsed.training_script, *parsed.training_script_args]
    _check_python(["-m", *words] if parsed.module else words)


@functools.cache
def _package_command() -> Any:
    return get_command(app)


@functools.cache
def _command_of(program: str) -> tuple[Any, tuple[str, ...]]:
    """The command of a script or module, and the arguments that it puts before its own."""
    found: list[tuple[Any, tuple[str, ...]]] = []

    def take_function(function: Callable[..., Any]) -> None:
        application = typer.Typer(add_completion=False)
        application.command()(function)
        found.append((get_command(application), ()))

    def take_application(application: typer.Typer, arguments: Sequence[str] = ()) -> None:
        found.append((get_command(application), tuple(arguments)))

    with (
        mock.patch.object(typer, "run", take_function),
        mock.patch.object(typer.Typer, "__call__", take_application),
        mock.patch.object(sys, "argv", [program]),
    ):
        try:
            if program.endswith(".py"):
                runpy.run_path(str(ROOT / program), run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__")
        except ImportError as error:
            raise ValueError(f"{program} does not start this way: {error}") from error
    return found[0]


def _parse(command: Any, arguments: Sequence[str]) -> None:
    """Parse arguments as the command does, and look at the values that only its function would look at."""
    values: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        for single in _single_commands(command):
            stack.enter_context(mock.patch.object(single, "callback", values.update))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        messages = stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        try:
            ended = command.main(list(arguments), standalone_mode=False)
        except (Exception, SystemExit) as error:
            known = error.format_message() if hasattr(error, "format_message") else messages.getvalue()
            raise ValueError(known or str(error)) from error
    if ended:
        raise ValueError(messages.getvalue() or f"exit code {ended}")
    _check_values(values)


def _single_commands(command: Any) -> Iterator[Any]:
    for part in getattr(command, "commands", {}).values():
        yield from _single_commands(part)
    if not getattr(command, "commands", None):
        yield command


def _check_values(values: dict[str, Any]) -> None:
    if values.get("recipe"):
        load_recipe(values["recipe"], values.get("settings") or [])
    annotations = values.get("annotations")
    if isinstance(annotations, list) and isinstance(annotations[0], str):
        parse_splits(annotations)
    if values.get("backbone"):
        parse_backbones(values["backbone"])


@contextlib.contextmanager
def _exits_as_errors() -> Iterator[None]:
    """argparse ends the process on a wrong option, after a message on standard error."""
    with contextlib.redirect_stderr(io.StringIO()) as messages:
        try:
            yield
        except SystemExit as error:
            raise ValueError(messages.getvalue()) from error


def check_python(code: str, path: str = "<document>") -> None:
    """Compile a block, and find what it imports from the package.

    Raises:
        ValueError: It does not compile, or imports what is not there.
    """
    try:
        tree = ast.parse(code, path)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                _import(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = _import(node.module)
            missing = [name.name for name in node.names if module and not hasattr(module, name.name)]
            for name in missing:
                _import(f"{node.module}.{name}")


def _import(name: str) -> Any:
    if name.partition(".")[0] != "videolights_hf":
        return None
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"there is no {name}") from error
