"""From annotation files and feature folders to a feature dataset on disk."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, load_from_disk
from tqdm.auto import tqdm

from ..common.batches import iterate_batches
from ..common.files import write_json
from ..common.locks import FolderInUseError, locked_folder
from ..models.videolights.configuration import VideoLightsConfig
from .annotations import expected_num_clips, read_annotations
from .parts import FeatureReader, Part, Problem, digest, write_parts
from .provenance import extracted_checkpoints, write_backbone_checkpoints
from .report import REPORT_FILE, BuildResult, FeatureBuildError, count_problems, list_problems, read_report
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

_VIDEOS_PER_PART = 64
_QUERIES_PER_PART = 512


@dataclass(frozen=True)
class BuildSettings:
    """How a feature dataset is built.

    Attributes:
        strict: Raise instead of leaving videos or queries out.
        length_tolerance: By how many clips the features of a video may be shorter or longer than its annotation
            implies. They are cut to the shortest backbone when they are used.
        max_video_length: Clips that the model will see; by default those of the dataset's preset. Nothing is cut here;
            moments beyond are counted in the report, and one warning says how to train on them.
        num_proc: Processes that read in parallel.
        overwrite: Build again where the output already holds a feature dataset, and replace it.
        progress: Show a progress bar.

    Raises:
        ValueError: A setting makes no sense.
    """

    strict: bool = False
    length_tolerance: int = 2
    max_video_length: int | None = None
    num_proc: int = 1
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        for name, lowest in (("num_proc", 1), ("max_video_length", 1), ("length_tolerance", 0)):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {value}.")


@dataclass(frozen=True)
class _Sources:
    """What a dataset is built from: rows and spec of each split, and the folders of features."""

    splits: dict[str, list[dict[str, Any]]]
    specs: dict[str, DatasetSpec]
    video: dict[str, str | os.PathLike]
    text: dict[str, str | os.PathLike]

    def settings(self, length_tolerance: int) -> dict[str, Any]:
        """What decides the content of a dataset, to be compared with that of one on disk."""
        specs = {split: asdict(spec) for split, spec in self.specs.items()}
        different = len(set(self.specs.values())) > 1
        settings = {
            "dataset": specs if different else next(iter(specs.values())),
            "annotations": {split: digest(rows) for split, rows in self.splits.items()},
            "video_folders": [[name, os.path.abspath(folder)] for name, folder in self.video.items()],
            "text_folders": [[name, os.path.abspath(folder)] for name, folder in self.text.items()],
            "length_tolerance": length_tolerance,
        }
        return json.loads(json.dumps(settings))


def build_feature_dataset(
    output_dir: str | os.PathLike,
    annotations: Mapping[str, str | os.PathLike],
    video_folders: Mapping[str, str | os.PathLike],
    text_folders: Mapping[str, str | os.PathLike],
    dataset: str | DatasetSpec | Mapping[str, str | DatasetSpec] = "qvhighlights",
    audio_folder: str | os.PathLike | None = None,
    settings: BuildSettings | None = None,
) -> DatasetDict:
    """Gather annotations and features in one memory-mapped dataset on disk.

    A feature file that is missing, truncated, pickled, too large, or of another width or length than it should be is
    named and counted (in the log and in `build_report.json`); its video or query is left out.

    Args:
        output_dir: Where to write. Work in progress is kept in `{output_dir}.incomplete`; calling again after an
            interruption continues it. If `output_dir` was built from the same annotations, folders and settings
            before, it is loaded.
        annotations: Split name to JSON Lines file.
        video_folders: Backbone name to folder of its video features, in channel order.
        text_folders: Text encoder name to folder of its token features, in channel order.
        dataset: A key of `DATASETS`, or a spec; or one for each split, such as a `pretraining` split beside those of
            QVHighlights. Clip lengths must agree.
        audio_folder: Folder of optional audio features.
        settings: How to build; the defaults of `BuildSettings` if `None`.

    Returns:
        The table `"videos"` (`vid`, `num_clips`, `video_{backbone}`), and a table per split (`qid`, `query`, `vid`,
        `duration` in seconds, windows, saliency and the other annotation fields, `num_clips`, `text_{encoder}`).

    Raises:
        AnnotationError: See `read_annotations`.
        FeatureBuildError: There are problems, and `settings.strict`; it lists all of them.
        FolderInUseError: Another process builds the same dataset.
        FileExistsError: `output_dir` holds something else, or a dataset that was built from other sources.
        ValueError: An empty or unusable argument, or a split of which nothing is left.
    """
    settings = settings or BuildSettings()
    if not video_folders or AUDIO in video_folders:
        raise ValueError(f"At least one video backbone is needed, and {AUDIO!r} is not a name for one.")
    video_sources = dict(video_folders) | ({AUDIO: audio_folder} if audio_folder is not None else {})
    _check_arguments(annotations, video_sources, text_folders)
    specs = _specs_of(dataset, annotations)
    splits = {split: read_annotations(path, specs[split]) for split, path in annotations.items()}
    sources = _Sources(splits, specs, video_sources, dict(text_folders))
    output = Path(output_dir)
    work = output.with_name(output.name + ".incomplete")
    identity = sources.settings(settings.length_tolerance)
    if _is_built(output, identity, settings):
        _remove_leftover(work)
        return load_from_disk(os.fspath(output))
    with locked_folder(work):
        # Another process may have built it while this one read the annotations.
        if _is_built(output, identity, settings):
            shutil.rmtree(work)
            return load_from_disk(os.fspath(output))
        result = _write_tables(sources, work, settings)
        result.check_complete(work)
        if result.problems and settings.strict:
            raise FeatureBuildError(result.problems)
        coverage = result.coverage(settings.max_video_length or _preset_length(specs))
        result.warn(coverage)
        for split, table in result.queries.items():
            if len(table) == 0:
                raise ValueError(
                    f"Split {split!r} is empty: none of its {len(splits[split])} queries has all its features. "
                    f"{count_problems(result.problems)}:\n{list_problems(result.problems)}"
                )
        checkpoints = extracted_checkpoints({**text_folders, **video_folders})
        return _finish(output, work, result, result.report(identity, coverage), checkpoints)


def _check_arguments(splits: Mapping, video_sources: Mapping, text_folders: Mapping) -> None:
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
    members = list(specs.values())
    return replace(
        members[0],
        video_patterns=tuple(dict.fromkeys(pattern for spec in members for pattern in spec.video_patterns)),
        text_patterns=tuple(dict.fromkeys(pattern for spec in members for pattern in spec.text_patterns)),
        text_keys=tuple(dict.fromkeys(key for spec in members for key in spec.text_keys)),
    )


def _preset_length(specs: Mapping[str, DatasetSpec]) -> int:
    """Clips that a model with the preset of the first split's dataset sees."""
    name = next(iter(specs.values())).name
    preset = VideoLightsConfig.datasets.get(name, {})
    return preset.get("max_video_length", VideoLightsConfig().max_video_length)


