"""Every code block of README and docs is run, or marked with the reason why not and parsed (CONTRIBUTING.md)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.code_blocks import BLOCK_COUNTS, Block, read_blocks, read_notebook
from tests.support.command_lines import check_command, check_mention, check_python, command_names
from tests.support.shell_blocks import Shell, commands_of, shell_of
from tests.support.warm import ROOT
from videolights_hf.training import load_recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

PAGES = [
    *("README.md", "CONTRIBUTING.md", "MODEL_CARD.md", "metrics/README.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("*.ipynb")),
]
SLOW = {"docs/faq.md", "docs/figures.md", "docs/own-data.md", "examples/moment_search.ipynb"}
RECIPE_KEYS = {"extends", "data", "model", "training"}


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in PAGES])
def test_code_blocks(page, folder, tmp_path, python, given, record_property):
    read = read_notebook if page.endswith(".ipynb") else read_blocks
    blocks = read((ROOT / page).read_text(encoding="utf-8"), page)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    counts: Counter[str] = Counter()
    problems = []
    with shell_of(tmp_path / "shell", python) as shell:
        for block in blocks:
            # A notebook runs anywhere, on what the package holds.
            if not block.mark and not page.endswith(".ipynb"):
                given.copy_named(block.code, folder)
            try:
                counts[_prove(block, folder, namespace, shell)] += not block.given
            except Exception as error:
                problems.append(f"{block.place}: {type(error).__name__}: {error}")
    record_property(BLOCK_COUNTS, dict(counts))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def _prove(block: Block, folder: Path, namespace: dict[str, Any], shell: Shell) -> str:
    """Do with a block what can be done, and say what that was."""
    if block.saved_as:
        path = folder / block.saved_as
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, encoding="utf-8")
        if block.language == "python":
            check_python(block.code, block.page)
    if block.language in PARSERS:
        PARSERS[block.language](block)
        return "parsed (yaml, json, toml)"
    if block.saved_as:
        return "saved as a file and compiled"
    if block.language == "python":
        check_python(block.code, block.page)
    elif block.language == "bash":
        for words in commands_of(block.code, shell.checks):
            check_command(words)
    else:
        return "of text"
    if block.mark:
        return f"marked {block.mark}"
    if block.language == "python":
        # Line numbers of tracebacks are those of the page.
        code = compile("\n" * (block.line - 1) + block.code, block.page, "exec")
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, namespace)
    else:
        done = shell.run(block.code, folder)
        if done.returncode:
            raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return "run"


def _parse_yaml(block: Block) -> None:
    content = yaml.safe_load(block.code)
    if isinstance(content, dict) and content.keys() & RECIPE_KEYS and block.saved_as:
        load_recipe(block.saved_as)


def _parse_json(block: Block) -> None:
    json.loads(block.code)


def _parse_toml(block: Block) -> None:
    if tomllib is not None:
        tomllib.loads(block.code)


PARSERS = {"yaml": _parse_yaml, "json": _parse_json, "toml": _parse_toml}


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("```\nvideolights\n```\n", "language is ''"),
        ("```shell\nvideolights\n```\n", "language is 'shell'"),
        ("```bash\nvideolights\n", "does not end"),
        ("<!-- long -->\n```bash\nvideolights\n```\n", "gives no reason"),
        ("<!-- long: hours -->\nAnd so\n```bash\nvideolights\n```\n", "stands before no code block"),
        ("<!-- long: hours -->\n", "stands before no code block"),
        ("<!-- long: hours -->\n```text\nvideolights\n```\n", "takes no mark"),
    ],
)
def test_what_a_page_must_not_have(page, message):
    with pytest.raises(ValueError, match=message):
        read_blocks(page, "page.md")


def test_marks_given_code_and_indented_blocks():
    page = """
- item
    <!-- network: downloads -->
    ```bash
    videolights \\
        predict
    ```

<!-- given
x = 1
-->
<!-- any comment -->
```python
print(x)
```
"""
    marked, hidden, run = read_blocks(page, "page.md")
    assert (marked.mark, marked.reason, marked.code) == ("network", "downloads", "videolights \\\n    predict\n")
    assert (hidden.given, hidden.code, hidden.line) == (True, "x = 1\n", 10)
    assert (run.mark, run.code, run.place) == ("", "print(x)\n", "page.md:14")


def test_a_notebook_is_stored_without_outputs():
    notebook = json.loads((ROOT / "examples" / "moment_search.ipynb").read_text(encoding="utf-8"))
    assert len(read_notebook(json.dumps(notebook), "a.ipynb")) >= 6
    next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["execution_count"] = 1
    with pytest.raises(ValueError, match="saved with outputs"):
        read_notebook(json.dumps(notebook), "a.ipynb")


def test_commands_are_seen_as_bash_sees_them(tmp_path):
    code = """
