"""The features of one video, in memory and in a file."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..common.files import parse_json, written_aside

_PREFIX = "features/"


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video as the backbones gave them, not normalized.

    Attributes:
        features: For each backbone an array (L, D), one row per clip.
        duration: Length of the video in seconds.
        clip_length: Seconds per clip. The processor's clip length, or less for a video shorter than that.
        frame_sampling: For each backbone, which frames of a clip it looked at, if that is known: `"even"`, spread over
            the clip, or `"30fps"`, as the published SlowFast features were made. Processors refuse features that were
            made in another way than their backbone's.

    Raises:
        ValueError: There are no features, or duration or clip length is not a positive number.

    Example:

    ```python
    >>> import tempfile

    >>> video = VideoFeatures({"clip": np.zeros((5, 512), np.float32)}, duration=10.0, clip_length=2.0)
    >>> path = os.path.join(tempfile.mkdtemp(), "video.npz")
    >>> video.save(path)
    >>> VideoFeatures.load(path).num_clips
    5

    ```
    """

    features: dict[str, np.ndarray]
    duration: float
    clip_length: float
    frame_sampling: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("`features` is empty: give the features of at least one backbone.")
        for name in ("duration", "clip_length"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"`{name}` must be a positive number of seconds, got {value}.")

    @property
    def num_clips(self) -> int:
        """Clips that all backbones have features for."""
        return min(len(array) for array in self.features.values())

    def with_shared_clips(self) -> VideoFeatures:
        """The same video, cut to the clips that all backbones have, which share its duration.

        Of a video shorter than a clip, backbones make different numbers of clips; the release cuts them so.
        """
        num_clips = self.num_clips
        features = {name: array[:num_clips] for name, array in self.features.items()}
        return replace(self, features=features, clip_length=self.duration / num_clips)

    def save(self, path: str | os.PathLike) -> None:
        """Write the features to an `.npz` file, from which the video can be queried again. It appears whole or not at all.

        Raises:
            OSError: The file cannot be written.
        """
        arrays: dict[str, Any] = {f"{_PREFIX}{name}": np.asarray(array) for name, array in self.features.items()}
        arrays["duration"], arrays["clip_length"] = np.float64(self.duration), np.float64(self.clip_length)
        arrays["frame_sampling"] = np.array(json.dumps(dict(self.frame_sampling)))
        with written_aside(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> VideoFeatures:
        """Read what `save` wrote. Nothing is unpickled, and no more memory is taken than the file is large.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is damaged or is not a feature file of a video.
        """
        try:
            return cls(**_read(path))
        except FileNotFoundError:
            raise
        # What a damaged archive raises depends on where the damage is.
        except Exception as error:
            raise ValueError(
                f"{os.fspath(path)} cannot be read as the features of a video ({type(error).__name__}: {error}). Write "
                "it again with `VideoFeatures.save`."
            ) from error


def _read(path: str | os.PathLike) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")
    with np.load(path, allow_pickle=False) as arrays:
        features = {name.removeprefix(_PREFIX): arrays[name] for name in arrays.files if name.startswith(_PREFIX)}
        for name, array in features.items():
            if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
                raise ValueError(f"the features of {name} are {array.dtype} of shape {array.shape}")
        sampling = parse_json(str(arrays["frame_sampling"]))
        if not isinstance(sampling, dict) or not all(isinstance(value, str) for value in sampling.values()):
            raise ValueError(f"its frame_sampling is {sampling!r}")
        return {
            "features": features,
            "duration": float(arrays["duration"]),
            "clip_length": float(arrays["clip_length"]),
            "frame_sampling": sampling,
        }


__all__ = ["VideoFeatures"]
