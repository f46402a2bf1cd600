"""Commands in processes of their own, without importing the libraries again for each.

A process that has imported them forks for every command, with that command's arguments, folder, input and output.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class WarmPython:
    """Python that has imported the libraries already.

    Args:
        environment: Of all commands.
    """

    def __init__(self, environment: Mapping[str, str]):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**environment, "OMP_NUM_THREADS": "1"},
        )

    def run(self, *arguments: Any, cwd: Path = ROOT, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run `python ARGUMENTS`, where they begin with `-c CODE`, `-m MODULE` or a script."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            request = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "output": folder}
            Path(folder, "stdin").write_bytes(stdin)
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            output, errors = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess([sys.executable, *map(str, arguments)], status, output, errors)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


@contextmanager
def warm_python(environment: Mapping[str, str]) -> Iterator[WarmPython]:
    """A `WarmPython` that is closed at the end."""
    python = WarmPython(environment)
    try:
        yield python
    finally:
        python.close()


def _serve() -> None:
    import datasets  # noqa: F401
    import transformers.integrations  # noqa: F401

    import videolights_hf.cli.main
    import videolights_hf.inference.pipeline
    import videolights_hf.training.trainer  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _run(request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: Mapping[str, Any]) -> None:
    """Run a command in this process, and end it."""
    os.dup2(os.open(Path(request["output"], "stdin"), os.O_RDONLY), 0)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        os.dup2(os.open(Path(request["output"], name), os.O_WRONLY | os.O_CREAT), number)
    os.chdir(request["cwd"])
    status = 0
    try:
        _execute(request["arguments"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _execute(arguments: list[str]) -> None:
    kind, *rest = arguments
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    _serve()
