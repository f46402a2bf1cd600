"""Features of the videos of a corpus, from every backbone in one decoding pass, to files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from videolights_hf.backbones.base import FeatureBackbone
from videolights_hf.backbones.runner import VideoEncoder
from videolights_hf.video.reader import VideoSource

from ..backbones.checkpoints import backbone_settings
from ..common.failures import Failure, FailureLog
from ..common.ids import check_ids
from ..common.processes import Processes
from .progress import ExtractionBar
from .store import FeatureFolder, check_dtype, to_stored
from .summary import ExtractionSummary

# Batches are filled across the videos of a group. Groups are made of all videos before it is looked at what is done, so
# that what shares a batch, and with it every bit of the features, is the same after an interruption and in any number
# of processes.
VIDEOS_PER_GROUP = 16


def video_feature_folder(output_dir: str | os.PathLike, backbone: str) -> Path:
    """Where a backbone's video features are: `{output_dir}/{backbone}_features`."""
    return Path(output_dir, f"{backbone}_features")


def extract_video_features(
    videos: Mapping[str, VideoSource],
    output_dir: str | os.PathLike,
    backbones: Sequence[FeatureBackbone],
    *,
    clip_length: float = 2.0,
    dtype: str = "float16",
    checkpoints: Mapping[str, str] | None = None,
    missing: Iterable[str] = (),
    num_threads: int | None = None,
    processes: Processes | None = None,
    progress: bool = True,
) -> ExtractionSummary:
    """Compute the features of videos and write them to `{output_dir}/{backbone}_features/{vid}.npz`.

    Each file has the key `features`, shape (clips, width), as the backbone gave it. Files appear complete or not at
    all. Calling again does what is missing, and tries again what failed; the result of a call that was interrupted at
    any moment and repeated is the same to the bit.

    Several processes (`accelerate launch`) share the work.

    Args:
        videos: vid to video, as `find_videos` gives it.
        output_dir: Where the folders of the backbones are made.
        backbones: The backbones, as `load_backbones` gives them.
        clip_length: Seconds a clip.
        dtype: Floating-point type of the files: `"float16"`, as published, or `"float32"`.
        checkpoints: Where the backbones came from, by name, to be kept with the features.
        missing: Vids that are wanted and have no video; they are reported as failed.
        num_threads: Videos that are decoded at the same time in the background; by default up to 4.
        processes: The processes that share the work; by default those that were launched.
        progress: Show a progress bar.

    Returns:
        How many videos were done, and which failed. These are in `{output_dir}/failed.jsonl` as well.

    Raises:
        SettingsMismatchError: A folder holds features of other settings.
        ValueError: No videos; a vid that is no plain file name; a type that features are not stored in.
        OSError: The disk is full, or the output cannot be written.
        torch.OutOfMemoryError: A single clip does not fit into the device's memory.
        ImportError: PyAV is not installed.
    """
    check_dtype(dtype)
    check_ids(videos)
    if not videos:
        raise ValueError("There are no videos to extract features of.")
    processes = processes or Processes.current()
    run = _VideoExtraction(videos, Path(output_dir), backbones, clip_length, dtype, dict(checkpoints or {}), processes)
    return run.run(sorted(missing), num_threads or min(4, os.cpu_count() or 1), progress)


