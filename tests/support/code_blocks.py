"""The code blocks of Markdown files, with the marks that stand before them (CONTRIBUTING.md, "Code in documents")."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass

BLOCK_COUNTS = "code blocks"
"""Name of the property of a test report that counts the blocks of a page."""

MARKS = ("network", "long", "gpu")
RUN_LANGUAGES = frozenset({"bash", "python"})
PARSED_LANGUAGES = frozenset({"yaml", "json", "toml"})
OTHER_LANGUAGES = frozenset({"text", "bibtex"})

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
_FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block, or the hidden code of a `given` comment.

    Args:
        line: Of the first line of code, counted from 1.
        mark: Why it is not run: "network", "long", "gpu", or empty for a block that is.
        given: Whether it is hidden code that the next blocks take as given.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str = ""
    reason: str = ""
    given: bool = False

    @property
    def saved_as(self) -> str:
        """The name of the file that readers save it as: the only word of a comment in its first line."""
        found = _FILE_NAME.match(self.code)
        return found[1] if found else ""

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page}:{self.line}"


def read_blocks(text: str, page: str) -> list[Block]:
    """All blocks of a page.

    Raises:
        ValueError: A fence without a known language, a mark without a reason or without a block, or one that never ends.
    """
    lines = text.splitlines()
    blocks: list[Block] = []
    mark, reason = "", ""
    number = 0
    while number < len(lines):
        line = lines[number]
        if fence := _FENCE.match(line):
            end = _end_of_fence(lines, number, fence["fence"], page)
            code = textwrap.dedent("\n".join(lines[number + 1 : end])) + "\n"
            blocks.append(_fenced(Block(page, number + 2, fence["info"].strip(), code, mark, reason)))
            mark, reason = "", ""
            number = end
        elif line.strip() and mark:
            raise ValueError(f"{page}:{number + 1}: the mark {mark!r} stands before no code block")
        elif line.lstrip().startswith("<!--"):
            end = next((last for last in range(number, len(lines)) if "-->" in lines[last]), None)
            if end is None:
                raise ValueError(f"{page}:{number + 1}: the comment does not end")
            comment = "\n".join(lines[number : end + 1]).strip().removeprefix("<!--").removesuffix("-->")
            word, _, rest = comment.strip().partition("\n")
            if word.strip() == "given":
                code = textwrap.dedent(rest) + "\n"
                blocks.append(Block(page, number + 2, "python", code, given=True))
            elif found := re.match(rf"({'|'.join(MARKS)})\b:?\s*(.*)", comment.strip(), re.DOTALL):
                mark, reason = found[1], found[2].strip()
                if not reason:
                    raise ValueError(f"{page}:{number + 1}: the mark {mark!r} gives no reason, as in '{mark}: why'")
            number = end
        number += 1
    if mark:
        raise ValueError(f"{page}: the mark {mark!r} stands before no code block")
    return blocks


def _end_of_fence(lines: list[str], start: int, fence: str, page: str) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number].strip().startswith(fence) and not lines[number].strip().strip(fence[0]):
            return number
    raise ValueError(f"{page}:{start + 1}: the code block does not end")


def _fenced(block: Block) -> Block:
    known = RUN_LANGUAGES | PARSED_LANGUAGES | OTHER_LANGUAGES
    if block.language not in known:
        raise ValueError(
            f"{block.page}:{block.line - 1}: the block's language is {block.language!r}, expected one of {sorted(known)}"
        )
    if block.mark and block.language not in RUN_LANGUAGES:
        raise ValueError(f"{block.place}: a block of {block.language} is never run and takes no mark")
    return block


def read_notebook(text: str, page: str) -> list[Block]:
    """The code cells of a notebook, whose lines are counted within their cell.

    Raises:
        ValueError: It is not of the format 4.5, or was saved with outputs.
    """
    notebook = json.loads(text)
    if (notebook["nbformat"], notebook["nbformat_minor"]) != (4, 5):
        raise ValueError(f"{page} is of another format than 4.5")
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if any(cell["outputs"] or cell["execution_count"] for cell in cells):
        raise ValueError(f"{page} was saved with outputs; clear them")
    return [Block(f"{page}#{cell['id']}", 1, "python", "".join(cell["source"]) + "\n") for cell in cells]
