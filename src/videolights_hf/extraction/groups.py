"""Runs over many videos, shared by processes in groups that are the same after every interruption."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..common.batches import iterate_batches
from ..common.failures import Failure, FailureLog
from ..common.processes import Processes
from ..video.reader import VideoSource


class VideoGroups:
    """One process's share of a run over videos, and the failures in it.

    Batches are filled across the videos of a group. Groups are made of all videos, in the order of their vids, before
    looking at what is done, so that what shares a batch, and with it every bit of the results, does not depend on
    interruptions or on the number of processes.

    Args:
        videos: Vid to video.
        size: Videos per group.
        output_dir: Where `failed.jsonl` is written.
        processes: The processes that share the groups.
    """

    def __init__(
        self, videos: Mapping[str, VideoSource], size: int, output_dir: str | os.PathLike, processes: Processes
    ):
        self.videos = videos
        self._processes = processes
        self._groups: list[list[str]] = processes.share(list(iterate_batches(sorted(videos), size)))
        self._log = FailureLog(output_dir)
        self._failures: list[Failure] = []

    @property
    def vids(self) -> list[str]:
        """The videos of this process's share."""
        return [vid for group in self._groups for vid in group]

    @property
    def num_failed(self) -> int:
        """Failures of this process so far."""
        return len(self._failures)

    def clear_failures(self) -> None:
        """Forget the failures of an earlier run. One process does this, before any calls `fail`."""
        self._log.clear()

    def fail(self, vid: str, error: Exception | str) -> None:
        """Note that a video cannot be used."""
        video = self.videos[vid].video if vid in self.videos else None
        failure = Failure.of(vid, video, error)
        self._failures.append(failure)
        self._log.append(failure)

    def unfinished(self, is_done: Callable[[str], bool]) -> list[list[str]]:
        """The groups that must be worked on, whole also where only one video is missing.

        Where all videos missing from a group failed before and cannot be opened now either, they are noted as failed,
        and the group is left out.
        """
        return [group for group in self._groups if self._needs_work(group, is_done)]

    def gather_failures(self) -> tuple[Failure, ...]:
        """The failures of all processes, sorted by vid, and written in this order."""
        failures = sorted(self._processes.gather(self._failures), key=lambda failure: failure.vid)
        if self._processes.is_main:
            self._log.replace(failures)
        return tuple(failures)

    def _needs_work(self, group: list[str], is_done: Callable[[str], bool]) -> bool:
        missing = [vid for vid in group if not is_done(vid)]
        if not missing or len(missing) == len(group):
            return bool(missing)
        errors = {vid: error for vid in missing if (error := self._opening_error(vid)) is not None}
        if len(errors) < len(missing):
            return True
        for vid, error in errors.items():
            self.fail(vid, error)
        return False

    def _opening_error(self, vid: str) -> Exception | None:
        try:
            self.videos[vid].open()
        except (ValueError, OSError) as error:
            return error
        return None
