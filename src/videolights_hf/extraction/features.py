"""The features of an extracted video, to be queried without the video."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..backbones.features import VideoFeatures
from ..common.files import read_json_object
from ..data.features import FeatureFileError, feature_files, read_features
from ..data.provenance import EXTRACTION_FILE
from ..video.sampling import UNMARKED_SAMPLING

DURATION_KEY = "duration"
CLIP_LENGTH_KEY = "clip_length"
_ENDING = "_features"
_TEXT_ENDING = "_text_features"


def video_feature_folder(output_dir: str | os.PathLike, backbone: str) -> Path:
    """Where a backbone's video features are: `{output_dir}/{backbone}_features`."""
    return Path(output_dir, f"{backbone}{_ENDING}")


def text_feature_folder(output_dir: str | os.PathLike, backbone: str) -> Path:
    """Where an encoder's text features are: `{output_dir}/{backbone}_text_features`."""
    return Path(output_dir, f"{backbone}{_TEXT_ENDING}")


def file_content(features: np.ndarray, encoded: VideoFeatures) -> dict[str, np.ndarray]:
    """What the file of a video holds: the features of a backbone, and times in seconds as (1, 1) float64."""
    return {
        "features": features,
        DURATION_KEY: np.full((1, 1), encoded.duration, dtype=np.float64),
        CLIP_LENGTH_KEY: np.full((1, 1), encoded.clip_length, dtype=np.float64),
    }


def load_video_features(
    output_dir: str | os.PathLike, vid: str, backbones: Sequence[str] | None = None
) -> VideoFeatures:
    """The features of a video as `extract_video_features` wrote them; processor and pipeline take them as they are.

    Args:
        output_dir: What was its `output_dir`.
        vid: The video.
        backbones: Names of backbones; by default all that there are.

    Raises:
        FeatureFileError: A file is missing or damaged.
        ValueError: There are no features, or files that differ in the duration of the video.
        OSError: The folder cannot be read.
    """
    if backbones is None:
        names = sorted(path.name for path in Path(output_dir).iterdir() if path.is_dir())
        backbones = [
            name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING) and not name.endswith(_TEXT_ENDING)
        ]
    if not backbones:
        raise ValueError(f"{os.fspath(output_dir)} holds no video features: name the output folder of an extraction.")
    features, times, sampling = {}, {}, {}
    for name in backbones:
        settings = read_json_object(video_feature_folder(output_dir, name) / EXTRACTION_FILE)
        if settings is not None:
            sampling[name] = str(settings.get("sampling", UNMARKED_SAMPLING))
        (path,) = feature_files(video_feature_folder(output_dir, name), vid, (("{id}",),))
        features[name] = read_features(path)
        times[path] = (_seconds(path, DURATION_KEY), _seconds(path, CLIP_LENGTH_KEY))
    if len(set(times.values())) > 1:
        listed = ", ".join(f"{path} {duration:g} s" for path, (duration, _) in times.items())
        raise ValueError(f"These files are not of the same video and clip length: {listed}. Extract them again.")
    duration, clip_length = next(iter(times.values()))
    return VideoFeatures(features, duration, clip_length, sampling)


def _seconds(path: Path, key: str) -> float:
    value = read_features(path, (key,))
    if value.shape != (1, 1) or not 0 < value[0, 0] < np.inf:
        raise FeatureFileError("mismatched", path, f"has no positive number of seconds as {key!r}")
    return float(value[0, 0])
