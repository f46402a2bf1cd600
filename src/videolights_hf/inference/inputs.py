"""From the backbones' features to the model's inputs: checks, normalization, alignment, temporal channels, padding."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

# Backbones disagree by a clip at a video's end; more than this many points to features of different videos.
USUAL_LENGTH_DIFFERENCE = 2
# More than a usual video has, and few enough that a long one takes little memory beside its features.
_VALUES_AT_ONCE = 2**18


def is_one_video(videos: Any) -> bool:
    """Whether this is one video, not a list of several; a list of pictures is one video."""
    if not isinstance(videos, (list, tuple)):
        return True
    return bool(videos) and (hasattr(videos[0], "convert") or getattr(videos[0], "ndim", None) == 3)


def l2_normalize(features: np.ndarray) -> np.ndarray:
    """Divide each row by its Euclidean norm plus 1e-5.

    Args:
        features: (..., D).

    Returns:
        (..., D) float32. A row of zeros stays zero.
    """
    features = np.asarray(features, dtype=np.float32)
    return (features / _divisors(features)[0]).astype(np.float32, copy=False)


def temporal_channels(num_clips: int) -> np.ndarray:
    """Start and end of each clip as fractions of the video.

    Returns:
        (num_clips, 2) float32 with rows [i / L, (i + 1) / L].
    """
    starts = np.arange(num_clips, dtype=np.float32) / num_clips
    return np.stack([starts, starts + np.float32(1 / num_clips)], axis=1)


def join_video_features(
    features: Mapping[str, Any],
    backbones: Sequence[Sequence],
    *,
    max_length: int,
    label: str = "the video",
    audio: Any = None,
    audio_dim: int = 0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Make one video's model input from its backbones' features.

    Each backbone's rows are L2-normalized on their own; all are cut to the shortest, and to `max_length` with a
    warning; then they are concatenated in the order of `backbones`, and the temporal channels appended.

    Args:
        features: For each backbone an array (L, D).
        backbones: Pairs of name and width, in channel order.
        max_length: Keep at most this many clips.
        label: Name of the video in errors and warnings.
        audio: Audio features (L, `audio_dim`), or `None`.
        audio_dim: Width of the audio features.

    Returns:
        (L, sum of widths + 2) float32, and the audio features, normalized and of the same length, or `None`.

    Raises:
        ValueError: A backbone is missing or unknown; features are empty, of the wrong width, or not finite.
    """
    rows = _checked_features(features, backbones, label, "clip")
    if audio is not None:
        rows["audio"] = _checked_matrix(audio, audio_dim, f"The audio features of {label}", "clip")
    lengths = {name: len(found.rows) for name, found in rows.items()}
    shortest = min(lengths.values())
    if max(lengths.values()) - shortest > USUAL_LENGTH_DIFFERENCE:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        warnings.warn(
            f"The features of {label} differ in length ({listed} clips): all are cut to {shortest}. Check that they "
            "are of the same video and clip length.",
            stacklevel=2,
        )
    if shortest > max_length:
        warnings.warn(
            f"The features of {label} have {shortest} clips, the model sees {max_length} at once: the rest is cut "
            "off, and times are those of the part that is left. The pipeline runs longer videos in windows.",
            stacklevel=2,
        )
    length = min(shortest, max_length)
    track = rows.pop("audio", None) if audio is not None else None
    normalized_audio = None if track is None else _normalized([track], length)
    joined = _normalized(list(rows.values()), length, extra_columns=2)
    joined[:, -2:] = temporal_channels(length)
    return joined, normalized_audio


def join_text_features(
    features: Mapping[str, Any], backbones: Sequence[Sequence], *, max_length: int, label: str = "the sentence"
) -> np.ndarray:
    """Make one sentence's model input from its text encoders' token features.

    Each encoder's rows are L2-normalized on their own, cut to the shortest encoder's (tokenizers differ) and to
    `max_length` with a warning, and concatenated in the order of `backbones`.

    Args:
        features: For each text encoder an array (N, D).
        backbones: Pairs of name and width, in channel order.
        max_length: Keep at most this many tokens.
        label: Name of the sentence in errors and warnings.

    Returns:
        (N, sum of widths) float32.

    Raises:
        ValueError: An encoder is missing or unknown; features are empty, of the wrong width, or not finite.
    """
    rows = _checked_features(features, backbones, label, "token")
    shortest = min(len(found.rows) for found in rows.values())
    if shortest > max_length:
        warnings.warn(
            f"The features of {label} have {shortest} tokens, the model reads {max_length}: the rest is cut off.",
            stacklevel=2,
        )
    return _normalized(list(rows.values()), min(shortest, max_length))


