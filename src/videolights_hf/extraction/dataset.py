"""From videos and annotations straight to the feature dataset that training reads."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backbones.base import FeatureBackbone
from ..data.annotations import read_annotations
from ..data.provenance import write_backbone_checkpoints
from ..data.specs import DatasetSpec, get_dataset_spec
from ..video.reader import VideoSource
from .features import text_feature_folder, video_feature_folder
from .settings import ExtractionSettings
from .summary import ExtractionSummary
from .text import extract_text_features
from .video import extract_video_features

if TYPE_CHECKING:
    from datasets import DatasetDict


@dataclass(frozen=True)
class DatasetTarget:
    """A feature dataset to gather extracted features in.

    Args:
        folder: Where it is written, by `build_feature_dataset`. One that was built from the same sources before is
            built anew if any features were missing then.
        annotations: Split name to JSON Lines file.
        dataset: How the annotations are read and labeled: a key of `DATASETS`, a spec, or one for each split.
        audio_folder: Folder of precomputed audio features, if the model is to have any.
        strict: Raise if an annotated video or query has no features, instead of leaving it out.
        overwrite: Replace a dataset that was built before.
    """

    folder: str | os.PathLike
    annotations: Mapping[str, str | os.PathLike]
    dataset: str | DatasetSpec | Mapping[str, str | DatasetSpec] = "custom"
    audio_folder: str | os.PathLike | None = None
    strict: bool = False
    overwrite: bool = False

    def specs(self, clip_length: float | None = None) -> dict[str, DatasetSpec]:
        """The spec of each split, with the names and keys of the feature files that are written here.

        Raises:
            ValueError: No annotations, an unknown dataset, or splits of different clip lengths.
        """
        chosen = self.dataset if isinstance(self.dataset, Mapping) else dict.fromkeys(self.annotations, self.dataset)
        specs = {split: _for_our_files(get_dataset_spec(chosen[split]), clip_length) for split in self.annotations}
        lengths = {spec.clip_length for spec in specs.values()}
        if len(lengths) != 1:
            raise ValueError(f"One clip length for all splits is needed, got {', '.join(map(str, sorted(lengths)))}.")
        return specs


def extract_feature_dataset(
    target: DatasetTarget,
    videos: Mapping[str, VideoSource],
    output_dir: str | os.PathLike,
    backbones: Sequence[FeatureBackbone],
    settings: ExtractionSettings | None = None,
) -> tuple[DatasetDict | None, ExtractionSummary]:
    """Extract what annotations need, and gather it in a feature dataset.

    The backbones' order is the order of the dataset's channels. Those with a text encoder encode the queries.

    Args:
        target: The dataset.
        videos: vid to video, as `find_videos` gives it; annotated videos that are not in it are reported as failed.
        output_dir: Where the feature files are written.
        backbones: The backbones, as `load_backbones` gives them.
        settings: How features are extracted. `checkpoints` is also noted in the dataset's folder, for the models that
            are trained on it (`read_backbone_checkpoints`). The dataset holds float16 whatever `dtype` is.

    Returns:
        The dataset, in the main process (`None` in the others), and what was done with the videos.

    Raises:
        AnnotationError: See `read_annotations`.
        FeatureBuildError: If `strict`, naming all that has no features.
        ValueError: No annotations; splits of different clip lengths; a qid stands for different sentences in two
            splits; see also `extract_video_features`, `extract_text_features` and `build_feature_dataset`.
        OSError: See `extract_video_features`.
    """
    settings = settings or ExtractionSettings()
    specs = target.specs(settings.clip_length)
    rows = {split: read_annotations(path, specs[split]) for split, path in target.annotations.items()}
    # Before the long work, as it fails where splits contradict each other.
    queries = collect_queries(rows)
    wanted = {row["vid"] for members in rows.values() for row in members}
    processes = settings.connect()
    settings = dataclasses.replace(settings, clip_length=next(iter(specs.values())).clip_length, processes=processes)
    summary = extract_video_features(
        {vid: video for vid, video in videos.items() if vid in wanted},
        output_dir,
        backbones,
        settings,
        missing=wanted - videos.keys(),
    )
    text_summary = extract_text_features(queries, output_dir, backbones, settings)
    tables = None
    if processes.is_main:
        has_news = bool(summary.done or text_summary.done)
        tables = _build(
            target, specs, Path(output_dir), backbones, has_news, settings.progress and sys.stderr.isatty()
        )
        write_backbone_checkpoints(target.folder, settings.checkpoints)
    processes.wait()
    return tables, summary


def _build(
    target: DatasetTarget,
    specs: Mapping[str, DatasetSpec],
    output_dir: Path,
    backbones: Sequence[FeatureBackbone],
    has_news: bool,
    progress: bool,
) -> DatasetDict:
    from ..data.build import BuildSettings, build_feature_dataset
    from ..data.report import REPORT_FILE

    build = functools.partial(
        build_feature_dataset,
        target.folder,
        target.annotations,
        video_folders={b.name: video_feature_folder(output_dir, b.name) for b in backbones},
        text_folders={b.name: text_feature_folder(output_dir, b.name) for b in backbones if b.text_dim is not None},
        dataset=specs,
        audio_folder=target.audio_folder,
    )
    overwrite = target.overwrite
    if Path(target.folder, REPORT_FILE).is_file() and has_news and not overwrite:
        # It must be of the same sources, or this raises, before it is replaced by one that has the new features.
        build(settings=BuildSettings(progress=progress))
        overwrite = True
    return build(settings=BuildSettings(strict=target.strict, overwrite=overwrite, progress=progress))


def _for_our_files(spec: DatasetSpec, clip_length: float | None) -> DatasetSpec:
    """A dataset's spec, but with the clip length asked for and the names and keys of files that are written here."""
    return dataclasses.replace(
        spec,
        clip_length=spec.clip_length if clip_length is None else float(clip_length),
        video_patterns=(("{id}",),),
        text_patterns=("qid{id}",),
        text_keys=("last_hidden_state",),
    )


def collect_queries(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[int | str, str]:
    """The sentence of each qid.

    Args:
        rows: Split name to annotations.

    Raises:
        ValueError: A qid stands for different sentences.
    """
    queries: dict[int | str, str] = {}
    for split, members in rows.items():
        for row in members:
            qid, query = str(row["qid"]), row["query"]
            if queries.setdefault(qid, query) != query:
                raise ValueError(
                    f"qid {qid!r} of split {split!r} is {query!r}, in another split {queries[qid]!r}: text features "
                    "are named by qid, so it must stand for one sentence. Number the queries consecutively."
                )
    return queries