def _is_built(output: Path, identity: dict[str, Any], settings: BuildSettings) -> bool:
    """Whether `output` needs no building; raises if it must not be written either."""
    path = output / REPORT_FILE
    if not path.is_file():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise FileExistsError(f"{output} is not empty, and no feature dataset; choose another folder.")
        return False
    if settings.overwrite:
        return False
    report = read_report(path)
    if report["settings"] != identity:
        raise FileExistsError(f"{output} was built from other sources; choose another folder or overwrite it.")
    logger.info("%s is already built from these sources.", output)
    problems = [Problem(**problem) for problem in report["problems"]]
    if problems and settings.strict:
        raise FeatureBuildError(problems)
    if problems:
        logger.warning(
            "%s when it was built; overwrite it to try again:\n%s", count_problems(problems), list_problems(problems)
        )
    return True


def _remove_leftover(work: Path) -> None:
    """Remove the work of a build that was killed between its last two steps, unless another process is using it."""
    if work.is_dir():
        with contextlib.suppress(FolderInUseError, PermissionError), locked_folder(work):
            shutil.rmtree(work)


def _write_tables(sources: _Sources, work: Path, settings: BuildSettings) -> BuildResult:
    expected = {row["vid"]: row for members in sources.splits.values() for row in members}
    total = len(expected) + sum(map(len, sources.splits.values()))
    with tqdm(total=total, desc="Reading features", unit=" ids", disable=not settings.progress) as bar:

        def write(parts: list[Part], schema: Features) -> tuple[Dataset, list[Problem]]:
            return write_parts(parts, work, schema, settings.num_proc, bar)

        videos, video_problems = write(*_video_parts(expected, sources, settings.length_tolerance))
        num_clips = dict(zip(videos["vid"], videos["num_clips"], strict=True))
        queries, text_problems = {}, {}
        for split, (parts, schema) in _query_parts(sources, num_clips).items():
            queries[split], text_problems[split] = write(parts, schema)
        bar.update(bar.total - bar.n)  # the queries whose video is left out
    return BuildResult(sources.splits, videos, queries, video_problems, text_problems)


