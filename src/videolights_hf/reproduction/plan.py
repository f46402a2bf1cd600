"""Which runs a table needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..common.messages import unknown_name
from ..training.preparation import RunData, fit_config_to_data
from ..training.recipes import Recipe, load_recipe
from .fingerprint import fingerprint_data
from .runs import PlannedRun, seeded
from .tables import PaperRow, PaperTable

# Pretraining is evaluated on it.
_QVHIGHLIGHTS = "qvhighlights"
_PRETRAINING_SPLIT = "pretrain"
_DATA = (_QVHIGHLIGHTS, "charades_sta", "tvsum", "blip", "asr")


@dataclass(frozen=True)
class Plan:
    """The runs of a table.

    Attributes:
        table: The table.
        runs_of: For each row id, a run for each seed.
        left_out: For each row id that cannot be run, what is missing.
    """

    table: PaperTable
    runs_of: Mapping[str, Sequence[PlannedRun]]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """Every run once, seed by seed, so that an interrupted table has whole seeds; pretraining before finetuning."""
        ordered: dict[str, PlannedRun] = {}
        columns = list(self.runs_of.values())
        for number in range(max(map(len, columns), default=0)):
            for runs in columns:
                for run in (runs[number].after, runs[number]) if number < len(runs) else ():
                    if run is not None:
                        ordered.setdefault(run.key, run)
        return list(ordered.values())


def make_plan(
    table: PaperTable,
    data: Mapping[str, RunData],
    *,
    rows: Sequence[str] = (),
    seeds: Sequence[int] = (),
    settings: Sequence[str] = (),
    processes: int | None = None,
) -> Plan:
    """Find the runs that a table needs.

    Args:
        table: From `load_table`.
        data: Feature datasets by name: the table's own, and those of pretraining.
        rows: Ids of some of its rows; all by default.
        seeds: Each row is trained once with each; by default once, with its recipe's own.
        settings: `"key=value"` on top of every recipe.
        processes: How many processes train together; by default those that `accelerate launch` started.

    Raises:
        ValueError: An unknown row or setting, or none of the rows can be run.
    """
    planner = _Planner(data, tuple(settings), processes)
    runs_of: dict[str, list[PlannedRun]] = {}
    left_out: dict[str, str] = {}
    for row in table.choose(list(rows)):
        fault = planner.fault(row, table)
        if fault:
            left_out[row.id] = fault
        else:
            runs_of[row.id] = [planner.run(row, table, seed) for seed in seeds or (None,)]
    if not runs_of:
        reasons = "; ".join(dict.fromkeys(left_out.values()))
        raise ValueError(f"No row of {table.key} can be run: {reasons}")
    return Plan(table, runs_of, left_out)


class _Planner:
    """Loads recipes and fingerprints once each."""

    def __init__(self, data: Mapping[str, RunData], settings: tuple[str, ...], processes: int | None) -> None:
        self.data = data
        self.settings = settings
        self._processes = processes
        self._recipes: dict[str, Recipe] = {}
        self._fingerprints: dict[tuple[str, ...], str] = {}

    def fault(self, row: PaperRow, table: PaperTable) -> str:
        """Why a row cannot be run; empty if it can."""
        needed = ({str(row.corpus): row.after, _QVHIGHLIGHTS: None} if row.after else {}) | {table.data: row.recipe}
        missing = [name for name in needed if name not in self.data]
        if missing:
            return " ".join(f"It needs --data {name}=PATH." for name in missing)
        try:
            for name, recipe in needed.items():
                if recipe is not None:
                    fit_config_to_data(self.recipe(recipe), self.data[name].tables)
        except ValueError as error:
            return str(error)
        return ""

    def run(self, row: PaperRow, table: PaperTable, seed: int | None) -> PlannedRun:
        """The run of a row with a seed."""
        recipe = self.recipe(str(row.recipe))
        after = None
        if row.after is not None:
            corpus, evaluated = str(row.corpus), self.data[_QVHIGHLIGHTS]
            first = _on_its_split(self.recipe(row.after), self.data[corpus])
            own_seed = seeded(recipe, seed).training["seed"]
            both = (
                self.fingerprint(corpus, first.data.train_split),
                self.fingerprint(_QVHIGHLIGHTS, first.data.eval_split),
            )
            data = RunData(self.data[corpus].tables, evaluated.tables, self.data[corpus].backbone_checkpoints)
            after = PlannedRun(seeded(first, own_seed), data, both, processes=self.processes(recipe))
        prints = (self.fingerprint(table.data, recipe.data.train_split, recipe.data.eval_split),)
        return PlannedRun(seeded(recipe, seed), self.data[table.data], prints, after, self.processes(recipe))

    def processes(self, recipe: Recipe) -> int:
        """How many processes train together, connected as a recipe's training connects them (on the CPU or not)."""
        if self._processes is None:
            self._processes = recipe.training_arguments("unused").world_size
        return self._processes

    def recipe(self, name: str) -> Recipe:
        """A recipe with the settings on top."""
        if name not in self._recipes:
            self._recipes[name] = load_recipe(name, self.settings)
        return self._recipes[name]

    def fingerprint(self, name: str, *splits: str) -> str:
        """The fingerprint of splits of a dataset."""
        key = (name, *splits)
        if key not in self._fingerprints:
            self._fingerprints[key] = fingerprint_data(self.data[name].tables, *splits)
        return self._fingerprints[key]


def _on_its_split(recipe: Recipe, corpus: RunData) -> Recipe:
    """A pretraining recipe on the split of a corpus, where `videolights generate` put labeled splits beside it."""
    if _PRETRAINING_SPLIT not in corpus.tables:
        return recipe
    return replace(recipe, data=replace(recipe.data, train_split=_PRETRAINING_SPLIT))


def load_data(arguments: Sequence[str], own: str) -> dict[str, RunData]:
    """Load the datasets of `NAME=PATH_OR_ID` arguments.

    Args:
        arguments: As typed; without a name it is the table's own dataset.
        own: Name of that dataset.

    Raises:
        ValueError: A name is unknown, or given twice.
    """
    paths: dict[str, str] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        name, path = (name, path) if equals else (own, argument)
        if name not in _DATA:
            raise ValueError(f"--data {argument}: {unknown_name('data', name, _DATA)}")
        if name in paths:
            raise ValueError(f"--data {argument}: {name} is given twice.")
        paths[name] = path
    return {name: RunData.load(path) for name, path in paths.items()}
