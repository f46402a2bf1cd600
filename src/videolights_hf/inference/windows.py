"""Videos of any length: overlapping windows over the clips, and one timeline made of the windows' predictions.

A model sees at most `config.max_video_length` clips at once (75 clips of 2 s: 150 s). A longer video is handled like this:

1. **Windows.** Windows of exactly `max_video_length` clips start every `stride` clips (by default half a window, so
   that every instant but the first and last half window is seen twice). The last window is shifted back to end with
   the video, so every window is full, as in training. Each window is a video of its own to the model: its two
   temporal channels run from 0 to 1 over the window. A video that fits into one window gives exactly what the model
   predicts for it: nothing below changes a single window.
2. **Saliency.** A clip's score is the weighted mean over the windows that hold it. Weights fall off linearly from the
   middle of a window to its borders, where the model lacks context, so the curve fades from one window to the next.
3. **Moments** are put on the video's time axis, in seconds. A moment is *cut* where it reaches (to within one clip) a
   window border that is not a border of the video. Two moments of successive windows, at least one of them cut by
   the border inside the other's window, are the same moment if their parts inside the time that both windows see
   have a temporal IoU of at least 0.5. They are joined: if one window sees the moment whole, its start and end are
   kept, else the start comes from the earlier window and the end from the later one, so a moment longer than the
   overlap, or than a window, is found in one piece. The score is the mean of the two scores, weighted by the length
   that each window saw. Pairs are joined in order of their scores; a cut moment whose partner is already joined with
   a better one adds nothing and is dropped. A moment without a partner stays as its window gave it.
4. **Temporal NMS** over all moments, by the caller, removes what two windows both saw whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..common.intervals import temporal_iou
from .moments import Moment

SAME_MOMENT_IOU = 0.5


@dataclass(frozen=True)
class VideoWindow:
    """A run of consecutive clips that the model sees as one video.

    Attributes:
        first_clip: Index of its first clip in the video.
        num_clips: How many clips it holds.
        start: Time of its first clip in the video, in seconds.
        duration: Its length in seconds.
        is_first: Whether it starts with the video, so that its left border cuts nothing.
        is_last: Whether it ends with the video, so that its right border cuts nothing.
    """

    first_clip: int
    num_clips: int
    start: float
    duration: float
    is_first: bool
    is_last: bool

    @property
    def end(self) -> float:
        """Its end in the video, in seconds."""
        return self.start + self.duration

    @property
    def clips(self) -> slice:
        """The rows of the video's feature matrices, shape (num_clips, dim), that it covers."""
        return slice(self.first_clip, self.first_clip + self.num_clips)


