"""One item of training or evaluation: features and labels of a query, and the windows of long videos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from ..common.time_axis import QueryWindow, TimeAxis
from ..inference.inputs import join_text_features, join_video_features
from ..inference.windows import plan_windows
from .annotations import LABEL_FIELDS, is_labeled
from .labels import MAX_WINDOWS, Labels, draw_generator, make_labels
from .tables import (
    AUDIO,
    TEXT_PREFIX,
    VIDEO_PREFIX,
    decode_array,
)

if TYPE_CHECKING:
    from ..models.configuration import DetectorConfig


_QUERY_COLUMNS = ("qid", "vid", "duration", "clip_length", "label_rule", *LABEL_FIELDS)


class ItemFeatures(NamedTuple):
    """What a model sees of a query and its video: features, or the numbers of their rows in `ResidentFeatures`.

    Attributes:
        video: float32 (L, Dv), with the temporal channels; or int64 (L,).
        text: float32 (N, Dt); or int64 (N,).
        audio: float32 (L, Da), if the model takes audio; or int64 (L,).
    """

    video: np.ndarray
    text: np.ndarray
    audio: np.ndarray | None


class _BareItem(TypedDict):
    qid: int | str
    vid: str
    epoch: int
    training: bool
    video_features: np.ndarray
    text_features: np.ndarray


class Item(_BareItem, total=False):
    """A training or evaluation item: one query and what the model sees of its video.

    In a dataset of `ResidentFeatures` features are the numbers of their rows, int64 (L,) and (N,).

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

    @property
    def query_columns(self) -> list[str]:
        """Columns of a table of queries that are needed."""
        return [*_QUERY_COLUMNS, *self.text_columns]

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
        return self.complete(query, self.features(query, video, first_clip), epoch, first_clip)

    def features(self, query: Mapping[str, Any], video: Mapping[str, Any], first_clip: int = 0) -> ItemFeatures:
        """What the model sees of a query and its video, which is the same in every epoch; arguments as of `build`."""
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
        text_features = join_text_features(tokens, self.text_backbones, max_length=self.max_text_length)
        return ItemFeatures(video_features, text_features, audio_features)

    def complete(self, query: Mapping[str, Any], features: ItemFeatures, epoch: int, first_clip: int = 0) -> Item:
        """The item of features, or of the numbers of their rows, with the labels of an epoch; arguments as of `build`."""
        item: Item = {
            "qid": query["qid"],
            "vid": query["vid"],
            "epoch": epoch,
            "training": self.training,
            "video_features": features.video,
            "text_features": features.text,
        }
        if features.audio is not None:
            item["audio_features"] = features.audio
        if is_labeled(query):
            item["labels"] = self._labels(query, len(features.video), epoch, first_clip)
        return item

    def num_clips(self, video: Mapping[str, Any], first_clip: int = 0) -> int:
        """How many clips of a video the model sees from one on, known without reading features."""
        shortest = min(video[column]["shape"][0] for column in self.video_columns[1:])
        return min(self.max_video_length, shortest - first_clip)

    def num_tokens(self, query: Mapping[str, Any]) -> int:
        """How many words of a query the model sees, known without reading features."""
        return min(self.max_text_length, *(query[column]["shape"][0] for column in self.text_columns))

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
