"""From annotation files and feature folders to a feature dataset on disk."""

from __future__ import annotations

import collections
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, load_from_disk
from tqdm.auto import tqdm

from .annotations import expected_num_clips, read_annotations
from .parts import FeatureReader, Part, Problem, chunks, digest, write_parts
from .specs import DatasetSpec, get_dataset_spec
from .tables import (
    AUDIO,
    TEXT_PREFIX,
    VIDEO_PREFIX,
    VIDEOS,
    annotation_to_row,
    query_schema,
    video_schema,
)

logger = logging.getLogger(__name__)

REPORT_FILE = "build_report.json"
_VIDEOS_PER_PART = 64
_QUERIES_PER_PART = 512
_LISTED_PROBLEMS = 20


class FeatureBuildError(ValueError):
    """Feature files are missing or cannot be used, and `strict` was asked for.

    Attributes:
        problems: All of them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(f"{_counted(self.problems)}:\n{_listed(self.problems)}")


def build_feature_dataset(
    output_dir: str | os.PathLike,
    annotations: Mapping[str, str | os.PathLike],
    video_folders: Mapping[str, str | os.PathLike],
    text_folders: Mapping[str, str | os.PathLike],
    dataset: str | DatasetSpec | Mapping[str, str | DatasetSpec] = "qvhighlights",
    audio_folder: str | os.PathLike | None = None,
    strict: bool = False,
    num_proc: int = 1,
    length_tolerance: int = 2,
    overwrite: bool = False,
    progress: bool = True,
) -> DatasetDict:
    """Gathers annotations and features in one memory-mapped dataset on disk.

    A feature file that is missing, truncated, pickled, or of another width or length than it should be is named and
    counted (in the log and in `build_report.json`); the video, or the query, is left out.

    Args:
        output_dir: Where to write. Work in progress is kept in `{output_dir}.incomplete`; calling again after an
            interruption continues it. If `output_dir` was built from the same annotations, folders and settings
            before, it is loaded.
        annotations: Split name to JSON Lines file.
        video_folders: Backbone name to folder of its video features, in channel order.
        text_folders: Text encoder name to folder of its token features, in channel order.
        dataset: A key of `DATASETS`, or a spec; or for each split one of its own, such as a `pretraining` split beside
            those of QVHighlights. Clip lengths must agree.
        audio_folder: Folder of optional audio features.
        strict: Raise instead of leaving videos or queries out.
        num_proc: Processes that read in parallel.
        length_tolerance: By how many clips the features of a video may be shorter or longer than its annotation
            implies. They are cut to the shortest backbone when they are used.
        overwrite: Build again where `output_dir` already holds a feature dataset, and replace it.
        progress: Show a progress bar.

    Returns:
        The table `"videos"` (`vid`, `num_clips`, `video_{backbone}`), and a table per split (`qid`, `query`, `vid`,
        `duration` in seconds, windows, saliency and the other annotation fields, `num_clips`, `text_{encoder}`).

    Raises:
        AnnotationError: See `read_annotations`.
        FeatureBuildError: If `strict` and there is any problem; it has all of them.
        FileExistsError: If `output_dir` holds something else, or a dataset that was built from other sources.
        ValueError: For an empty or unusable argument, or a split of which nothing is left.
    """
    if not video_folders or AUDIO in video_folders:
        raise ValueError(f"At least one video backbone is needed, and {AUDIO!r} is not a name for one.")
    video_sources = dict(video_folders) | ({AUDIO: audio_folder} if audio_folder is not None else {})
    _check_arguments(annotations, video_sources, text_folders, num_proc)
    specs = _specs_of(dataset, annotations)
    spec = _common_spec(specs)
    output = Path(output_dir)
    splits = {split: read_annotations(path, specs[split]) for split, path in annotations.items()}
    settings = _settings(specs, splits, video_sources, text_folders, length_tolerance)
    if output.exists() and _is_built(output, settings, strict, overwrite):
        return load_from_disk(os.fspath(output))
    work = output.with_name(output.name + ".incomplete")
    work.mkdir(parents=True, exist_ok=True)

    expected = {row["vid"]: row for members in splits.values() for row in members}
    total = len(expected) + sum(map(len, splits.values()))
    with tqdm(total=total, desc="Reading features", unit=" ids", disable=not progress) as bar:

        def write(parts: list[Part], schema: Features) -> tuple[Dataset, list[Problem]]:
            return write_parts(parts, work, schema, num_proc, bar)

        parts, schema = _video_parts(expected, video_sources, spec, length_tolerance)
        videos, problems = write(parts, schema)
        num_clips = dict(zip(videos["vid"], videos["num_clips"], strict=True))
        tables = {}
        for split, (parts, schema) in _query_parts(splits, text_folders, specs, num_clips).items():
            tables[split], text_problems = write(parts, schema)
            problems += text_problems
        bar.update(bar.total - bar.n)  # the queries whose video is left out

    report = _report(settings, splits, tables, len(expected), len(videos), problems)
    if problems and strict:
        raise FeatureBuildError(problems)
    if problems:
        logger.warning(
            "%s; %d videos and %d queries are left out:\n%s",
            _counted(problems),
            len(expected) - len(videos),
            sum(len(split["left_out"]) for split in report["queries"].values()),
            _listed(problems),
        )
    for split, table in tables.items():
        if len(table) == 0:
            raise ValueError(
                f"Split {split!r} is empty: none of its {len(splits[split])} queries has all its features. "
                f"{_counted(problems)}:\n{_listed(problems)}"
            )
    return _finish(output, work, DatasetDict({VIDEOS: videos, **tables}), report)


def _check_arguments(splits: Mapping, video_sources: Mapping, text_folders: Mapping, num_proc: int) -> None:
    for what, names, allowed in (
        ("split", splits, r"\w+"),
        ("video backbone", video_sources, r"[\w-]+"),
        ("text encoder", text_folders, r"[\w-]+"),
    ):
        if not names:
            raise ValueError(f"At least one {what} is needed.")
        for name in names:
            if not re.fullmatch(allowed, name, re.ASCII) or (what == "split" and name == VIDEOS):
                raise ValueError(f"{name!r} cannot be the name of a {what}.")
    for folder in [*video_sources.values(), *text_folders.values()]:
        if not Path(folder).is_dir():
            raise ValueError(f"The feature folder {folder} does not exist.")
    if num_proc < 1:
        raise ValueError(f"num_proc must be at least 1, got {num_proc}.")


def _specs_of(
    dataset: str | DatasetSpec | Mapping[str, str | DatasetSpec], splits: Mapping[str, Any]
) -> dict[str, DatasetSpec]:
    """The spec of each split."""
    if not isinstance(dataset, Mapping):
        return dict.fromkeys(splits, get_dataset_spec(dataset))
    missing = [split for split in splits if split not in dataset]
    if missing:
        raise ValueError(f"No dataset is named for the splits {', '.join(missing)}.")
    specs = {split: get_dataset_spec(dataset[split]) for split in splits}
    lengths = {split: spec.clip_length for split, spec in specs.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{split} {length:g} s" for split, length in lengths.items())
        raise ValueError(f"The splits share the videos' features, but have clips of different lengths: {listed}.")
    return specs


def _common_spec(specs: Mapping[str, DatasetSpec]) -> DatasetSpec:
    """The spec of the first split, with the file patterns and keys of all."""
    first = next(iter(specs.values()))
    fields = ("video_patterns", "text_patterns", "text_keys")
    together = {
        field: tuple(dict.fromkeys(value for spec in specs.values() for value in getattr(spec, field)))
        for field in fields
    }
    return replace(first, **together)


def _settings(
    specs: Mapping[str, DatasetSpec],
    splits: Mapping,
    video_sources: Mapping,
    text_folders: Mapping,
    tolerance: int,
) -> dict[str, Any]:
    """What a dataset on disk was built from, to be compared with what is asked for."""
    different = len(set(specs.values())) > 1
    settings = {
        "dataset": {split: asdict(spec) for split, spec in specs.items()}
        if different
        else asdict(next(iter(specs.values()))),
        "annotations": {split: digest(rows) for split, rows in splits.items()},
        "video_folders": [[name, os.path.abspath(folder)] for name, folder in video_sources.items()],
        "text_folders": [[name, os.path.abspath(folder)] for name, folder in text_folders.items()],
        "length_tolerance": tolerance,
    }
    return json.loads(json.dumps(settings))


def _is_built(output: Path, settings: dict[str, Any], strict: bool, overwrite: bool) -> bool:
    """Whether `output` needs no building; raises if it must not be written either."""
    path = output / REPORT_FILE
    if not path.is_file():
        if any(output.iterdir()):
            raise FileExistsError(f"{output} is not empty, and no feature dataset; choose another folder.")
        return False
    if overwrite:
        return False
    report = json.loads(path.read_text())
    if report["settings"] != settings:
        raise FileExistsError(f"{output} was built from other sources; choose another folder or overwrite it.")
    logger.info("%s is already built from these sources.", output)
    problems = [Problem(**problem) for problem in report["problems"]]
    if problems and strict:
        raise FeatureBuildError(problems)
    if problems:
        logger.warning("%s when it was built; overwrite it to try again:\n%s", _counted(problems), _listed(problems))
    return True


def _video_parts(
    rows: Mapping[str, dict[str, Any]], folders: Mapping, spec: DatasetSpec, length_tolerance: int
) -> tuple[list[Part], Features]:
    reader = FeatureReader.from_folders(folders, list(rows), spec.video_patterns, ("features",), VIDEO_PREFIX)
    schema = video_schema(list(folders))
    members = [{"vid": vid, "expected": expected_num_clips(row, spec.clip_length)} for vid, row in rows.items()]
    return [
        Part(f"videos-{index:05d}", "vid", part, reader, schema, length_tolerance)
        for index, part in enumerate(chunks(members, _VIDEOS_PER_PART))
    ], schema


def _query_parts(
    splits: Mapping[str, list[dict[str, Any]]],
    folders: Mapping,
    specs: Mapping[str, DatasetSpec],
    num_clips: Mapping[str, int],
) -> dict[str, tuple[list[Part], Features]]:
    """The parts of every split; a query whose video is left out is in none."""
    common = _common_spec(specs)
    qids = [row["qid"] for rows in splits.values() for row in rows]
    patterns = tuple((pattern,) for pattern in common.text_patterns)
    reader = FeatureReader.from_folders(folders, qids, patterns, common.text_keys, TEXT_PREFIX)
    found = {}
    for split, rows in splits.items():
        spec = specs[split]
        # By split: numbers stay numbers in a submission file, whatever the qids of a split beside it are.
        integer_qids = all(isinstance(row["qid"], int) and abs(row["qid"]) < 2**63 for row in rows)
        schema = query_schema(list(folders), integer_qids)
        kept = []
        for row in rows:
            if row["vid"] in num_clips:
                constants = {"clip_length": spec.clip_length, "label_rule": spec.rule_for(row)}
                qid = row["qid"] if integer_qids else str(row["qid"])
                kept.append(annotation_to_row(row) | constants | {"qid": qid, "num_clips": num_clips[row["vid"]]})
        parts = [
            Part(f"{split}-{index:05d}", "qid", part, reader, schema)
            for index, part in enumerate(chunks(kept, _QUERIES_PER_PART))
        ]
        found[split] = parts, schema
    return found


def _report(
    settings: dict,
    splits: Mapping,
    tables: Mapping[str, Dataset],
    expected: int,
    written: int,
    problems: list[Problem],
) -> dict[str, Any]:
    left_out = {}
    for split, rows in splits.items():
        kept = set(map(str, tables[split]["qid"]))
        left_out[split] = [row["qid"] for row in rows if str(row["qid"]) not in kept]
    return {
        "settings": settings,
        "videos": {"annotated": expected, "written": written},
        "queries": {
            split: {"annotated": len(rows), "written": len(tables[split]), "left_out": left_out[split]}
            for split, rows in splits.items()
        },
        "problems_by_kind": dict(collections.Counter(problem.kind for problem in problems)),
        "problems": [asdict(problem) for problem in problems],
    }


def _counted(problems: Sequence[Problem]) -> str:
    counts = collections.Counter(problem.kind for problem in problems)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return f"{len(problems)} feature file(s) cannot be used ({kinds})"


def _listed(problems: Sequence[Problem]) -> str:
    lines = [f"  {problem.path}: {problem.message}" for problem in problems[:_LISTED_PROBLEMS]]
    more = len(problems) - len(lines)
    return "\n".join(lines + [f"  ... and {more} more"] * bool(more))


def _finish(output: Path, work: Path, tables: DatasetDict, report: dict[str, Any]) -> DatasetDict:
    """Writes the whole beside the parts and moves it into place at once: `output` is complete, or not there."""
    whole = work / "dataset"
    shutil.rmtree(whole, ignore_errors=True)
    tables.save_to_disk(os.fspath(whole))
    (whole / REPORT_FILE).write_text(json.dumps(report, indent=1))
    if output.exists():
        shutil.rmtree(output)
    whole.replace(output)
    del tables
    shutil.rmtree(work)
    return load_from_disk(os.fspath(output))