def plan_windows(
    num_clips: int, clip_length: float, duration: float, max_clips: int, stride: int | None = None
) -> list[VideoWindow]:
    """Cover a video with windows of at most `max_clips` clips.

    Args:
        num_clips: Clips in the video.
        clip_length: Seconds per clip.
        duration: Length of the video in seconds. The last window ends there.
        max_clips: Clips per window, `config.max_video_length`.
        stride: Clips between the starts of two windows; half a window by default.

    Returns:
        The windows in order of time: one that holds everything if the video fits, else full windows only.

    Raises:
        ValueError: There are no clips, the stride would leave gaps, or the duration differs from
            `num_clips * clip_length` by more than two clips, so that the time of a clip is not known.
    """
    if num_clips < 1:
        raise ValueError("The video has no clips: its features are empty.")
    if stride is None:
        stride = max(1, max_clips // 2)
    if not 1 <= stride <= max_clips:
        raise ValueError(f"stride must be between 1 and the {max_clips} clips of a window, got {stride}.")
    check_duration(num_clips, clip_length, duration)
    if num_clips <= max_clips:
        return [VideoWindow(0, num_clips, 0.0, duration, is_first=True, is_last=True)]
    last_start = num_clips - max_clips
    windows = []
    for first_clip in [*range(0, last_start, stride), last_start]:
        start = first_clip * clip_length
        is_last = first_clip == last_start
        windows.append(
            VideoWindow(
                first_clip,
                max_clips,
                start,
                duration - start if is_last else max_clips * clip_length,
                is_first=first_clip == 0,
                is_last=is_last,
            )
        )
    return windows


def check_duration(num_clips: int, clip_length: float, duration: float) -> None:
    """Check that clips cover a video to within two of them.

    Raises:
        ValueError: They do not.
    """
    if not abs(num_clips * clip_length - duration) <= 2 * clip_length:
        raise ValueError(
            f"{num_clips} clips of {clip_length:g} s make {num_clips * clip_length:g} s, but the video's duration is "
            f"given as {duration:g} s. Pass the duration and the clip length that the features were extracted with."
        )


def merge_saliency(windows: Sequence[VideoWindow], saliency: Sequence[np.ndarray]) -> np.ndarray:
    """Make one saliency curve of the windows' curves.

    Args:
        windows: The windows of the video, as `plan_windows` gave them.
        saliency: For each window an array (num_clips,).

    Returns:
        Array (clips of the video,), the mean of the windows' scores with weights that fall off linearly from the
        middle of a window to its borders.
    """
    if len(windows) == 1:
        return np.asarray(saliency[0])
    num_clips = max(window.clips.stop for window in windows)
    total = np.zeros(num_clips)
    weight = np.zeros(num_clips)
    for window, scores in zip(windows, saliency, strict=True):
        distance = np.arange(1, window.num_clips + 1)
        window_weight = np.minimum(distance, distance[::-1])
        total[window.clips] += window_weight * scores
        weight[window.clips] += window_weight
    return total / weight


@dataclass(frozen=True)
class _Candidate:
    """A moment with the stretch of time (`seen_from`, `seen_to`) that the windows behind it see, all in seconds."""

    start: float
    end: float
    score: float
    seen_from: float
    seen_to: float
    cut_left: bool
    cut_right: bool


def merge_moments(
    windows: Sequence[VideoWindow], moments: Sequence[Sequence[Moment]], clip_length: float
) -> list[Moment]:
    """Put the windows' moments on the video's time axis and join those that a window border cut.

    Args:
        windows: The windows of the video, as `plan_windows` gave them.
        moments: For each window its moments, in seconds from the window's start.
        clip_length: Seconds per clip: a moment that ends less than this before an inner border counts as cut there.

    Returns:
        All moments, in seconds of the video, by score, highest first. Moments that several windows saw whole are all
        there: temporal NMS is left to the caller. The moments of a single window are returned as they are.
    """
    if len(windows) == 1:
        return list(moments[0])
    merged: list[_Candidate] = []
    previous: list[_Candidate] = []
    for window, window_moments in zip(windows, moments, strict=True):
        candidates = [_to_candidate(window, moment, clip_length) for moment in window_moments]
        final, previous = _join(previous, candidates)
        merged += final
    merged += previous
    merged.sort(key=lambda candidate: -candidate.score)
    return [{"start": item.start, "end": item.end, "score": item.score} for item in merged]


def _to_candidate(window: VideoWindow, moment: Moment, clip_length: float) -> _Candidate:
    start = window.start + min(max(moment["start"], 0.0), window.duration)
    end = window.start + min(max(moment["end"], 0.0), window.duration)
    return _Candidate(
        start=start,
        end=end,
        score=moment["score"],
        seen_from=window.start,
        seen_to=window.end,
        cut_left=not window.is_first and start - window.start < clip_length,
        cut_right=not window.is_last and window.end - end < clip_length,
    )


def _join(earlier: list[_Candidate], later: list[_Candidate]) -> tuple[list[_Candidate], list[_Candidate]]:
    """Join the moments of a window with those of the next one.

    Returns:
        The earlier moments without a partner, which are final (the next window, which knows them best, did not
        confirm them; one still further away sees less of them), and those that the window after may continue.
    """
    pairs = np.argwhere(_same_moment(earlier, later)).tolist()
    pairs.sort(key=lambda pair: -earlier[pair[0]].score * later[pair[1]].score)
    used_earlier: set[int] = set()
    used_later: set[int] = set()
    joined = []
    for first, second in pairs:
        before, after = earlier[first], later[second]
        if first not in used_earlier and second not in used_later:
            joined.append(_join_pair(before, after))
            used_earlier.add(first)
            used_later.add(second)
        elif before.cut_right and second in used_later:
            used_earlier.add(first)
        elif after.cut_left and first in used_earlier:
            used_later.add(second)
    final = [item for index, item in enumerate(earlier) if index not in used_earlier]
    return final, joined + [item for index, item in enumerate(later) if index not in used_later]


def _same_moment(earlier: list[_Candidate], later: list[_Candidate]) -> np.ndarray:
    """Which moments of two successive windows are the same one, (earlier, later) bool."""
    if not earlier or not later:
        return np.zeros((len(earlier), len(later)), dtype=bool)
    # All moments of a window, and those joined with one of them, are seen to its end.
    both_see = later[0].seen_from, earlier[0].seen_to
    first, second = (
        np.array([[item.start, item.end] for item in items]).clip(*both_see) for items in (earlier, later)
    )
    cut = np.array([item.cut_right for item in earlier])[:, None] | np.array([item.cut_left for item in later])
    return cut & (temporal_iou(first, second) >= SAME_MOMENT_IOU)


def _join_pair(before: _Candidate, after: _Candidate) -> _Candidate:
    length_before, length_after = before.end - before.start, after.end - after.start
    score = (before.score * length_before + after.score * length_after) / (length_before + length_after)
    if not before.cut_right:
        start, end, cut_right = before.start, before.end, False
    elif not after.cut_left:
        start, end, cut_right = after.start, after.end, after.cut_right
    else:
        start, end, cut_right = before.start, after.end, after.cut_right
    return replace(before, start=start, end=end, score=score, seen_to=after.seen_to, cut_right=cut_right)
