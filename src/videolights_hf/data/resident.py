"""Features that lie on the device for a whole run, so that no step waits for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .dataset import FeatureDataset
from .items import ItemFeatures

_GIB = 2**30
# The part of the free memory that features may take: the model and its steps need the rest.
_MOST = 0.9


class ResidentFeatures:
    """All features of some datasets in one float32 table on a device for each modality.

    The items of `datasets` hold the numbers of their rows instead of features, and so do the batches that
    `VideoLightsDataCollator` makes of them; `look_up` puts the features in their place, on the device. What the model sees is
    the same to the bit. Row 0 of a table is zeros: padding and dropped tokens, which are zeros, have its number.

    Args:
        datasets: Datasets of one model; they stay as they are.
        device: Where the features are put.

    Attributes:
        datasets: The same datasets in the same order, with numbers of rows.

    Raises:
        ValueError: A dataset is streamed, its features are damaged, or the device has too little free memory.

    Example:

    ```python
    >>> from videolights_hf import VideoLightsConfig
    >>> from videolights_hf.data import FeatureDataset, VideoLightsDataCollator, load_feature_dataset, table_backbones
    >>> from videolights_hf.data.resident import ResidentFeatures

    >>> tables = load_feature_dataset("data/qvhighlights")
    >>> video_backbones, text_backbones = table_backbones(tables)
    >>> config = VideoLightsConfig(video_backbones=video_backbones, text_backbones=text_backbones)
    >>> train = FeatureDataset.from_config(tables, "train", config, training=True)
    >>> resident = ResidentFeatures([train], "cpu")
    >>> (numbered,) = resident.datasets
    >>> batch = resident.look_up(VideoLightsDataCollator()([numbered[0], numbered[1]]))
    >>> batch["video_features"].shape[2] == config.video_dim
    True
    ```
    """

    def __init__(self, datasets: Sequence[FeatureDataset], device: str | torch.device) -> None:
        for dataset in datasets:
            if not isinstance(dataset, FeatureDataset):
                raise ValueError(
                    f"{type(dataset).__name__} cannot keep its features on the device, only FeatureDataset can: leave "
                    "resident_features out."
                )
        self.device = torch.device(device)
        self._tables: dict[str, torch.Tensor] = {}
        self.datasets: list[FeatureDataset] = []
        if not datasets:
            return
        # Row 0 is the zeros.
        rows = {"video": 1, "text": 1}
        for dataset in datasets:
            items = range(len(dataset))
            one_of_each = {dataset.video_window(index): index for index in items}.values()
            rows["video"] += sum(map(dataset.num_clips, one_of_each))
            rows["text"] += sum(map(dataset.num_tokens, items))
        first = datasets[0].features(0)
        shapes = {"video": (rows["video"], first.video.shape[1]), "text": (rows["text"], first.text.shape[1])}
        if first.audio is not None:
            shapes["audio"] = (rows["video"], first.audio.shape[1])
        self._check_memory(shapes)
        self._tables = {name: torch.zeros(shape, device=self.device) for name, shape in shapes.items()}
        self._next = {"video": 1, "text": 1}
        self.datasets = [dataset.with_rows(self._put(dataset)) for dataset in datasets]

    def look_up(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """A batch with features in place of the numbers of their rows, and unchanged where it has features already."""
        found = dict(batch)
        for modality, table in self._tables.items():
            numbers = found.get(f"{modality}_features")
            if numbers is not None and not numbers.is_floating_point():
                found[f"{modality}_features"] = functional.embedding(numbers.to(self.device), table)
        return found

    def _check_memory(self, shapes: Mapping[str, tuple[int, int]]) -> None:
        if self.device.type != "cuda":
            return
        free, needed = torch.cuda.mem_get_info(self.device)[0], 4 * sum(map(math.prod, shapes.values()))
        if needed > _MOST * free:
            raise ValueError(
                f"The features take {needed / _GIB:.1f} GiB, and {self.device} has {free / _GIB:.1f} GiB free, of which a "
                "step needs some: leave resident_features out."
            )

    def _put(self, dataset: FeatureDataset) -> list[ItemFeatures]:
        """Copy a dataset's features; the rows of each of its items."""
        rows_of_videos: dict[tuple[str, int], np.ndarray] = {}
        items = []
        for index in range(len(dataset)):
            window = dataset.video_window(index)
            features = dataset.features(index)
            if window not in rows_of_videos:
                rows_of_videos[window] = self._write("video", features.video)
                if features.audio is not None:
                    # Clip by clip beside the video's.
                    first, last = rows_of_videos[window][[0, -1]]
                    self._tables["audio"][first : last + 1] = torch.from_numpy(features.audio)
            video = rows_of_videos[window]
            text = self._write("text", features.text)
            items.append(ItemFeatures(video, text, None if features.audio is None else video))
        return items

    def _write(self, modality: str, rows: np.ndarray) -> np.ndarray:
        first, end = self._next[modality], self._next[modality] + len(rows)
        self._tables[modality][first:end] = torch.from_numpy(rows)
        self._next[modality] = end
        return np.arange(first, end, dtype=np.int64)
