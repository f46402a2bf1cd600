"""Feature datasets for training and evaluation: one item per query, with features and labels."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..common.messages import unknown_name
from ..common.time_axis import QueryWindow
from .annotations import domains_of, is_labeled, select_domain
from .coverage import COVERAGE_COLUMNS, MomentCoverage, warn_of_coverage
from .items import Item, ItemBuilder, ItemFeatures, plan_query_windows
from .rows import RowReader
from .tables import (
    AUDIO,
    TEXT_PREFIX,
    VIDEO_PREFIX,
    VIDEOS,
    annotation_columns,
    backbones_of,
    row_to_annotation,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from ..models.configuration import DetectorConfig


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

    >>> tables = load_feature_dataset("data/qvhighlights")
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
        self._queries = RowReader(queries, builder.query_columns)
        self._videos = RowReader(videos, builder.video_columns)
        self._rows: list[ItemFeatures] | None = None
        self.windows: list[QueryWindow] | None = None
        """The items, where long videos are seen in windows; else `None`: an item for each of `annotations`."""
        if windows:
            self.windows = plan_query_windows(RowReader(queries, COVERAGE_COLUMNS), builder)

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
        row, first_clip = self._place(index)
        features = self.features(index) if self._rows is None else self._rows[index]
        return self.builder.complete(self._queries[row], features, epoch, first_clip)

    def features(self, index: int) -> ItemFeatures:
        """What the model sees of a query (or window), which is the same in every epoch."""
        row, first_clip = self._place(index)
        query = self._queries[row]
        return self.builder.features(query, self._videos[self._row_of[query["vid"]]], first_clip)

    def video_window(self, index: int) -> tuple[str, int]:
        """The video of an item, and the first clip that it shows."""
        row, first_clip = self._place(index)
        return self._queries[row]["vid"], first_clip

    def num_clips(self, index: int) -> int:
        """How many clips of its video an item shows, known without reading features."""
        vid, first_clip = self.video_window(index)
        return self.builder.num_clips(self._videos[self._row_of[vid]], first_clip)

    def num_tokens(self, index: int) -> int:
        """How many words of an item's query the model sees, known without reading features."""
        return self.builder.num_tokens(self._queries[self._place(index)[0]])

    def with_rows(self, rows: Sequence[ItemFeatures]) -> FeatureDataset:
        """The same dataset, whose items hold the numbers of their features' rows, given for each; see `ResidentFeatures`."""
        numbered = copy.copy(self)
        numbered._rows = list(rows)
        return numbered

    def _place(self, index: int) -> tuple[int, int]:
        return (index, 0) if self.windows is None else self.windows[index][:2]

    @property
    def annotations(self) -> list[dict[str, Any]]:
        """The annotation rows, whole, in the order of the items: the ground truth that metrics are computed against."""
        return [row_to_annotation(row) for row in RowReader(self._annotations, self._annotations.column_names)]

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
    coverage = MomentCoverage.of(RowReader(queries, COVERAGE_COLUMNS), builder.max_video_length)
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
        row = RowReader(table, [f"{prefix}{name}" for name in names])[0]
        found.append([[name, row[f"{prefix}{name}"]["shape"][1]] for name in names])
    return found[0], found[1]
