"""`videolights plot`: figures of models and runs, for papers and for looking at errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .runs import (
    Annotations,
    ClipSeconds,
    Data,
    Dpi,
    Outputs,
    Runs,
    Split,
    Truth,
    Width,
    check_outputs,
    one_path,
    parse_runs,
    save_outputs,
)

if TYPE_CHECKING:
    from videolights_hf.visualization.answers import QueryAnswers

app = typer.Typer(
    help="Draw figures of models and runs (needs the viz extra).",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Qids = Annotated[
    list[str] | None, typer.Option("--qid", metavar="QID", help="This query. Repeat for a page of several.")
]
Videos = Annotated[
    str | None,
    typer.Option(
        "--videos", metavar="DIR", help="Folder of the videos, named by vid, for frames.", show_default=False
    ),
]


def predictions(
    runs: Runs,
    output: Outputs,
    annotations: Annotations = None,
    data: Data = None,
    split: Split = None,
    qid: Qids = None,
    videos: Videos = None,
    num: Annotated[int, typer.Option(min=1, max=50, help="Without --qid: draw the first queries, so many.")] = 3,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="Moments of each model. Default: as many as are true.", show_default=False),
    ] = None,
    clip_length: ClipSeconds = None,
    width: Width = None,
    dpi: Dpi = 200,
) -> None:
    """Draw predictions of several models against the truth, over frames of the video (paper, Fig. 6).

    [bold]Example[/bold]

        videolights plot predictions TR-DETR=runs/tr-detr runs/videolights --data data/qvh --qid 2579 --videos videos/ -o qualitative.pdf
    """
    from videolights_hf.training.run_folder import read_run_predictions
    from videolights_hf.visualization.predictions import plot_predictions
    from videolights_hf.visualization.style import PAGE_WIDTH

    check_outputs(output)
    paths = one_path(parse_runs(runs))
    truth = Truth.load(annotations, data, split, clip_length, list(paths.values()))
    rows = _pick_rows(truth.rows, qid, num)
    answers = {name: read_run_predictions(path, truth.rows, split) for name, path in paths.items()}
    figure = plot_predictions(
        _answers(rows, answers, truth.clip_length, videos), max_moments=top_k, width=width or PAGE_WIDTH
    )
    save_outputs(figure, output, dpi)


def errors(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A training folder or a file of predictions.")],
    output: Outputs,
    annotations: Annotations = None,
    data: Data = None,
    split: Split = None,
    videos: Videos = None,
    num: Annotated[int, typer.Option(min=1, max=20, help="Queries of each kind.")] = 3,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Moments. Default: as many as are true.", show_default=False)
    ] = None,
    clip_length: ClipSeconds = None,
    width: Width = None,
    dpi: Dpi = 200,
) -> None:
    """Draw the best, the worst, and the most confident wrong queries of a run.

    Best and worst are by the IoU of the first moment, then by mAP; wrong is an IoU below 0.5. Where there are no moments,
    by the mAP of highlights.

    [bold]Example[/bold]

        videolights plot errors runs/qvh-b --annotations highlight_val_release.jsonl -o errors.png
    """
    from videolights_hf.training.run_folder import read_run_predictions
    from videolights_hf.visualization.predictions import plot_sections
    from videolights_hf.visualization.style import PAGE_WIDTH

    check_outputs(output)
    ((name, path),) = one_path(parse_runs([run])).items()
    truth = Truth.load(annotations, data, split, clip_length, [path])
    found = read_run_predictions(path, truth.rows, split)
    sections = _choose(truth, found, num)
    drawn = {
        heading: _answers([truth.rows[row] for row in rows], {name: found}, truth.clip_length, videos, notes)
        for heading, (rows, notes) in sections.items()
    }
    save_outputs(plot_sections(drawn, max_moments=top_k, width=width or PAGE_WIDTH), output, dpi)


def training(
    runs: Runs,
    output: Outputs,
    width: Width = None,
    dpi: Dpi = 200,
) -> None:
    """Draw every loss term and metric of a run, or of several, over their epochs.

    [bold]Example[/bold]

        videolights plot training runs/videolights runs/qd-detr -o curves.pdf
    """
    from videolights_hf.training.run_folder import read_log_history
    from videolights_hf.visualization.style import PAGE_WIDTH
    from videolights_hf.visualization.training import plot_training

    check_outputs(output)
    read = {name: read_log_history(path) for name, path in one_path(parse_runs(runs)).items()}
    figure = plot_training(
        {name: history for name, (history, _) in read.items()},
        best_epochs={name: epoch for name, (_, epoch) in read.items() if epoch is not None},
        width=width or PAGE_WIDTH,
    )
    save_outputs(figure, output, dpi)


def breakdown(
    runs: Runs,
    output: Outputs,
    annotations: Annotations = None,
    data: Data = None,
    split: Split = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="mAP, mAP@0.5, mAP@0.75, mIoU, R1@0.3, R1@0.5 or R1@0.7. Repeat for several. Default: mAP and R1@0.5.",
            show_default=False,
        ),
    ] = None,
    width: Width = None,
    dpi: Dpi = 200,
) -> None:
    """Draw metrics by the length of the true moment, and by where in the video it lies, with 95 % bootstrap intervals.

    [bold]Example[/bold]

        videolights plot breakdown runs/videolights runs/qd-detr --data data/qvh -o lengths.pdf
    """
    from videolights_hf.metrics import break_down
    from videolights_hf.metrics.breakdown import BREAKDOWN_METRICS
    from videolights_hf.training.run_folder import read_run_predictions
    from videolights_hf.visualization.breakdowns import plot_breakdown
    from videolights_hf.visualization.style import PAGE_WIDTH

    check_outputs(output)
    paths = one_path(parse_runs(runs))
    truth = Truth.load(annotations, data, split, None)
    models = {
        name: break_down(read_run_predictions(path, truth.rows, split), truth.rows, metric or BREAKDOWN_METRICS)
        for name, path in paths.items()
    }
    save_outputs(plot_breakdown(models, width=width or PAGE_WIDTH), output, dpi)


def _pick_rows(rows: Sequence[Mapping[str, Any]], qids: Sequence[str] | None, num: int) -> list[Mapping[str, Any]]:
    if not qids:
        return list(rows[:num])
    by_qid = {str(row["qid"]): row for row in rows}
    missing = [qid for qid in qids if qid not in by_qid]
    if missing:
        raise ValueError(f"No query has the qid {missing[0]}; the first of {len(rows)} has {rows[0]['qid']}.")
    return [by_qid[qid] for qid in qids]


def _answers(
    rows: Sequence[Mapping[str, Any]],
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    clip_length: float,
    videos: str | None,
    notes: Sequence[str] = (),
) -> list[QueryAnswers]:
    from videolights_hf.visualization.answers import QueryAnswers

    by_qid = {name: {row["qid"]: row for row in found} for name, found in predictions.items()}
    sources: Mapping[str, Any] = {}
    if videos is not None and rows:
        from videolights_hf.extraction import find_videos

        sources = find_videos(videos, [str(row["vid"]) for row in rows])
    return [
        QueryAnswers.of_row(
            row,
            {name: found.get(row["qid"], {}) for name, found in by_qid.items()},
            clip_length,
            video=sources.get(str(row["vid"])),
            note=notes[index] if notes else f"qid {row['qid']}, video {row['vid']}",
        )
        for index, row in enumerate(rows)
    ]


def _choose(
    truth: Truth, predictions: Sequence[Mapping[str, Any]], num: int
) -> dict[str, tuple[list[int], list[str]]]:
    """Row numbers and notes of the queries to show, by heading."""
    from videolights_hf.metrics import align_predictions, score_queries
    from videolights_hf.visualization.errors import CORRECT_IOU, choose_queries, first_scores

    values = score_queries(predictions, truth.rows, truth.clip_length).values
    if "MR-full-mIoU" in values:
        names = {"IoU": "MR-full-mIoU", "mAP": "MR-full-mAP"}
        confidence = first_scores(align_predictions(predictions, truth.rows).predictions)
        is_correct = values["MR-full-mIoU"] >= CORRECT_IOU
        chosen = choose_queries([values[name] for name in names.values()], confidence, is_correct, num)
    else:
        names = {"highlight mAP": next(name for name in reversed(values) if name.endswith("mAP"))}
        confidence = None
        chosen = choose_queries([values[name] for name in names.values()], count=num)
    sections = {}
    for heading, rows in chosen.items():
        notes = []
        for row in rows:
            parts = [f"{label} {values[name][row] / 100:.2f}" for label, name in names.items()]
            parts += [] if confidence is None else [f"score {confidence[row]:.2f}"]
            query = truth.rows[row]
            notes.append(f"{', '.join(parts)}; qid {query['qid']}, video {query['vid']}")
        sections[heading[:1].upper() + heading[1:]] = rows, notes
    return sections
