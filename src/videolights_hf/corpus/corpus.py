"""The synthetic corpus (Algorithm 1): captions of frames as queries, their intervals as moments, scores as saliency."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from ..common.failures import Failure, FailureLog
from ..common.processes import Processes
from ..video.reader import VideoSource
from .captioning import Captioner
from .intervals import INTERVAL_LENGTH, get_form
from .journal import Journal, read_journal, write_json_lines
from .records import make_records
from .sampling import SampledVideo, SamplingSettings, sample_video
from .scoring import Scorer
from .settings import corpus_settings, keep_settings

CORPUS_FILE = "corpus.jsonl"
SETTINGS_FILE = "corpus_settings.json"
PARTS_FOLDER = "corpus_parts"
# Videos whose frames share batches. Fixed, and dealt to processes whole, so that batches, and with them the last digits
# of scores, are the same however many processes there are and wherever a run was interrupted.
VIDEOS_PER_CHUNK = 8


@dataclass(frozen=True)
class CorpusSummary:
    """What became of the videos.

    Attributes:
        path: The corpus, in the annotation format.
        num_videos: Videos that were asked for.
        num_captions: Lines of the corpus.
        num_duplicates: Captions dropped because an earlier interval of their video has the same.
        num_empty: Intervals dropped because the captioner found no words.
        num_too_long: Videos skipped for their length.
        failed: Videos that could not be read; also in `failed.jsonl`.
    """

    path: Path
    num_videos: int
    num_captions: int
    num_duplicates: int
    num_empty: int
    num_too_long: int
    failed: tuple[Failure, ...]

    def __str__(self) -> str:
        return (
            f"{self.num_captions} captions of {self.num_videos} videos; dropped {self.num_duplicates} duplicates and "
            f"{self.num_empty} empty ones; {self.num_too_long} videos are too long, {len(self.failed)} could not be read"
        )


def generate_corpus(
    videos: Mapping[str, VideoSource],
    output_dir: str | os.PathLike,
    captioner: Captioner,
    scorer: Scorer,
    form: str = "release",
    *,
    interval_length: float = INTERVAL_LENGTH,
    clip_length: float = 2.0,
    caption_frame_size: int = 384,
    clip_frame_size: int = 224,
    max_duration: float | None = None,
    num_threads: int = 2,
    processes: Processes | None = None,
    progress: bool = True,
) -> CorpusSummary:
    """Caption and score videos, and write the corpus in the annotation format.

    Lines are sorted by vid and start; `qid` is `{vid}_{start}_{end}`, `saliency_scores` has one column. The corpus is
    the same however often the run was killed and repeated, and with any number of processes (`accelerate launch`).
    Videos may be added in a later call; those that are done are not captioned again.

    Args:
        videos: Vid to video, without those of validation and test splits (`leave_out`).
        output_dir: Gets `corpus.jsonl`, `failed.jsonl`, the settings, and in `corpus_parts` what is done so far.
        captioner: Writes the captions.
        scorer: Scores frames with them.
        form: `"release"` or `"paper"`, see `FORMS`.
        interval_length: Seconds an interval.
        clip_length: Seconds a clip.
        caption_frame_size: Shorter side in pixels of the frames that are captioned.
        clip_frame_size: Side in pixels of the centre squares that are scored.
        max_duration: Longer videos are skipped, in seconds; by default as the form does. `math.inf` skips none.
        num_threads: Videos that are decoded at the same time, in the background.
        processes: The processes that share the work; by default those that were launched.
        progress: Show a progress bar.

    Returns:
        Counts and failures, the same in every process.

    Raises:
        SettingsMismatchError: The folder holds a corpus of other settings.
        ValueError: No videos, an unknown form, settings that make no sense, or a scorer of another kind than the
            form's.
        OSError: The folder cannot be written.
    """
    chosen = get_form(form)
    if scorer.scoring != chosen.scoring:
        raise ValueError(f"The form {form!r} scores by {chosen.scoring}, this scorer by {scorer.scoring}.")
    if not videos:
        raise ValueError("There are no videos to caption.")
    settings = SamplingSettings(
        chosen,
        interval_length,
        clip_length,
        caption_frame_size,
        clip_frame_size,
        chosen.max_duration if max_duration is None else max_duration,
    )
    run = _CorpusRun(videos, Path(output_dir), captioner, scorer, settings, processes or Processes.current())
    return run.run(num_threads, progress)


class _CorpusRun:
    """One process's part of making a corpus."""

    def __init__(
        self,
        videos: Mapping[str, VideoSource],
        output: Path,
        captioner: Captioner,
        scorer: Scorer,
        settings: SamplingSettings,
        processes: Processes,
    ):
        self.videos = videos
        self.output = output
        self.captioner = captioner
        self.scorer = scorer
        self.settings = settings
        self.processes = processes
        self.log = FailureLog(output)
        self.failures: list[Failure] = []

    def run(self, num_threads: int, progress: bool) -> CorpusSummary:
        """Do it all."""
        parts = self.output / PARTS_FOLDER
        if self.processes.is_main:
            self.output.mkdir(parents=True, exist_ok=True)
            settings = corpus_settings(self.settings, self.captioner, self.scorer)
            keep_settings(self.output / SETTINGS_FILE, settings)
            self.log.clear()
        self.processes.wait()
        done = read_journal(parts).keys()
        self.processes.wait()  # before anybody writes what others still read

        journal = Journal(parts, self.processes.index)
        vids = sorted(self.videos)
        chunks = [vids[first : first + VIDEOS_PER_CHUNK] for first in range(0, len(vids), VIDEOS_PER_CHUNK)]
        mine = self.processes.share(chunks)
        total = sum(map(len, mine))
        show = progress and self.processes.is_main
        with tqdm(total=total, desc="Captioning", unit="video", disable=not show) as bar:
            work = [chunk for chunk in mine if self._has_work(chunk, done)]
            bar.update(total - sum(map(len, work)))
            for chunk, outcomes in self._decode_ahead(work, num_threads):
                records = make_records(
                    self._readable(chunk, outcomes), self.captioner, self.scorer, self.settings.form
                )
                journal.append(record for record in records if record["vid"] not in done)
                bar.update(len(chunk))
        return self._finish(vids, parts)

    def _has_work(self, chunk: Sequence[str], done: Set[str]) -> bool:
        missing = [vid for vid in chunk if vid not in done]
        if not missing or len(missing) == len(chunk):
            return bool(missing)
        # Where all that is missing failed before and does so again, the others need not be captioned once more.
        errors = {vid: error for vid in missing if (error := self._opening_error(vid)) is not None}
        if len(errors) < len(missing):
            return True
        for vid, error in errors.items():
            self._fail(vid, error)
        return False

    def _opening_error(self, vid: str) -> Exception | None:
        try:
            self.videos[vid].open()
        except (ValueError, OSError) as error:
            return error
        return None

    def _decode_ahead(
        self, chunks: Sequence[list[str]], num_threads: int
    ) -> Iterator[tuple[list[str], list[SampledVideo | Exception]]]:
        """Decode chunk after chunk in threads, the next one while the present one is being used."""
        with ThreadPoolExecutor(num_threads) as pool:
            ahead: deque[tuple[list[str], list[Future]]] = deque()
            for chunk in chunks:
                futures = [pool.submit(sample_video, vid, self.videos[vid], self.settings) for vid in chunk]
                ahead.append((chunk, futures))
                if len(ahead) > 1:
                    yield _outcomes(*ahead.popleft())
            while ahead:
                yield _outcomes(*ahead.popleft())

    def _readable(self, chunk: Sequence[str], outcomes: Sequence[SampledVideo | Exception]) -> list[SampledVideo]:
        """The videos that could be read; the others are reported, and do not stop the rest."""
        for vid, outcome in zip(chunk, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._fail(vid, outcome)
        return [outcome for outcome in outcomes if isinstance(outcome, SampledVideo)]

    def _fail(self, vid: str, error: Exception) -> None:
        video = self.videos[vid].video
        path = os.fspath(video) if isinstance(video, (str, os.PathLike)) else None
        failure = Failure(vid, path, str(error) or type(error).__name__)
        self.failures.append(failure)
        self.log.append(failure)

    def _finish(self, vids: Sequence[str], parts: Path) -> CorpusSummary:
        """Merge the parts, in the order of the videos."""
        failed = sorted(self.processes.gather(self.failures), key=lambda failure: failure.vid)
        self.processes.wait()
        on_record = read_journal(parts)
        records = [on_record[vid] for vid in vids if vid in on_record]
        path = self.output / CORPUS_FILE
        if self.processes.is_main:
            self.log.replace(failed)
            write_json_lines(path, (row for record in records for row in record["rows"]))
        self.processes.wait()
        return CorpusSummary(
            path=path,
            num_videos=len(vids),
            num_captions=sum(len(record["rows"]) for record in records),
            num_duplicates=sum(record["duplicates"] for record in records),
            num_empty=sum(record["empty"] for record in records),
            num_too_long=sum(record["is_too_long"] for record in records),
            failed=tuple(failed),
        )


def _outcomes(chunk: list[str], futures: Sequence[Future]) -> tuple[list[str], list[SampledVideo | Exception]]:
    outcomes: list[SampledVideo | Exception] = []
    for future in futures:
        error = future.exception()
        if error is not None and (isinstance(error, ImportError) or not isinstance(error, Exception)):
            raise error
        outcomes.append(future.result() if error is None else error)
    return chunk, outcomes
