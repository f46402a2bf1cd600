"""What commands over finished runs share: the runs, the truth that they are scored against, and where pictures go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

# A run as the user names it: its folder or file, and several of them for the seeds of one model.
Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]RUN",
        help="Folders that `videolights train` wrote, prediction files (.jsonl), or what `videolights predict --json` wrote. "
        "NAME= names a run in the picture.",
    ),
]
Annotations = Annotated[
    Path | None,
    typer.Option("--annotations", metavar="FILE", help="The truth: an annotation file.", show_default=False),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="PATH_OR_ID", help="The truth: a feature dataset, with --split.", show_default=False
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Split that is looked at. Default: predictions of the last evaluation in training, and val of --data.",
        show_default=False,
    ),
]
ClipSeconds = Annotated[
    float | None,
    typer.Option("--clip-length", min=0.01, help="Seconds per clip. Default: the data's or the run's, else 2."),
]
Outputs = Annotated[
    list[Path],
    typer.Option(
        "--output", "-o", metavar="OUT", help="Write the picture here (.png, .pdf, .svg or .jpg). Repeat for several."
    ),
]
Width = Annotated[
    float | None,
    typer.Option(
        min=1.5,
        max=40,
        help="Width in inches: 3.5 is a column and 7.16 a page of most journals. Default: what fits the picture.",
        show_default=False,
    ),
]
Dpi = Annotated[float, typer.Option(min=20, max=1200, help="Dots per inch of PNG and JPEG.")]


@dataclass(frozen=True)
class Truth:
    """What runs are scored against: annotation rows, and seconds per clip."""

    rows: list[dict[str, Any]]
    clip_length: float

    @classmethod
    def load(
        cls,
        annotations: Path | None,
        data: str | None,
        split: str | None,
        clip_length: float | None,
        runs: Sequence[str | Path] = (),
    ) -> Truth:
        """Read the truth that the options name.

        Raises:
            typer.BadParameter: Both options or neither are given.
            OSError: The file or the dataset does not exist.
            ValueError: It cannot be read, or has no such split.
        """
        from videolights_hf.metrics import read_json_lines
        from videolights_hf.training.run_folder import read_clip_length

        if (annotations is None) == (data is None):
            raise typer.BadParameter("name the truth by one of --annotations FILE and --data DATASET.")
        found: float | None = None
        if annotations is not None:
            rows = read_json_lines(annotations)
        else:
            rows, found = _rows_of_dataset(str(data), split or "val")
        _check_rows(rows)
        if clip_length is None:
            known = (length for run in runs if (length := read_clip_length(run)) is not None)
            clip_length = found or next(known, 2.0)
        return cls(rows, clip_length)


def _check_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        missing = [name for name in ("query", "vid") if not row.get(name)]
        if not row.get("label") and not (row.get("duration") or 0) > 0:
            missing.append("duration")
        if missing:
            raise ValueError(
                f"The annotation of query {row['qid']!r} has no {', '.join(missing)}: give whole annotation rows."
            )


def _rows_of_dataset(data: str, split: str) -> tuple[list[dict[str, Any]], float]:
    from videolights_hf.common.messages import unknown_name
    from videolights_hf.data import load_feature_dataset
    from videolights_hf.data.tables import VIDEOS, annotation_columns, row_to_annotation

    tables = load_feature_dataset(data)
    if split not in tables or split == VIDEOS:
        raise ValueError(unknown_name("split", split, [name for name in tables if name != VIDEOS]))
    table = tables[split].select_columns(annotation_columns(tables[split].column_names))
    return [row_to_annotation(row) for row in table], float(table[0]["clip_length"])


def parse_runs(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Paths of runs by their names; a name that is given again adds a seed of the same model.

    Without a name, a run is called as its folder, and by as much of its path as tells it from the others.
    """
    named: dict[str, list[str]] = {}
    bare = [argument for argument in arguments if "=" not in argument or Path(argument).exists()]
    labels = _labels(bare)
    for argument in arguments:
        if argument in labels:
            name, path = labels[argument], argument
        else:
            name, _, path = argument.partition("=")
        if not (name and path):
            raise typer.BadParameter(f"{argument!r} is not RUN or NAME=RUN", param_hint="RUN")
        if not Path(path).exists():
            raise FileNotFoundError(f"There is no run {path}.")
        named.setdefault(name, []).append(path)
    return named


def _labels(paths: Sequence[str]) -> dict[str, str]:
    def parts(path: str) -> tuple[str, ...]:
        # Files in a run's folder are called alike: the folder says which.
        absolute = Path(path).absolute()
        is_generic = absolute.name.endswith("_predictions.jsonl") or absolute.name == "trainer_state.json"
        return (
            absolute.parent.parts
            if is_generic
            else (*absolute.parent.parts, absolute.stem if absolute.suffix in (".json", ".jsonl") else absolute.name)
        )

    labels = {}
    for path in paths:
        own = parts(path)
        others = [parts(other) for other in paths if other != path]
        length = next((n for n in range(1, len(own) + 1) if all(own[-n:] != other[-n:] for other in others)), len(own))
        labels[path] = "/".join(own[-length:])
    return labels


def one_path(runs: dict[str, list[str]]) -> dict[str, str]:
    """The path of each run, where a model cannot have several.

    Raises:
        typer.BadParameter: A name is given twice.
    """
    twice = [name for name, paths in runs.items() if len(paths) > 1]
    if twice:
        raise typer.BadParameter(f"{twice[0]!r} names two runs: give each its own name.", param_hint="RUN")
    return {name: paths[0] for name, paths in runs.items()}


def check_outputs(outputs: Sequence[Path]) -> None:
    """Fail before the long work: matplotlib is missing, or a file is no picture."""
    from videolights_hf.visualization.saving import check_picture_path
    from videolights_hf.visualization.style import require_matplotlib

    require_matplotlib()
    for path in outputs:
        check_picture_path(path)


def save_outputs(figure: Any, outputs: Sequence[Path], dpi: float) -> None:
    """Write a figure to every file that was asked for."""
    from videolights_hf.visualization.saving import save_figure

    for path in outputs:
        save_figure(figure, path, dpi)
        typer.echo(f"Wrote {path}")