def _video_parts(
    rows: Mapping[str, dict[str, Any]], sources: _Sources, length_tolerance: int
) -> tuple[list[Part], Features]:
    spec = _common_spec(sources.specs)
    reader = FeatureReader.from_folders(sources.video, list(rows), spec.video_patterns, ("features",), VIDEO_PREFIX)
    schema = video_schema(list(sources.video))
    members = [{"vid": vid, "expected": expected_num_clips(row, spec.clip_length)} for vid, row in rows.items()]
    return [
        Part(f"videos-{index:05d}", "vid", part, reader, schema, length_tolerance)
        for index, part in enumerate(iterate_batches(members, _VIDEOS_PER_PART))
    ], schema


def _query_parts(sources: _Sources, num_clips: Mapping[str, int]) -> dict[str, tuple[list[Part], Features]]:
    """The parts of every split; a query whose video is left out is in none."""
    common = _common_spec(sources.specs)
    qids = [row["qid"] for rows in sources.splits.values() for row in rows]
    patterns = tuple((pattern,) for pattern in common.text_patterns)
    reader = FeatureReader.from_folders(sources.text, qids, patterns, common.text_keys, TEXT_PREFIX)
    found = {}
    for split, rows in sources.splits.items():
        spec = sources.specs[split]
        # By split: numbers stay numbers in a submission file, whatever the qids of a split beside it are.
        integer_qids = all(isinstance(row["qid"], int) and abs(row["qid"]) < 2**63 for row in rows)
        schema = query_schema(list(sources.text), integer_qids)
        kept = []
        for row in rows:
            if row["vid"] in num_clips:
                constants = {"clip_length": spec.clip_length, "label_rule": spec.rule_for(row)}
                qid = row["qid"] if integer_qids else str(row["qid"])
                kept.append(annotation_to_row(row) | constants | {"qid": qid, "num_clips": num_clips[row["vid"]]})
        parts = [
            Part(f"{split}-{index:05d}", "qid", part, reader, schema)
            for index, part in enumerate(iterate_batches(kept, _QUERIES_PER_PART))
        ]
        found[split] = parts, schema
    return found


def _finish(
    output: Path, work: Path, result: BuildResult, report: dict[str, Any], checkpoints: Mapping[str, str]
) -> DatasetDict:
    """Write the whole beside the parts and move it into place at once: `output` is complete, or not there."""
    whole, replaced = work / "dataset", work / "replaced"
    for leftover in (whole, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    DatasetDict({VIDEOS: result.videos, **result.queries}).save_to_disk(os.fspath(whole))
    write_json(whole / REPORT_FILE, report)
    if checkpoints:
        write_backbone_checkpoints(whole, checkpoints)
    if output.exists():
        output.replace(replaced)
    whole.replace(output)
    shutil.rmtree(work)
    return load_from_disk(os.fspath(output))