def make_video_batch(
    videos: Sequence[Mapping[str, Any]],
    backbones: Sequence[Sequence],
    *,
    max_length: int,
    audio: Sequence | None = None,
    audio_dim: int = 0,
) -> dict[str, np.ndarray]:
    """Join and pad the features of several videos.

    Args:
        videos: For each video its features, as `join_video_features` takes them.
        backbones: Pairs of name and width, in channel order.
        max_length: Keep at most this many clips.
        audio: For each video its audio features (L, `audio_dim`).
        audio_dim: Width of the audio features; 0 for none.

    Returns:
        `video_features` (B, L, Dv), `video_attention_mask` (B, L), and `audio_features` (B, L, `audio_dim`) if there are.

    Raises:
        ValueError: No videos; audio missing or out of place; features that do not fit.
    """
    if not videos:
        raise ValueError("`videos` is an empty list: give at least one video.")
    if (audio is not None) != bool(audio_dim):
        expected = f"audio features of width {audio_dim}" if audio_dim else "no audio features"
        raise ValueError(f"The processor expects {expected}: {'none' if audio is None else 'some'} were given.")
    tracks = [None] * len(videos) if audio is None else list(audio)
    if len(tracks) != len(videos):
        raise ValueError(f"{len(videos)} videos came with {len(tracks)} arrays of audio features.")
    joined = [
        join_video_features(
            video, backbones, max_length=max_length, label=f"video {index}", audio=track, audio_dim=audio_dim
        )
        for index, (video, track) in enumerate(zip(videos, tracks, strict=True))
    ]
    features, mask = pad_rows([video for video, _ in joined])
    batch = {"video_features": features, "video_attention_mask": mask}
    if audio is not None:
        batch["audio_features"], _ = pad_rows([track for _, track in joined if track is not None])
    return batch


def make_text_batch(
    sentences: Sequence[Mapping[str, Any]], backbones: Sequence[Sequence], *, max_length: int
) -> dict[str, np.ndarray]:
    """Join and pad the token features of several sentences.

    Args:
        sentences: For each sentence its features, as `join_text_features` takes them.
        backbones: Pairs of name and width, in channel order.
        max_length: Keep at most this many tokens.

    Returns:
        `text_features` (B, N, Dt) and `text_attention_mask` (B, N).

    Raises:
        ValueError: No sentences, or features that do not fit.
    """
    if not sentences:
        raise ValueError("`text` is an empty list: give at least one sentence.")
    features, mask = pad_rows(
        [
            join_text_features(sentence, backbones, max_length=max_length, label=f"sentence {index}")
            for index, sentence in enumerate(sentences)
        ]
    )
    return {"text_features": features, "text_attention_mask": mask}


