"""Features of many videos, from every backbone in one decoding pass, to files."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..backbones.base import FeatureBackbone
from ..backbones.checkpoints import backbone_settings
from ..backbones.runner import VideoEncoder
from ..common.ids import check_ids
from ..common.processes import locked_by_main
from ..video.reader import VideoSource
from .features import file_content, video_feature_folder
from .groups import VideoGroups
from .progress import ExtractionBar
from .settings import ExtractionSettings
from .store import FeatureFolder, to_stored
from .summary import ExtractionSummary

VIDEOS_PER_GROUP = 16


def extract_video_features(
    videos: Mapping[str, VideoSource],
    output_dir: str | os.PathLike,
    backbones: Sequence[FeatureBackbone],
    settings: ExtractionSettings | None = None,
    *,
    missing: Iterable[str] = (),
) -> ExtractionSummary:
    """Compute the features of videos and write them to `{output_dir}/{backbone}_features/{vid}.npz`.

    Each file has the key `features`, shape (clips, width), as the backbone gave it, and `duration` and `clip_length` in
    seconds, so that the video can be queried without its file (`load_video_features`). Files appear complete or not at
    all. Calling again does what is missing and retries what failed; the result of a call that was interrupted at
    any moment and repeated is the same to the bit.

    Several processes (`accelerate launch`) share the work.

    Args:
        videos: vid to video, as `find_videos` gives it.
        output_dir: Where the folders of the backbones are made.
        backbones: The backbones, as `load_backbones` gives them.
        settings: How features are extracted.
        missing: Vids that are wanted and have no video; they are reported as failed.

    Returns:
        How many videos were done, and which failed. These are in `{output_dir}/failed.jsonl` as well.

    Raises:
        SettingsMismatchError: A folder holds features made with other settings.
        ValueError: No videos, or a vid that cannot be a file name.
        OSError: The disk is full, the output cannot be written, or another run writes to it.
        torch.OutOfMemoryError: A single clip does not fit into the device's memory.
        ImportError: PyAV is not installed.
    """
    check_ids(videos)
    if not videos:
        raise ValueError("There are no videos to extract features of.")
    return _VideoExtraction(videos, Path(output_dir), backbones, settings or ExtractionSettings()).run(sorted(missing))


class _VideoExtraction:
    """One process's part of an extraction."""

    def __init__(
        self,
        videos: Mapping[str, VideoSource],
        output_dir: Path,
        backbones: Sequence[FeatureBackbone],
        settings: ExtractionSettings,
    ):
        self.videos = videos
        self.output_dir = output_dir
        self.backbones = {backbone.name: backbone for backbone in backbones}
        self.settings = settings
        self.processes = settings.connect()
        self.folders = {
            name: FeatureFolder(video_feature_folder(output_dir, name), self._kept_settings(backbone))
            for name, backbone in self.backbones.items()
        }
        self.groups = VideoGroups(videos, VIDEOS_PER_GROUP, output_dir, self.processes)

    def _kept_settings(self, backbone: FeatureBackbone) -> dict[str, object]:
        return {
            **backbone_settings(backbone, self.settings.checkpoints.get(backbone.name)),
            "clip_length": self.settings.seconds_per_clip,
            "dtype": self.settings.dtype,
            "frame_size": backbone.frame_size,
            "frames_per_clip": backbone.frames_per_clip,
            "sampling": backbone.requirement.sampling,
            "width": backbone.video_dim,
        }

    def run(self, missing: Sequence[str]) -> ExtractionSummary:
        """Extract the part of this process's share that is not there yet; see `extract_video_features`."""
        with locked_by_main(self.output_dir, self.processes):
            return self._run(missing)

    def _run(self, missing: Sequence[str]) -> ExtractionSummary:
        if self.processes.is_main:
            for folder in self.folders.values():
                folder.prepare()
            self.groups.clear_failures()
            for vid in missing:
                self.groups.fail(vid, "there is no video of this name")
        num_missing = self.groups.num_failed
        self.processes.wait()
        for folder in self.folders.values():
            folder.refresh()

        vids = self.groups.vids
        skipped = sum(not self._needed([vid]) for vid in vids)
        done = 0
        show = self.settings.progress and self.processes.is_main
        with ExtractionBar("Extracting video features", "video", "clip", len(vids), skipped, show) as bar:
            work: dict[tuple[str, ...], list[str]] = {}
            for group in self.groups.unfinished(lambda vid: not self._needed([vid])):
                work.setdefault(self._needed(group), []).extend(group)
            bar.update(self.groups.num_failed - num_missing)
            for names, members in work.items():
                done += self._extract(names, members, bar)

        counts = self.processes.gather([(done, skipped)])
        failures = self.groups.gather_failures()
        if self.processes.is_main:
            failed = {failure.vid for failure in failures}
            for folder in self.folders.values():
                folder.refresh()
                folder.check_complete(vid for vid in self.videos if vid not in failed)
        return ExtractionSummary(sum(done for done, _ in counts), sum(skipped for _, skipped in counts), failures)

    def _needed(self, vids: Sequence[str]) -> tuple[str, ...]:
        """The backbones whose features of any of these videos are missing."""
        return tuple(name for name, folder in self.folders.items() if any(vid not in folder for vid in vids))

    def _extract(self, names: Sequence[str], vids: Sequence[str], bar: ExtractionBar) -> int:
        """Encode videos and write what is missing; gives the number of videos that were done."""
        backbones = [self.backbones[name] for name in names]
        encoder = VideoEncoder(backbones, self.settings.seconds_per_clip, self.settings.decoding_threads)
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
                    stored = {
                        name: file_content(to_stored(result.features[name], self.settings.dtype), result)
                        for name in missing
                    }
                except Exception as error:
                    self.groups.fail(vid, error)
                else:
                    done += self._write(vid, stored)
                bar.update()
        return done

    def _write(self, vid: str, stored: Mapping[str, Mapping[str, np.ndarray]]) -> bool:
        """Write a video's files; a name that is too long for one is the fault of this video alone."""
        try:
            for name, arrays in stored.items():
                self.folders[name].write(vid, **arrays)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            self.groups.fail(vid, "its name is too long for a feature file: rename the video")
            return False
        return True
