"""The paper's tables: its numbers, and the recipe behind each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ..common.messages import unknown_name


@dataclass(frozen=True)
class PaperRow:
    """A row of a table.

    Attributes:
        id: Its name on the command line.
        name: What the paper calls it.
        recipe: The recipe that trains it; `None` for a row that is quoted only.
        after: The pretraining recipe whose checkpoint it starts from.
        corpus: Name of the data that `after` is trained on, `"blip"` or `"asr"`.
        against: Id of the row from which the difference is taken, seed by seed.
        paper: The printed values, one per column, `None` where there is none; `None` for a row of ours alone.
    """

    id: str
    name: str
    recipe: str | None = None
    after: str | None = None
    corpus: str | None = None
    against: str | None = None
    paper: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        key: Its name on the command line, such as `"vii"`.
        title: Number and subject.
        data: Name of the dataset that its rows are trained and scored on.
        split: The split that is reported.
        columns: Column names with the metric in each. One of a domain begins with the domain, `"VT/HL-mAP"`, and
            the mean of domains with `"mean/"`.
        blocks: Title and rows of each block.
        notes: What a reader must know to compare.
    """

    key: str
    title: str
    data: str
    split: str
    columns: Mapping[str, str]
    blocks: tuple[tuple[str, tuple[PaperRow, ...]], ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> Iterator[PaperRow]:
        """All rows, block by block."""
        return (row for _, rows in self.blocks for row in rows)

    @property
    def trained_rows(self) -> list[PaperRow]:
        """The rows that have a recipe."""
        return [row for row in self.rows if row.recipe is not None]

    def choose(self, ids: list[str]) -> list[PaperRow]:
        """Rows with a recipe, by id; all of them for no ids.

        Raises:
            ValueError: There is no such row.
        """
        known = {row.id: row for row in self.trained_rows}
        for name in ids:
            if name not in known:
                raise ValueError(unknown_name(f"row of {self.key}", name, known))
        return [row for name, row in known.items() if not ids or name in ids]


def list_tables() -> list[str]:
    """Names of the tables, in the paper's order."""
    return list(_read())


def load_table(name: str) -> PaperTable:
    """A table by its name; capitals do not matter.

    Raises:
        ValueError: There is no such table.
    """
    tables = _read()
    if name.lower() not in tables:
        raise ValueError(unknown_name("table", name, tables))
    return tables[name.lower()]


@cache
def _read() -> dict[str, PaperTable]:
    content: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("tables.yaml").read_text(encoding="utf-8"))
    return {key: _table(key, entry) for key, entry in content.items() if not key.startswith("_")}


def _table(key: str, entry: Mapping[str, Any]) -> PaperTable:
    blocks = tuple((block["title"], tuple(_row(row) for row in block["rows"])) for block in entry["blocks"])
    return PaperTable(**{**entry, "key": key, "blocks": blocks, "notes": tuple(entry.get("notes", ()))})


def _row(entry: Mapping[str, Any]) -> PaperRow:
    paper = entry.get("paper")
    return PaperRow(**{**entry, "paper": None if paper is None else tuple(paper)})