A="x y"; for split in val test; do
    videolights evaluate "$A" --split $split > $(pwd).txt   # not this
done
(cd nowhere && zip a.zip b) | cat
"""
    assert commands_of(code, tmp_path)[:2] == [
        ["videolights", "evaluate", "x y", "--split", "val"],
        ["videolights", "evaluate", "x y", "--split", "test"],
    ]
    assert ["zip", "a.zip", "b"] in commands_of(code, tmp_path)
    assert commands_of('echo "$A"; B=$(run x); videolights "$A" $B', tmp_path)[-1] == ["videolights", "x y", "value"]
    with pytest.raises(ValueError, match="syntax error"):
        commands_of("for", tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("videolights predict video.mp4 text --model-id demo", "--model-id"),
        ("videolights train --data data/mine --output runs/mine", "--recipe"),
        ("videolights train --recipe qvhighlights/none --data d --output o", "qvhighlights/none"),
        ("videolights train --recipe qvhighlights/clip --data d --output o --set hidden_sizes=2", "hidden_sizes"),
        ("videolights predict video.mp4 text --top-k many", "--top-k"),
        ("videolights foresee", "foresee"),
        ("python examples/demo.py --vidio x", "--vidio"),
        ("python examples/none.py", "no script"),
        ("python -m none", "'none'"),
        ("python -m benchmarks.speed --nothing", "--nothing"),
        ("python -m benchmarks.fuzz --nothing", "--nothing"),
        ("python -m benchmarks.learning_curve trane", "trane"),
        ("accelerate launch --multi_cpu examples/train.py", "--multi_cpu"),
        ("accelerate launch -m videolights_hf train --recipee x", "--recipee"),
        ("torchrun --nproc_per_node 2 examples/train.py --none", "--none"),
        ("make cake", "cake"),
        ('pip install ".[cake]"', "cake"),
        ("vidolights predict", "not a program"),
    ],
)
def test_commands_that_no_program_takes(line, message, tmp_path, folder):
    (words,) = commands_of(line, tmp_path)
    with pytest.raises(ValueError, match=message):
        check_command(words)


@pytest.mark.parametrize("page", [page for page in PAGES if page.endswith(".md")])
def test_commands_named_in_prose(page):
    prose = re.sub(r"(?ms)^( *)(`{3,}).*?^ *\2\s*?$", "", (ROOT / page).read_text(encoding="utf-8"))
    for code in re.findall(r"`(videolights [^`]+)`", prose):
        try:
            check_mention(code.split())
        except ValueError as error:
            pytest.fail(f"{page}: `{code}`: {error}", pytrace=False)


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in command_names() if f"`videolights {name}" not in text] == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("videolights foresee", "foresee"),
        ("videolights predict --jason OUT", "--jason"),
        ("videolights plot errors --number 2", "--number"),
    ],
)
def test_commands_that_prose_must_not_name(code, message):
    check_mention(["videolights", "COMMAND", "--help"])
    check_mention(["videolights", "plot", "errors", "RUN", "--num", "2"])
    with pytest.raises(ValueError, match=message):
        check_mention(code.split())


def test_python_that_cannot_be_run():
    with pytest.raises(ValueError, match=r"videolights_hf\.nothing"):
        check_python("from videolights_hf import nothing")
    with pytest.raises(ValueError, match="line 2"):
        check_python("x = 1\nx =")


def test_a_failing_command_fails_its_block(tmp_path, folder, python):
    with shell_of(tmp_path / "shell", python) as shell:
        assert shell.run("X=1\nvideolights --version | cat\n", folder).returncode == 0
        assert shell.run("echo $X\n", folder).stdout == "1\n"
        assert shell.run("videolights predict nowhere.mp4 text --model demo\n", folder).returncode == 1
        done = shell.run("echo hello | python -c 'import sys; print(sys.stdin.read() * 2)'\n", folder)
        assert done.stdout.split() == ["hello", "hello"]
    assert not os.listdir(folder / "docs" / "images")