def pair_up(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Repeat a single video for several sentences, or a single sentence for several videos.

    Raises:
        ValueError: There are several of both, and not the same number.
    """
    num_videos, num_sentences = len(batch["video_features"]), len(batch["text_features"])
    if num_videos != num_sentences and 1 not in (num_videos, num_sentences):
        raise ValueError(
            f"{num_videos} videos and {num_sentences} sentences do not pair up: give as many sentences as videos, or "
            "one of either."
        )
    size = max(num_videos, num_sentences)
    return {name: array if len(array) == size else np.repeat(array, size, axis=0) for name, array in batch.items()}


def pad_rows(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Stack matrices of different lengths, with zeros behind the shorter ones.

    Args:
        arrays: (L_b, D) each.

    Returns:
        (B, max L, D) of the arrays' dtype, and the mask (B, max L), int64, 1 on rows that are not padding.
    """
    longest = max(len(array) for array in arrays)
    padded = np.zeros((len(arrays), longest, arrays[0].shape[1]), dtype=arrays[0].dtype)
    mask = np.zeros((len(arrays), longest), dtype=np.int64)
    for index, array in enumerate(arrays):
        padded[index, : len(array)] = array
        mask[index, : len(array)] = 1
    return padded, mask


def _checked_features(
    features: Mapping[str, Any], backbones: Sequence[Sequence], label: str, row: str
) -> dict[str, _Matrix]:
    names = [name for name, _ in backbones]
    problems = [
        f"{kind}: {', '.join(found)}"
        for kind, found in (
            ("missing", [name for name in names if name not in features]),
            ("unknown", [name for name in features if name not in names]),
        )
        if found
    ]
    if problems:
        raise ValueError(f"The features of {label} must come from {', '.join(names)} ({'; '.join(problems)}).")
    return {
        name: _checked_matrix(features[name], width, f"The {name} features of {label}", row)
        for name, width in backbones
    }


def _checked_matrix(features: Any, width: int, what: str, row: str) -> _Matrix:
    """Features of `width` columns, or an error that begins with `what`; a row is a clip or a token."""
    array = np.asarray(features.detach().cpu().float() if hasattr(features, "detach") else features)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{what} hold {array.dtype}, not numbers.")
    if array.ndim != 2:
        raise ValueError(f"{what} have the shape {array.shape}, expected one row per {row} and {width} columns.")
    if len(array) == 0:
        raise ValueError(f"{what} are empty: they hold no {row}.")
    if array.shape[1] != width:
        raise ValueError(
            f"{what} are {array.shape[1]} wide, expected {width}: they come from another model, or under a wrong name."
        )
    return _Matrix(array, what, row)


class _Matrix(NamedTuple):
    """Features (L, D) of the right shape, what errors call them, and what a row is: a clip or a token."""

    rows: np.ndarray
    what: str
    row: str

    def check_finite(self, rows: np.ndarray) -> None:
        """Check that some of the rows, as float32, hold nothing but numbers."""
        if np.isfinite(rows).all():
            return
        # The cast turns float64 numbers beyond float32 into infinity.
        with np.errstate(over="ignore"):
            bad = np.flatnonzero(~np.isfinite(self.rows.astype(np.float32)).all(axis=1))
        raise ValueError(
            f"{self.what} hold NaN or infinite values in {len(bad)} of {len(self.rows)} rows, first in {self.row} "
            f"{bad[0]}. Extract them again."
        )

    def normalize_into(self, target: np.ndarray) -> None:
        """Write the first rows, normalized, to `target`, and check them all."""
        step = max(1, _VALUES_AT_ONCE // self.rows.shape[1])
        for first in range(0, len(self.rows), step):
            rows = _float32(self.rows[first : first + step])
            divisors, is_finite = _divisors(rows)
            if not is_finite:
                self.check_finite(rows)
            kept = target[first : first + step]
            np.divide(rows[: len(kept)], divisors[: len(kept)], out=kept, casting="same_kind")


def _float32(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.float16:
        # Torch converts with the processor's own instructions, which takes a tenth of the time.
        half = torch.empty(array.shape, dtype=torch.float16)
        half.numpy()[...] = array
        return half.float().numpy()
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def _divisors(rows: np.ndarray) -> tuple[np.ndarray, bool]:
    """The norm of each row plus 1e-5, (..., D) float32 to (..., 1), and whether all squares are finite in float32."""
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.add.reduce(np.square(rows), axis=-1, keepdims=True))
    is_finite = bool(np.isfinite(norms).all())
    if not is_finite:
        # Squares of float32 numbers above 1.8e19 overflow.
        norms = np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)
    return norms + 1e-5, is_finite


def _normalized(matrices: Sequence[_Matrix], length: int, extra_columns: int = 0) -> np.ndarray:
    """The first `length` rows of several features, normalized, side by side, and empty columns behind them."""
    width = sum(matrix.rows.shape[1] for matrix in matrices)
    joined = np.empty((length, width + extra_columns), dtype=np.float32)
    start = 0
    for matrix in matrices:
        end = start + matrix.rows.shape[1]
        matrix.normalize_into(joined[:, start:end])
        start = end
    return joined
