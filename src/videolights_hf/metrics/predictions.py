"""From a model's outputs on a split to predictions in the submission format."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..common.time_axis import QueryWindow, TimeAxis
from ..inference.moments import Moment, MomentSelection, select_moments, windows_in_seconds
from ..inference.windows import VideoWindow, merge_moments, merge_saliency

# Two windows see a moment in their overlap twice, which the release, without windows, has no rule for: the pipeline's.
_JOINED_NMS_THRESHOLD = 0.7


@dataclass(frozen=True)
class SplitOutputs:
    """A model's outputs on Q queries, padded to the same number of clips L.

    Attributes:
        scores: (Q, M) foreground probability of each moment.
        spans: (Q, M, 2) moments as (center, width) fractions.
        saliency: (Q, L) score of each clip; values after a video's last clip are not read.
        num_clips: (Q,) clips of each video.
    """

    scores: np.ndarray
    spans: np.ndarray
    saliency: np.ndarray
    num_clips: np.ndarray

    def are_finite(self) -> bool:
        """Whether every value of every video is a finite number."""
        inside = np.arange(self.saliency.shape[1]) < self.num_clips[:, None]
        return bool(
            np.isfinite(self.scores).all()
            and np.isfinite(self.spans).all()
            and np.isfinite(self.saliency[inside]).all()
        )


def submission_rows(
    annotations: Sequence[Mapping[str, Any]],
    outputs: SplitOutputs,
    clip_length: float,
    selection: MomentSelection | None,
    windows: Sequence[QueryWindow] | None = None,
) -> list[dict[str, Any]]:
    """Predictions as the released evaluation makes them, one row per query.

    Moments are fractions of the annotated duration, or of what the clips cover where that differs by more than a clip
    (see `TimeAxis`). On moment data, saliency is rounded to float16, in which the release writes and scores it (ties
    count in the metrics); on highlight data (rows with a domain, or a model without moments) it stays float32, as the
    release ranks TVSum and YouTube Highlights.

    Args:
        annotations: Q rows with `qid`, `query`, `vid` and `duration` (seconds).
        outputs: The model's outputs, in the order of the annotations, or of `windows`.
        clip_length: Seconds per clip.
        selection: Which moments are kept; `None` for highlight-only models, which predict none.
        windows: The window of each output, where long videos were seen in windows. The windows of a query follow each
            other; their predictions are joined as by the pipeline (see `inference/windows.py`), with NMS at 0.7 unless
            `selection` has another threshold.

    Returns:
        Rows with `qid`, `query`, `vid`, `pred_relevant_windows` ([start, end, score], best first) if there are
        moments, and `pred_saliency_scores`.

    Raises:
        ValueError: There is not one output for each query, or for each window.
    """
    if windows is None:
        windows = [QueryWindow(row, 0, int(clips)) for row, clips in enumerate(outputs.num_clips)]
    groups = [list(group) for _, group in itertools.groupby(range(len(windows)), key=lambda item: windows[item].row)]
    if len(windows) != len(outputs.scores) or [windows[items[0]].row for items in groups] != [
        *range(len(annotations))
    ]:
        raise ValueError(
            f"{len(outputs.scores)} predictions for {len(annotations)} queries: one for each query is needed."
        )
    rows = []
    for annotation, items in zip(annotations, groups, strict=True):
        seen = [
            _SeenWindow(
                TimeAxis.of_query(annotation, int(outputs.num_clips[item]), clip_length, windows[item].first_clip),
                outputs.spans[item],
                outputs.scores[item],
                outputs.saliency[item, : int(outputs.num_clips[item])],
            )
            for item in items
        ]
        row = {key: annotation[key] for key in ("qid", "query", "vid")}
        if selection is not None:
            moments = _moments_of(seen, selection)
            row["pred_relevant_windows"] = [[moment["start"], moment["end"], moment["score"]] for moment in moments]
        is_highlight_data = selection is None or annotation.get("domain") is not None
        saliency = merge_saliency([window.placed(seen) for window in seen], [window.saliency for window in seen])
        row["pred_saliency_scores"] = saliency.astype(np.float32 if is_highlight_data else np.float16).tolist()
        rows.append(row)
    return rows


@dataclass(frozen=True)
class _SeenWindow:
    """What the model says about one window: spans (M, 2), scores (M,) and saliency (L,)."""

    axis: TimeAxis
    spans: np.ndarray
    scores: np.ndarray
    saliency: np.ndarray

    def placed(self, windows: Sequence[_SeenWindow]) -> VideoWindow:
        """Its place among the windows of the video."""
        return VideoWindow(
            self.axis.first_clip,
            self.axis.num_clips,
            self.axis.start,
            self.axis.seconds,
            is_first=self is windows[0],
            is_last=self is windows[-1],
        )


def _moments_of(windows: Sequence[_SeenWindow], selection: MomentSelection) -> list[Moment]:
    """The selected moments of one video, in its seconds."""
    last = windows[-1].axis
    duration = last.start + last.duration
    if len(windows) == 1:
        only = windows[0]
        found = windows_in_seconds(only.spans, only.scores, only.axis.seconds)
        return select_moments(found, duration, last.clip_length, selection)
    # Rounded within their windows: a window need not begin at a multiple of the clip length.
    within = MomentSelection(max_after_nms=None, round_to_clips=selection.round_to_clips)
    moments = [
        select_moments(
            windows_in_seconds(window.spans, window.scores, window.axis.seconds),
            window.axis.seconds,
            last.clip_length,
            within,
        )
        for window in windows
    ]
    joined = merge_moments([window.placed(windows) for window in windows], moments, last.clip_length)
    found = np.array([(moment["start"], moment["end"], moment["score"]) for moment in joined])
    threshold = _JOINED_NMS_THRESHOLD if selection.nms_threshold is None else selection.nms_threshold
    return select_moments(
        found, duration, last.clip_length, replace(selection, round_to_clips=False, nms_threshold=threshold)
    )
