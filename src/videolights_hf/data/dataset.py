"""Feature datasets for training and evaluation: one item per query, with features and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..common.messages import unknown_name
from ..common.time_axis import QueryWindow, TimeAxis
from ..inference.inputs import join_text_features, join_video_features
from ..inference.windows import plan_windows
from .annotations import domains_of, is_labeled, select_domain
from .coverage import COVERAGE_COLUMNS, MomentCoverage, warn_of_coverage
from .labels import MAX_WINDOWS, Labels, draw_generator, make_labels
from .tables import (
    AUDIO,
    TEXT_PREFIX,
    VIDEO_PREFIX,
    VIDEOS,
    annotation_columns,
    backbones_of,
    decode_array,
    row_to_annotation,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from ..models.configuration import DetectorConfig


class _BareItem(TypedDict):
    qid: int | str
    vid: str
    epoch: int
    training: bool
    video_features: np.ndarray
    text_features: np.ndarray


class Item(_BareItem, total=False):
    """A training or evaluation item: one query and what the model sees of its video.

    Attributes:
        qid: The query's id.
        vid: The video's id.
        epoch: The epoch of its random draws.
        training: Whether the collator applies token dropout.
        video_features: float32 (L, Dv), with the temporal channels.
        text_features: float32 (N, Dt).
        audio_features: float32 (L, Da), if the model takes audio.
        labels: If the query is labeled.
    """

    audio_features: np.ndarray
    labels: Labels


@dataclass(frozen=True)
class ItemBuilder:
    """Makes a training or evaluation item from a row of queries and the row of its video.

    Attributes:
        video_backbones: (name, width) of each video backbone, in channel order.
        text_backbones: (name, width) of each text encoder, in channel order.
        max_video_length: Use at most this many clips.
        max_text_length: Use at most this many tokens.
        audio_dim: Width of the audio features; 0 for none.
        training: Items of a training run, to which the collator applies its token dropout.
        seed: Seed of the random draws in the labels.
        max_windows: Use at most this many span targets.
        clip_length: Seconds per clip that the model was made for; `None` takes any dataset.
    """

    video_backbones: tuple[tuple[str, int], ...]
    text_backbones: tuple[tuple[str, int], ...]
    max_video_length: int = 75
    max_text_length: int = 32
    audio_dim: int = 0
    training: bool = False
    seed: int = 2018
    max_windows: int = MAX_WINDOWS
    clip_length: float | None = None
    _verified: set[tuple[str, str]] = field(default_factory=set, init=False, repr=False, compare=False)

    @classmethod
    def from_config(cls, config: DetectorConfig, training: bool = False, seed: int = 2018) -> ItemBuilder:
        """A builder of what the model with this config takes."""
        return cls(
            video_backbones=tuple((name, width) for name, width in config.video_backbones),
            text_backbones=tuple((name, width) for name, width in config.text_backbones),
            max_video_length=config.max_video_length,
            max_text_length=config.max_text_length,
            audio_dim=config.audio_dim,
            training=training,
            seed=seed,
            clip_length=config.clip_length,
        )

    @property
    def video_columns(self) -> list[str]:
        """Columns of the table of videos that are needed."""
        names = [name for name, _ in self.video_backbones]
        return ["vid", *(f"{VIDEO_PREFIX}{name}" for name in names + [AUDIO] * bool(self.audio_dim))]

    @property
    def text_columns(self) -> list[str]:
        """Feature columns of a table of queries that are needed."""
        return [f"{TEXT_PREFIX}{name}" for name, _ in self.text_backbones]

    def check_columns(self, videos: Iterable[str], queries: Iterable[str]) -> None:
        """Check that tables have the columns that are needed.

        Raises:
            ValueError: Naming the backbones that are missing and those that are there.
        """
        for kind, prefix, wanted, columns in (
            ("video", VIDEO_PREFIX, self.video_columns[1:], list(videos)),
            ("text", TEXT_PREFIX, self.text_columns, list(queries)),
        ):
            missing = [name.removeprefix(prefix) for name in wanted if name not in columns]
            if missing:
                there = [name.removeprefix(prefix) for name in columns if name.startswith(prefix)]
                raise ValueError(
                    f"The dataset has no {kind} features of {', '.join(missing)}; it has {', '.join(there)}."
                )

    def check_clip_length(self, clip_lengths: Iterable[float]) -> None:
        """Check that a dataset has the clips that the model was made for.

        Raises:
            ValueError: Naming both lengths.
        """
        others = {length for length in clip_lengths if self.clip_length not in (None, length)}
        if others:
            raise ValueError(
                f"The dataset has clips of {', '.join(f'{length:g}' for length in sorted(others))} s, the model of "
                f"{self.clip_length:g} s: set clip_length to that of the data (--set clip_length=...), or build the "
                "dataset from features of the model's clip length."
            )

    def build(self, query: Mapping[str, Any], video: Mapping[str, Any], epoch: int, first_clip: int = 0) -> Item:
        """The item of one query in one epoch.

        Args:
            query: Row of a table of queries.
            video: Row of the table of videos.
            epoch: Counted from zero; sets the random draws.
            first_clip: The clip of the video with which the item begins, for windows over long videos.

        Raises:
            ValueError: A backbone's features are of another width than they should be, or a row is damaged.
        """
        seen = slice(first_clip, first_clip + self.max_video_length)
        matrices = {
            column.removeprefix(VIDEO_PREFIX): self._matrix(video, video["vid"], column)[seen]
            for column in self.video_columns[1:]
        }
        audio = matrices.pop(AUDIO, None)
        video_features, audio_features = join_video_features(
            matrices,
            self.video_backbones,
            max_length=self.max_video_length,
            audio=audio,
            audio_dim=self.audio_dim,
        )
        tokens = {
            column.removeprefix(TEXT_PREFIX): self._matrix(query, str(query["qid"]), column)[: self.max_text_length]
            for column in self.text_columns
        }
        item: Item = {
            "qid": query["qid"],
            "vid": query["vid"],
            "epoch": epoch,
            "training": self.training,
            "video_features": video_features,
            "text_features": join_text_features(tokens, self.text_backbones, max_length=self.max_text_length),
        }
        if audio_features is not None:
            item["audio_features"] = audio_features
        if is_labeled(query):
            item["labels"] = self._labels(query, len(video_features), epoch, first_clip)
        return item

    def _matrix(self, row: Mapping[str, Any], item: str, column: str) -> np.ndarray:
        """A cell's matrix, whose checksum is compared when a process reads it for the first time."""
        key = (item, column)
        try:
            matrix = decode_array(row[column], verify=key not in self._verified)
        except ValueError as error:
            raise ValueError(f"{column} of {item}: {error}") from error
        self._verified.add(key)
        return matrix

    def _labels(self, query: Mapping[str, Any], num_clips: int, epoch: int, first_clip: int) -> Labels:
        axis = TimeAxis.of_query(query, num_clips, query["clip_length"], first_clip)
        rng = draw_generator(self.seed, epoch, f"{query['qid']}@{first_clip}" if first_clip else query["qid"])
        try:
            return make_labels(query, axis, query["label_rule"], rng, self.max_windows)
        except (IndexError, TypeError) as error:
            raise ValueError(
                f"Query {query['qid']!r} has labels that contradict each other ({error}): build the dataset again."
            ) from error


