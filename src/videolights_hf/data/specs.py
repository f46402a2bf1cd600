"""What differs between the datasets, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..common.messages import unknown_name


@dataclass(frozen=True)
class DatasetSpec:
    """Everything that sets one dataset apart from another.

    Attributes:
        clip_length: Seconds per clip.
        label_rule: A key of `videolights_hf.data.LABEL_RULES`, or `"auto"`: each row is labeled by what it has
            (`saliency_scores`, `label`, or only windows).
        video_patterns: Alternatives for the names (without ending) of a video's feature files, `{id}` being the
            vid. An alternative of several names is concatenated along the feature axis.
        text_patterns: Alternatives for the names of a query's feature file, `{id}` being the qid.
        text_keys: Array names to look for in a query's `.npz`, in this order.
    """

    name: str
    clip_length: float
    label_rule: str
    video_patterns: tuple[tuple[str, ...], ...] = (("{id}",),)
    text_patterns: tuple[str, ...] = ("{id}",)
    text_keys: tuple[str, ...] = ("last_hidden_state",)

    def __post_init__(self) -> None:
        if not 0 < self.clip_length < math.inf:
            raise ValueError(f"A clip length is a positive number of seconds, got {self.clip_length}.")

    def rule_for(self, annotation: Mapping[str, Any]) -> str:
        """The label rule of one row: `label_rule`, or for `"auto"` the one that fits what the row has."""
        if self.label_rule != "auto":
            return self.label_rule
        if annotation.get("label"):
            return "binary" if len(annotation["label"][0]) == 1 else "annotators"
        return "graded" if annotation.get("saliency_scores") else "window"


_RGB_AND_FLOW = ("{id}_rgb", "{id}_opt")

DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec("qvhighlights", 2.0, "graded", text_patterns=("qid{id}",)),
        DatasetSpec("charades_sta", 1.0, "window", text_patterns=("qid{id}",)),
        DatasetSpec("tacos", 2.0, "window"),
        DatasetSpec(
            "tvsum",
            2.0,
            "annotators",
            video_patterns=(("{id}",), _RGB_AND_FLOW),
            text_keys=("token", "last_hidden_state"),
        ),
        DatasetSpec("youtube_highlights", 1.0, "binary"),
        DatasetSpec("pretraining", 2.0, "window", text_patterns=("qid{id}",)),
        DatasetSpec("pretraining_scores", 2.0, "scores", text_patterns=("qid{id}",)),
        DatasetSpec("pretraining_similarities", 2.0, "similarities", text_patterns=("qid{id}",)),
        DatasetSpec(
            "custom",
            2.0,
            "auto",
            video_patterns=(("{id}",), _RGB_AND_FLOW),
            text_patterns=("qid{id}", "{id}"),
            text_keys=("last_hidden_state", "token"),
        ),
    )
}


def get_dataset_spec(dataset: str | DatasetSpec) -> DatasetSpec:
    """The spec of a dataset by name; a `DatasetSpec` is returned as it is.

    Raises:
        ValueError: Unknown name; the message names the nearest known one.
    """
    if isinstance(dataset, DatasetSpec):
        return dataset
    if dataset not in DATASETS:
        raise ValueError(unknown_name("dataset", dataset, DATASETS))
    return DATASETS[dataset]
