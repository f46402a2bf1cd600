"""From videos and annotations straight to the feature dataset that training reads."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videolights_hf.backbones.base import FeatureBackbone
from videolights_hf.data.annotations import read_annotations
from videolights_hf.data.provenance import write_backbone_checkpoints
from videolights_hf.data.specs import DatasetSpec, get_dataset_spec
from videolights_hf.video.reader import VideoSource

from ..common.processes import Processes
from .summary import ExtractionSummary
from .text import extract_text_features, text_feature_folder
from .video import extract_video_features, video_feature_folder

if TYPE_CHECKING:
    from datasets import DatasetDict


def extract_feature_dataset(
    dataset_dir: str | os.PathLike,
    annotations: Mapping[str, str | os.PathLike],
    videos: Mapping[str, VideoSource],
    output_dir: str | os.PathLike,
    backbones: Sequence[FeatureBackbone],
    *,
    dataset: str | DatasetSpec | Mapping[str, str | DatasetSpec] = "custom",
    clip_length: float | None = None,
    dtype: str = "float16",
    checkpoints: Mapping[str, str] | None = None,
    audio_folder: str | os.PathLike | None = None,
    num_threads: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    processes: Processes | None = None,
    progress: bool = True,
) -> tuple[DatasetDict | None, ExtractionSummary]:
    """Extract what annotations need, and gather it in a feature dataset.

    The backbones' order is the order of the dataset's channels. Those with a text encoder encode the queries.

    Args:
        dataset_dir: Where the dataset is written, by `build_feature_dataset`. One that was built from the same sources
            before is built anew if any features were missing then.
        annotations: Split name to JSON Lines file.
        videos: vid to video, as `find_videos` gives it; annotated videos that are not in it are reported as failed.
        output_dir: Where the feature files are written.
        backbones: The backbones, as `load_backbones` gives them.
        dataset: A key of `DATASETS`, or a spec: how the annotations are read and labelled; or one for each split.
        clip_length: Seconds a clip; by default the dataset's.
        dtype: Floating-point type of the feature files (a dataset holds float16).
        checkpoints: Where the backbones came from, by name, to be kept with the features, and in the dataset's folder
            for the models that are trained on it (`read_backbone_checkpoints`).
        audio_folder: Folder of precomputed audio features, if the model is to have any.
        num_threads: See `extract_video_features`.
        strict: Raise if an annotated video or query has no features, instead of leaving it out.
        overwrite: Replace a dataset that was built before.
        processes: The processes that share the work; by default those that were launched.
        progress: Show progress bars.

    Returns:
        The dataset, in the main process (`None` in the others), and what was done with the videos.

    Raises:
        AnnotationError: See `read_annotations`.
        FeatureBuildError: If `strict`, naming all that has no features.
        ValueError: No annotations; splits of different clip lengths; a qid stands for different sentences in two splits; see also `extract_video_features`,
            `extract_text_features` and `build_feature_dataset`.
        OSError: See `extract_video_features`.
    """
    chosen = dataset if isinstance(dataset, Mapping) else dict.fromkeys(annotations, dataset)
    specs = {split: _for_our_files(get_dataset_spec(chosen[split]), clip_length) for split in annotations}
    lengths = {spec.clip_length for spec in specs.values()}
    if len(lengths) != 1:
        raise ValueError(f"One clip length for all splits is needed, got {', '.join(map(str, sorted(lengths)))}.")
    rows = {split: read_annotations(path, specs[split]) for split, path in annotations.items()}
    # Before the long work, as it fails where splits contradict each other.
    queries = collect_queries(rows)
    wanted = {row["vid"] for members in rows.values() for row in members}
    shared: dict[str, Any] = {
        "dtype": dtype,
        "checkpoints": checkpoints,
        "processes": processes or Processes.current(),
        "progress": progress,
    }
    summary = extract_video_features(
        {vid: video for vid, video in videos.items() if vid in wanted},
        output_dir,
        backbones,
        clip_length=lengths.pop(),
        missing=wanted - videos.keys(),
        num_threads=num_threads,
        **shared,
    )
    text_summary = extract_text_features(queries, output_dir, backbones, **shared)
    tables = None
    if shared["processes"].is_main:
        from videolights_hf.data.build import REPORT_FILE, build_feature_dataset

        build = functools.partial(
            build_feature_dataset,
            dataset_dir,
            annotations,
            video_folders={b.name: video_feature_folder(output_dir, b.name) for b in backbones},
            text_folders={
                b.name: text_feature_folder(output_dir, b.name) for b in backbones if b.text_dim is not None
            },
            dataset=specs,
            audio_folder=audio_folder,
            progress=progress,
        )
        was_built = Path(dataset_dir, REPORT_FILE).is_file()
        has_news = bool(summary.done or text_summary.done)
        if was_built and has_news and not overwrite:
            # It must be of the same sources, or this raises, before it is replaced by one that has the new features.
            build()
            overwrite = True
        tables = build(strict=strict, overwrite=overwrite)
        write_backbone_checkpoints(dataset_dir, checkpoints or {})
    shared["processes"].wait()
    return tables, summary


def _for_our_files(spec: DatasetSpec, clip_length: float | None) -> DatasetSpec:
    """A dataset's spec, but with the clip length asked for and the names and keys of files that are written here."""
    return dataclasses.replace(
        spec,
        clip_length=spec.clip_length if clip_length is None else float(clip_length),
        video_patterns=(("{id}",),),
        text_patterns=("qid{id}",),
        text_keys=("last_hidden_state",),
    )


def collect_queries(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """The sentence of each qid.

    Args:
        rows: Split name to annotations.

    Raises:
        ValueError: A qid stands for different sentences.
    """
    queries: dict[str, str] = {}
    for split, members in rows.items():
        for row in members:
            qid, query = str(row["qid"]), row["query"]
            if queries.setdefault(qid, query) != query:
                raise ValueError(
                    f"qid {qid!r} of split {split!r} is {query!r}, in another split {queries[qid]!r}: text features are "
                    "named by qid, so it must stand for one sentence. Number the queries of all splits through."
                )
    return queries
