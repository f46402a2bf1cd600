"""Batches of queries of unequal length: padding, masks and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import default_collate, get_worker_info

from .labels import MAX_WINDOWS, draw_generator

if TYPE_CHECKING:
    from ..models.configuration import DetectorConfig


@dataclass(frozen=True)
class BatchLengths:
    """What every batch is padded to, so that all have one shape.

    Attributes:
        clips: Of each video.
        words: Of each sentence.
        moments: Of each query's labels.
    """

    clips: int
    words: int
    moments: int = MAX_WINDOWS

    @classmethod
    def of(cls, config: DetectorConfig) -> BatchLengths:
        """The most that the model with this config takes."""
        return cls(config.max_video_length, config.max_text_length)


@dataclass
class VideoLightsDataCollator:
    """Pads a list of items (from `FeatureDataset`, or dictionaries of the same layout) into one batch.

    An item holds `video_features` (L, Dv), `text_features` (N, Dt), optionally `audio_features` (L, Da), and
    optionally `labels` with `spans` (K, 2), `saliency` (L,), `positive_clips` (P,) and `negative_clips` (P,), and
    `relevant_clips` (L,). Instead of features it may hold the numbers of their rows in `ResidentFeatures`, (L,) or (N,) of
    int64, which are padded and dropped alike.

    The batch holds `video_features` (B, L, Dv), `video_attention_mask` (B, L) of ones and zeros, `text_features`
    (B, N, Dt), `text_attention_mask` (B, N), `audio_features` (B, L, Da) if the items have them, and, if every item is
    labeled, `labels`: `spans` (B, K, 2), `span_mask` (B, K) bool, `saliency` (B, L), zero on padding, `positive_clips`
    and `negative_clips` (B, P), `relevant_clips` (B, L). K is at least one: a batch of highlight-only rows has one span
    of zeros whose mask is False.

    Args:
        text_dropout: Fraction of the tokens of an item with `training=True` whose features are set to zero. Which
            tokens depends only on (seed, epoch, qid).
        seed: Seed of the token dropout.
        lengths: Pad every batch to these lengths, and not to those of its longest items.

    Raises:
        ValueError: `text_dropout` is not in [0, 1); on a call, an empty batch, or items of which some have labels or
            audio and some do not.
    """

    text_dropout: float = 0.0
    seed: int = 2018
    lengths: BatchLengths | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.text_dropout < 1.0:
            raise ValueError(f"text_dropout must be in [0, 1), got {self.text_dropout}.")

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """See the class."""
        if not items:
            raise ValueError("A batch needs at least one item.")
        lengths = self.lengths or BatchLengths(0, 0, 0)
        batch: dict[str, Any] = {}
        for modality, features, length in (
            ("video", [item["video_features"] for item in items], lengths.clips),
            ("text", [self._text(item) for item in items], lengths.words),
        ):
            padded, mask = _pad(features, length)
            batch[f"{modality}_features"], batch[f"{modality}_attention_mask"] = padded, mask.long()
        if _all_or_none(items, "audio_features"):
            batch["audio_features"], _ = _pad([item["audio_features"] for item in items], lengths.clips)
        if _all_or_none(items, "labels"):
            batch["labels"] = collate_labels([item["labels"] for item in items], lengths)
        return batch

    def _text(self, item: Mapping[str, Any]) -> np.ndarray:
        text = _numbers(item["text_features"])
        dropped = round(len(text) * self.text_dropout) if item.get("training") else 0
        if dropped:
            rng = draw_generator(self.seed, item.get("epoch", 0), item["qid"], purpose="text dropout")
            text = text.copy()
            text[rng.choice(len(text), size=dropped, replace=False)] = 0
        return text


def collate_labels(
    labels: Sequence[Mapping[str, Any]], lengths: BatchLengths = BatchLengths(0, 0, 0)
) -> dict[str, torch.Tensor]:
    """Pad the labels of several queries; shapes as in `VideoLightsDataCollator`.

    Rows with fewer clip pairs than others repeat their own: a batch may mix label rules.
    """
    spans, span_mask = _pad([row["spans"] for row in labels], max(lengths.moments, 1))
    saliency, _ = _pad([row["saliency"] for row in labels], lengths.clips)
    collated = {"spans": spans, "span_mask": span_mask, "saliency": saliency}
    if _all_or_none(labels, "relevant_clips"):
        collated["relevant_clips"], _ = _pad([row["relevant_clips"] for row in labels], lengths.clips)
    if _all_or_none(labels, "positive_clips"):
        pairs = max(len(row["positive_clips"]) for row in labels)
        for key in ("positive_clips", "negative_clips"):
            collated[key] = torch.from_numpy(np.stack([_repeated(row[key], pairs) for row in labels]))
    return collated


def _repeated(clips: Any, length: int) -> np.ndarray:
    clips = np.asarray(clips, dtype=np.int64)
    return clips if len(clips) == length else np.resize(clips, length)


def _numbers(array: Any) -> np.ndarray:
    """Features as float32, or the numbers of their rows."""
    if isinstance(array, torch.Tensor):
        return array.float().numpy()
    kind = np.int64 if getattr(array, "dtype", None) == np.int64 else np.float32
    return np.require(array, kind, ["C", "W"])


def _pad(arrays: Sequence[Any], minimum: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of several arrays in one tensor with zeros behind the shorter ones, and where they are no padding."""
    rows = [_numbers(array) for array in arrays]
    lengths = np.array([len(row) for row in rows])
    longest = max(lengths.max(), minimum)
    padded = _stack([_with_zeros(row, longest) for row in rows])
    return padded, torch.from_numpy(np.arange(longest) < lengths[:, None])


def _stack(rows: Sequence[np.ndarray]) -> torch.Tensor:
    if get_worker_info() is None:
        # Numpy asks for large pages, of which a batch touches few.
        return torch.from_numpy(np.stack(rows))
    # It makes the batch in the memory from which the main process reads it.
    return default_collate([torch.from_numpy(row) for row in rows])


def _with_zeros(row: np.ndarray, length: int) -> np.ndarray:
    if len(row) == length:
        return row
    padded = np.zeros((length, *row.shape[1:]), dtype=row.dtype)
    padded[: len(row)] = row
    return padded


def _all_or_none(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    have = [row.get(key) is not None for row in rows]
    if any(have) and not all(have):
        missing = [row.get("qid", index) for index, row in enumerate(rows) if not have[index]]
        raise ValueError(f"Some items of the batch have {key!r}, these do not: {missing[:10]}.")
    return all(have)
