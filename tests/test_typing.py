"""What a type checker sees of the package: the doors of a user's program have types, and none is `Any`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "tests" / "support" / "typed_client.py"


@pytest.mark.slow
def test_a_typed_program_sees_the_types_of_all_doors():
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(CLIENT)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        check=False,
    )
    assert " error: " not in checked.stdout, checked.stdout
    revealed = dict(re.findall(r':(\d+): note: Revealed type is "(.*)"', checked.stdout))
    expected = {
        str(number): line.partition("  # ")[2]
        for number, line in enumerate(CLIENT.read_text().splitlines(), start=1)
        if line.startswith("reveal_type(")
    }
    assert {line: short_type(found) for line, found in revealed.items()} == expected
    assert len(expected) > 15


def short_type(text: str) -> str:
    """A revealed type as people write it: without modules, the fields of dictionaries, and what numpy leaves open."""
    text = re.sub(r"numpy\.ndarray\[tuple\[Any, \.\.\.\], numpy\.dtype\[Any\]\]", "ndarray", text)
    text = re.sub(r"tuple\[[^\]]*\], fallback=([\w.]+)\]", r"\1", text)
    while "TypedDict(" in text:
        text = re.sub(r"TypedDict\(([\w.]+), \{[^{}]*\}\)", r"\1", text)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


@pytest.mark.parametrize(
    ("revealed", "short"),
    [
        ("Any", "Any"),
        ("list[TypedDict(a.b.Result, {'m': list[TypedDict(a.M, {'s': float})], 'q': str})]", "list[Result]"),
        ("tuple[int, float, dict[str, float], fallback=transformers.trainer_utils.TrainOutput]", "TrainOutput"),
    ],
)
def test_revealed_types_are_read_in_short(revealed, short):
    assert short_type(revealed) == short
