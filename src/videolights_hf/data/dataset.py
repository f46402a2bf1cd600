"""Feature datasets for training and evaluation: one item per query, with features and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset as TorchDataset
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..common.messages import unknown_name
from ..inference.inputs import join_text_features, join_video_features
from .annotations import domains_of, is_labelled, select_domain
from .labels import MAX_WINDOWS, draw_generator, make_labels
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

    from ..models.videolights.configuration import VideoLightsConfig


@dataclass(frozen=True)
class ItemBuilder:
    """Makes a training or evaluation item from a row of queries and the row of its video.

    Args:
        video_backbones: (name, width) of each video backbone, in channel order.
        text_backbones: (name, width) of each text encoder, in channel order.
        max_video_length: At most so many clips are used.
        max_text_length: At most so many tokens are used.
        audio_dim: Width of the audio features; 0 for none.
        training: Items of a training run, to which the collator applies its token dropout.
        seed: Seed of the random draws in the labels.
        max_windows: At most so many span targets.
    """

    video_backbones: tuple[tuple[str, int], ...]
    text_backbones: tuple[tuple[str, int], ...]
    max_video_length: int = 75
    max_text_length: int = 32
    audio_dim: int = 0
    training: bool = False
    seed: int = 2018
    max_windows: int = MAX_WINDOWS

    @classmethod
    def from_config(cls, config: VideoLightsConfig, training: bool = False, seed: int = 2018) -> ItemBuilder:
        """A builder of what the model with this config takes."""
        return cls(
            tuple((name, width) for name, width in config.video_backbones),
            tuple((name, width) for name, width in config.text_backbones),
            config.max_video_length,
            config.max_text_length,
            config.audio_dim,
            training,
            seed,
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
        """Checks that tables have the columns that are needed.

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

    def build(self, query: Mapping[str, Any], video: Mapping[str, Any], epoch: int) -> dict[str, Any]:
        """The item of one query in one epoch.

        Args:
            query: Row of a table of queries.
            video: Row of the table of videos.
            epoch: Counted from zero; sets the random draws.

        Returns:
            `qid`, `vid`, `epoch`, `training`, `video_features` float32 (L, Dv) with the temporal channels,
            `text_features` float32 (N, Dt), `audio_features` float32 (L, Da) if there is audio, and `labels` (see
            `make_labels`) if the query is labelled.

        Raises:
            ValueError: If a backbone's features are of another width than they should be.
        """
        cells = {column: decode_array(video[column]) for column in self.video_columns[1:]}
        matrices = {name.removeprefix(VIDEO_PREFIX): cell[: self.max_video_length] for name, cell in cells.items()}
        audio = matrices.pop(AUDIO, None)
        video_features, audio_features = join_video_features(
            matrices,
            self.video_backbones,
            max_length=self.max_video_length,
            audio=audio,
            audio_dim=self.audio_dim,
        )
        tokens = {name: decode_array(query[f"{TEXT_PREFIX}{name}"]) for name, _ in self.text_backbones}
        tokens = {name: matrix[: self.max_text_length] for name, matrix in tokens.items()}
        item = {
            "qid": query["qid"],
            "vid": query["vid"],
            "epoch": epoch,
            "training": self.training,
            "video_features": video_features,
            "text_features": join_text_features(tokens, self.text_backbones, max_length=self.max_text_length),
        }
        if audio_features is not None:
            item["audio_features"] = audio_features
        if is_labelled(query):
            rng = draw_generator(self.seed, epoch, query["qid"])
            item["labels"] = make_labels(
                query, len(video_features), query["clip_length"], query["label_rule"], rng, self.max_windows
            )
        return item


class EpochCounter:
    """The current epoch, in shared memory: data loader workers that live on see it change."""

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The current epoch, counted from zero."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch; labels and token dropout are drawn anew for each.

        Call it when an epoch begins, from a callback: the trainer forwards it neither after it resumed within an
        epoch nor with several processes.
        """
        self._epoch.fill_(epoch)


class FeatureDataset(EpochCounter, TorchDataset):
    """The queries of one split, with features read from memory-mapped tables.

    Args:
        queries: Table of queries of one split.
        videos: Table of videos.
        builder: What an item is made of.
        domain: Use the queries of this domain alone (TVSum, YouTube Highlights).

    Raises:
        ValueError: For a backbone that the tables do not have, a domain that does not exist (with the nearest one),
            a query whose video is missing, or a split that is empty.

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

    def __init__(self, queries: Dataset, videos: Dataset, builder: ItemBuilder, domain: str | None = None) -> None:
        super().__init__()
        builder.check_columns(videos.column_names, queries.column_names)
        if domain is not None:
            rows = [{"row": row, "domain": value} for row, value in enumerate(queries["domain"])]
            queries = queries.select([row["row"] for row in select_domain(rows, domain)])
        if len(queries) == 0:
            raise ValueError("The split is empty.")
        self.builder = builder
        self._row_of = {vid: row for row, vid in enumerate(videos["vid"])}
        lost = [vid for vid in queries["vid"] if vid not in self._row_of]
        if lost:
            raise ValueError(f"{len(lost)} queries are of videos that are not in the table: {lost[:10]}.")
        self._annotations = queries.select_columns(annotation_columns(queries.column_names))
        # Columns that are not needed would be read and copied with every row.
        self._queries = queries.select_columns([*annotation_columns(queries.column_names), *builder.text_columns])
        self._videos = videos.select_columns(builder.video_columns)

    @classmethod
    def from_config(
        cls,
        tables: Mapping[str, Dataset],
        split: str,
        config: VideoLightsConfig,
        training: bool = False,
        seed: int = 2018,
        domain: str | None = None,
    ) -> FeatureDataset:
        """The dataset of one split, for a model.

        Args:
            tables: From `build_feature_dataset` or `load_feature_dataset`.
            split: Name of a table of queries.
            config: The model's config: backbones and their order, maximal lengths, audio.
            training: Whether the items are for training, see `ItemBuilder`.
            seed: Seed of the random draws.
            domain: See the class.

        Raises:
            ValueError: For an unknown split; see also the class.
        """
        splits = [name for name in tables if name != VIDEOS]
        if split not in splits:
            raise ValueError(unknown_name("split", split, splits))
        return cls(tables[split], tables[VIDEOS], ItemBuilder.from_config(config, training, seed), domain)

    def __len__(self) -> int:
        return len(self._queries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The item of a query in the current epoch; see `ItemBuilder.build`."""
        return self.item(index, self.epoch)

    def item(self, index: int, epoch: int) -> dict[str, Any]:
        """The item of a query in a given epoch; see `ItemBuilder.build`."""
        query = self._queries[index]
        return self.builder.build(query, self._videos[self._row_of[query["vid"]]], epoch)

    @property
    def annotations(self) -> list[dict[str, Any]]:
        """The annotation rows in the order of the items: the ground truth that metrics are computed against."""
        return [row_to_annotation(row) for row in self._annotations]

    @property
    def lengths(self) -> list[int]:
        """Clips of each item, known without reading features."""
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
        row = table[0]
        found.append([[name, row[f"{prefix}{name}"]["shape"][1]] for name in names])
    return found[0], found[1]