class _VideoExtraction:
    """One process's part of an extraction."""

    def __init__(
        self,
        videos: Mapping[str, VideoSource],
        output_dir: Path,
        backbones: Sequence[FeatureBackbone],
        clip_length: float,
        dtype: str,
        checkpoints: Mapping[str, str],
        processes: Processes,
    ):
        self.videos = videos
        self.backbones = {backbone.name: backbone for backbone in backbones}
        self.clip_length = clip_length
        self.dtype = dtype
        self.processes = processes
        self.folders = {}
        for name, backbone in self.backbones.items():
            settings = {
                **backbone_settings(backbone, checkpoints.get(name)),
                "clip_length": float(clip_length),
                "dtype": dtype,
                "frame_size": backbone.frame_size,
                "frames_per_clip": backbone.frames_per_clip,
                "width": backbone.video_dim,
            }
            self.folders[name] = FeatureFolder(video_feature_folder(output_dir, name), settings)
        self.log = FailureLog(output_dir)
        self.failures: list[Failure] = []

    def run(self, missing: Sequence[str], num_threads: int, progress: bool) -> ExtractionSummary:
        """Extract what is missing of this process's share; see `extract_video_features`."""
        if self.processes.is_main:
            for folder in self.folders.values():
                folder.prepare()
            self.log.clear()
            for vid in missing:
                self._fail(vid, "there is no video of this name")
        self.processes.wait()
        for folder in self.folders.values():
            folder.refresh()

        vids = sorted(self.videos)
        groups = [vids[first : first + VIDEOS_PER_GROUP] for first in range(0, len(vids), VIDEOS_PER_GROUP)]
        mine = self.processes.share(groups)
        total = sum(map(len, mine))
        skipped = sum(not self._needed([vid]) for group in mine for vid in group)
        done = 0
        show = progress and self.processes.is_main
        with ExtractionBar("Extracting video features", "video", "clip", total, skipped, show) as bar:
            work = self._work(mine)
            bar.update(len(self.failures) - len(missing) * self.processes.is_main)
            for names, members in work.items():
                done += self._extract(names, members, num_threads, bar)

        counts = self.processes.gather([(done, skipped)])
        failures = tuple(sorted(self.processes.gather(self.failures), key=lambda failure: failure.vid))
        if self.processes.is_main:
            self.log.replace(failures)
        return ExtractionSummary(sum(done for done, _ in counts), sum(skipped for _, skipped in counts), failures)

    def _needed(self, vids: Sequence[str]) -> tuple[str, ...]:
        """The backbones whose features of any of these videos are missing."""
        return tuple(name for name, folder in self.folders.items() if any(vid not in folder for vid in vids))

    def _work(self, groups: Sequence[list[str]]) -> dict[tuple[str, ...], list[str]]:
        """The videos that some backbones are to encode: whole groups, also where only one member is missing."""
        work: dict[tuple[str, ...], list[str]] = {}
        for group in groups:
            missing = [vid for vid in group if self._needed([vid])]
            if not missing:
                continue
            # Where all that is missing failed before and does so again, the others need not be encoded once more.
            if len(missing) < len(group):
                errors = {vid: error for vid in missing if (error := self._opening_error(vid))}
                if len(errors) == len(missing):
                    for vid, error in errors.items():
                        self._fail(vid, error)
                    continue
            work.setdefault(self._needed(group), []).extend(group)
        return work

    def _opening_error(self, vid: str) -> Exception | None:
        try:
            self.videos[vid].open()
        except (ValueError, OSError) as error:
            return error
        return None

    def _extract(self, names: Sequence[str], vids: Sequence[str], num_threads: int, bar: ExtractionBar) -> int:
        """Encode videos and write what is missing; gives the number of videos that were done."""
        encoder = VideoEncoder([self.backbones[name] for name in names], self.clip_length, num_threads)
        results = encoder.encode(
            (self.videos[vid] for vid in vids),
            group_size=VIDEOS_PER_GROUP,
            on_progress=lambda encoded: bar.add_encoded(encoded / len(names)),
        )
        done = 0
        with contextlib.closing(results):
            for vid, result in zip(vids, results, strict=True):
                missing = self._needed([vid])
                if not missing:
                    continue
                try:
                    if isinstance(result, Exception):
                        raise result
                    stored = {name: to_stored(result.features[name], self.dtype) for name in missing}
                except Exception as error:
                    self._fail(vid, error)
                else:
                    for name, features in stored.items():
                        self.folders[name].write(vid, features=features)
                    done += 1
                bar.update()
        return done

    def _fail(self, vid: str, error: Exception | str) -> None:
        video = self.videos[vid].video if vid in self.videos else None
        path = os.fspath(video) if isinstance(video, (str, os.PathLike)) else None
        failure = Failure(vid, path, str(error) or type(error).__name__)
        self.failures.append(failure)
        self.log.append(failure)