class EpochCounter:
    """The current epoch, in shared memory: data loader workers that live on see it change."""

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The current epoch, counted from zero."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; labels and token dropout are drawn anew for each.

        Call it when an epoch begins, from a callback: the trainer forwards it neither after it resumed within an
        epoch nor with several processes.
        """
        self._epoch.fill_(epoch)


class FeatureDataset(EpochCounter, TorchDataset):
    """The queries of one split, with features read from memory-mapped tables.

    A model sees `max_video_length` clips at once. Of a longer video the first clips are used: moments that reach
    beyond are cut, those wholly outside dropped, and a training query of which no moment is left is left out; one
    warning counts them. With `windows`, the whole video is used, as one item per window.

    Args:
        queries: Table of queries of one split.
        videos: Table of videos.
        builder: What an item is made of.
        domain: Use only the queries of this domain (TVSum, YouTube Highlights).
        windows: See long videos in overlapping windows. In training, windows without a moment are left out.
        split: What warnings call the queries.

    Raises:
        ValueError: A backbone that the tables do not have, clips of another length than the model's, a domain that
            does not exist (the message names the nearest one), a query whose video is missing, or an empty split.

    Example:

    ```python
    >>> from videolights_hf import VideoLightsConfig
    >>> from videolights_hf.data import FeatureDataset, load_feature_dataset, table_backbones

    >>> tables = load_feature_dataset("qvhighlights_features")
    >>> video_backbones, text_backbones = table_backbones(tables)
    >>> config = VideoLightsConfig(video_backbones=video_backbones, text_backbones=text_backbones)
    >>> train = FeatureDataset.from_config(tables, "train", config, training=True)
    >>> train[0]["video_features"].shape[1] == config.video_dim
    True
    ```
    """

    def __init__(
        self,
        queries: Dataset,
        videos: Dataset,
        builder: ItemBuilder,
        domain: str | None = None,
        windows: bool = False,
        split: str = "train",
    ) -> None:
        super().__init__()
        builder.check_columns(videos.column_names, queries.column_names)
        if domain is not None:
            rows = [{"row": row, "domain": value} for row, value in enumerate(queries["domain"])]
            queries = queries.select([row["row"] for row in select_domain(rows, domain)])
        if len(queries) == 0:
            raise ValueError("The split is empty.")
        builder.check_clip_length(set(queries["clip_length"]))
        self.builder = builder
        self._row_of = {vid: row for row, vid in enumerate(videos["vid"])}
        lost = [vid for vid in queries["vid"] if vid not in self._row_of]
        if lost:
            raise ValueError(f"{len(lost)} queries are of videos that are not in the table: {lost[:10]}.")
        if not windows:
            queries = _without_unseen(queries, builder, split)
        self._annotations = queries.select_columns(annotation_columns(queries.column_names))
        # Columns that are not needed would be read and copied with every row.
        self._queries = queries.select_columns([*annotation_columns(queries.column_names), *builder.text_columns])
        self._videos = videos.select_columns(builder.video_columns)
        self.windows: list[QueryWindow] | None = None
        """The items, where long videos are seen in windows; else `None`: an item for each of `annotations`."""
        if windows:
            self.windows = plan_query_windows(self._annotations.select_columns(list(COVERAGE_COLUMNS)), builder)

    @classmethod
    def from_config(
        cls,
        tables: Mapping[str, Dataset],
        split: str,
        config: DetectorConfig,
        training: bool = False,
        seed: int = 2018,
        domain: str | None = None,
        windows: bool = False,
    ) -> FeatureDataset:
        """The dataset of one split, for a model.

        Args:
            tables: From `build_feature_dataset` or `load_feature_dataset`.
            split: Name of a table of queries.
            config: The model's config: backbones and their order, clip length, maximal lengths, audio.
            training: Whether the items are for training, see `ItemBuilder`.
            seed: Seed of the random draws.
            domain: See the class.
            windows: See the class.

        Raises:
            ValueError: Unknown split; see also the class.
        """
        splits = [name for name in tables if name != VIDEOS]
        if split not in splits:
            raise ValueError(unknown_name("split", split, splits))
        builder = ItemBuilder.from_config(config, training, seed)
        return cls(tables[split], tables[VIDEOS], builder, domain, windows, split)

    def __len__(self) -> int:
        return len(self._queries) if self.windows is None else len(self.windows)

    def __getitem__(self, index: int) -> Item:
        """The item of a query (or window) in the current epoch; see `ItemBuilder.build`."""
        return self.item(index, self.epoch)

    def item(self, index: int, epoch: int) -> Item:
        """The item of a query (or window) in a given epoch; see `ItemBuilder.build`."""
        row, first_clip = (index, 0) if self.windows is None else self.windows[index][:2]
        query = _read_row(self._queries, row)
        video = _read_row(self._videos, self._row_of[query["vid"]])
        return self.builder.build(query, video, epoch, first_clip)

    @property
    def annotations(self) -> list[dict[str, Any]]:
        """The annotation rows, whole, in the order of the items: the ground truth that metrics are computed against."""
        return [row_to_annotation(row) for row in self._annotations]

    @property
    def is_labeled(self) -> bool:
        """Whether the queries have labels: all or none of a split do."""
        return is_labeled(self._annotations[0])

    @property
    def lengths(self) -> list[int]:
        """Clips of each item, known without reading features."""
        if self.windows is not None:
            return [window.num_clips for window in self.windows]
        return [min(clips, self.builder.max_video_length) for clips in self._annotations["num_clips"]]

    @property
    def domains(self) -> list[str]:
        """The domains that occur, in alphabetical order."""
        return domains_of(self._annotations.select_columns(["domain"]))

    def length_grouped_sampler(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> LengthGroupedSampler:
        """A random sampler whose batches hold videos of similar length, which wastes little on padding.

        Args:
            batch_size: Of the batches that the data loader will make.
            generator: Source of randomness.
        """
        return LengthGroupedSampler(batch_size, lengths=self.lengths, generator=generator)


def _without_unseen(queries: Dataset, builder: ItemBuilder, split: str) -> Dataset:
    """Warn of moments that the model does not see, and leave out the training queries of which it sees none."""
    coverage = MomentCoverage.of(queries.select_columns(list(COVERAGE_COLUMNS)), builder.max_video_length)
    warn_of_coverage({split: coverage})
    if not coverage.unseen or not builder.training:
        return queries
    kept = np.setdiff1d(np.arange(len(queries)), coverage.unseen)
    if len(kept) == 0:
        raise ValueError(
            f"Split {split!r} cannot be trained on: every moment lies behind the {builder.max_video_length} clips "
            f"that the model sees. Set max_video_length={coverage.longest_video}, or train in windows (windows=true)."
        )
    return queries.select(kept)


def plan_query_windows(rows: Iterable[Mapping[str, Any]], builder: ItemBuilder) -> list[QueryWindow]:
    """The windows in which a model sees the videos of some queries.

    Args:
        rows: Queries with the columns of `COVERAGE_COLUMNS`.
        builder: How long a window is. In training, a window is used if it shows a whole moment, or a clip of one.
    """
    planned = []
    for number, row in enumerate(rows):
        clips, clip_length = row["num_clips"], row["clip_length"]
        for window in plan_windows(clips, clip_length, clips * clip_length, builder.max_video_length):
            if not builder.training or _shows_a_moment(row, window.num_clips, window.first_clip):
                planned.append(QueryWindow(number, window.first_clip, window.num_clips))
    if not planned:
        raise ValueError("No window shows a moment: check that features and annotations are of the same videos.")
    return planned


def _shows_a_moment(row: Mapping[str, Any], num_clips: int, first_clip: int) -> bool:
    moments: Sequence[Sequence[float]] | None = row["relevant_windows"]
    if not moments:
        return True
    axis = TimeAxis.of_query(row, num_clips, row["clip_length"], first_clip)
    for moment in moments:
        for start, end in axis.visible(np.asarray([moment])):
            if end - start >= min(axis.clip_length, moment[1] - moment[0]):
                return True
    return False


def _read_row(table: Dataset, row: int) -> dict[str, Any]:
    try:
        return table[row]
    except (MemoryError, OverflowError, IndexError) as error:
        if row >= len(table):
            # How Python's loops learn that a sequence is over.
            raise
        # Arrow believes the sizes that a damaged file gives.
        raise ValueError(
            f"Row {row} of a table cannot be read ({error!r}): the dataset is damaged, build it again."
        ) from error


def table_backbones(tables: Mapping[str, Dataset]) -> tuple[list[list], list[list]]:
    """The backbones of a feature dataset as a config wants them.

    Returns:
        `video_backbones` and `text_backbones`: lists of [name, width] in the order of the tables, without audio.
    """
    found = []
    for table, prefix in (
        (tables[VIDEOS], VIDEO_PREFIX),
        (next(t for n, t in tables.items() if n != VIDEOS), TEXT_PREFIX),
    ):
        names = [name for name in backbones_of(table, prefix) if name != AUDIO]
        row = _read_row(table, 0)
        found.append([[name, row[f"{prefix}{name}"]["shape"][1]] for name in names])
    return found[0], found[1]
