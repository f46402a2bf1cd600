"""Bash blocks of documents: run with `videolights` and `python` in the warm process, or taken apart into their commands."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.warm import WarmPython

# Variables and functions of a block are there in the page's next one.
_BEFORE = 'source "$STATE" 2> /dev/null; set -eu -o pipefail\n'
_AFTER = '\n{ declare -p; declare -f; } > "$STATE"\n'

_CLIENT = """\
import json, os, socket, stat, sys
piped = stat.S_ISFIFO(os.fstat(0).st_mode) or stat.S_ISREG(os.fstat(0).st_mode)
command = {"arguments": ARGUMENTS + sys.argv[1:], "cwd": os.getcwd(), "stdin": sys.stdin.read() if piped else ""}
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(ADDRESS)
    with connection.makefile("rw") as stream:
        print(json.dumps(command), file=stream, flush=True)
        done = json.loads(stream.readline())
sys.stdout.write(done["stdout"])
sys.stderr.write(done["stderr"])
sys.exit(done["status"])
"""


class Shell:
    """Runs bash blocks one after the other.

    Args:
        folder: For the programs `videolights` and `python`, and for the variables between two blocks.

    Attributes:
        checks: A folder for `commands_of`, to take apart the blocks of the same page.
    """

    def __init__(self, folder: Path, python: WarmPython):
        self._python = python
        self.checks = folder / "checks"
        self.checks.mkdir(parents=True)
        self._state = folder / "state"
        self._programs = folder / "bin"
        self._programs.mkdir(parents=True)
        self._sockets = tempfile.TemporaryDirectory()  # short: a socket's path has at most 107 characters
        address = f"{self._sockets.name}/socket"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(address)
        self._server.listen()
        for name, arguments in (("videolights", ["-m", "videolights_hf"]), ("python", [])):
            program = self._programs / name
            client = _CLIENT.replace("ARGUMENTS", repr(arguments)).replace("ADDRESS", repr(address))
            program.write_text(f"#!{sys.executable} -IS\n{client}")
            program.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            with connection, connection.makefile("rw") as stream:
                command = json.loads(stream.readline())
                done = self._python.run(
                    *command["arguments"], cwd=Path(command["cwd"]), stdin=command["stdin"].encode()
                )
                answer = {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
                print(json.dumps(answer), file=stream, flush=True)

    def run(self, code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a block."""
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        return _bash(_BEFORE + code + _AFTER, cwd, {**os.environ, "PATH": path, "STATE": str(self._state)})

    def close(self) -> None:
        """End the service of the two programs."""
        self._server.close()
        self._sockets.cleanup()


@contextmanager
def shell_of(folder: Path, python: WarmPython) -> Iterator[Shell]:
    """A `Shell` that is closed at the end."""
    shell = Shell(folder, python)
    try:
        yield shell
    finally:
        shell.close()


_RECORD = r"""
source "$STATE" 2> /dev/null
command_not_found_handle() { printf '%s\0' "$#" "$@" >> "$RECORD"; echo value; }
cd() { :; }
"""


def commands_of(code: str, cwd: Path) -> list[list[str]]:
    """The commands of a block as bash sees them, without running any: bash finds no program, and says which it missed.

    Variables and functions of the page's earlier blocks are known. What a command prints is the word `value`.

    Raises:
        ValueError: The block is not bash.
    """
    state, record = cwd / "state", cwd / "record"
    record.write_text("")
    environment = {"PATH": "/nowhere", "STATE": str(state), "RECORD": str(record), "HOME": str(cwd)}
    syntax = subprocess.run([_program(), "-n"], input=code, capture_output=True, text=True)
    if syntax.returncode:
        raise ValueError(syntax.stderr)
    _bash(_RECORD + code + _AFTER, cwd, environment)
    words = iter(record.read_text().split("\0")[:-1])
    return [[next(words) for _ in range(int(count))] for count in words]


def _bash(code: str, cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_program(), "-c", code],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _program() -> str:
    program = shutil.which("bash")
    assert program is not None
    return program
