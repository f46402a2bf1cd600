"""The synthetic corpus (Algorithm 1): captions of frames as queries, their intervals as moments, scores as saliency."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..common.failures import Failure
from ..common.files import remove_leftovers
from ..common.json_lines import write_json_lines
from ..common.processes import locked_by_main
from ..common.settings import keep_settings
from ..extraction.groups import VideoGroups
from ..extraction.progress import ExtractionBar
from ..extraction.settings import ExtractionSettings
from ..video.reader import VideoSource
from .captioning import Captioner
from .journal import Journal, read_journal
from .records import make_records
from .sampling import SampledVideo, sample_video
from .scoring import Scorer
from .settings import CorpusSettings, kept_settings

CORPUS_FILE = "corpus.jsonl"
SETTINGS_FILE = "corpus_settings.json"
PARTS_FOLDER = "corpus_parts"
VIDEOS_PER_GROUP = 8


@dataclass(frozen=True)
class CorpusSummary:
    """What became of the videos.

    Attributes:
        path: The corpus, in the annotation format.
        num_videos: Videos that were asked for.
        num_captions: Lines of the corpus.
        num_duplicates: Captions dropped because an earlier interval of their video has the same.
        num_empty: Captions dropped because the captioner found no words.
        num_too_long: Videos skipped because they are too long.
        num_too_short: Videos skipped because they are too short for an interval.
        failed: Videos that could not be read; also in `failed.jsonl`.
    """

    path: Path
    num_videos: int
    num_captions: int
    num_duplicates: int
    num_empty: int
    num_too_long: int
    num_too_short: int
    failed: tuple[Failure, ...]

    def __str__(self) -> str:
        return (
            f"{self.num_captions} captions of {self.num_videos} videos; dropped {self.num_duplicates} duplicates and "
            f"{self.num_empty} empty captions; skipped {self.num_too_long} videos that are too long and "
            f"{self.num_too_short} that are too short; {len(self.failed)} could not be read"
        )


def generate_corpus(
    videos: Mapping[str, VideoSource],
    output_dir: str | os.PathLike,
    captioner: Captioner,
    scorer: Scorer,
    corpus: CorpusSettings | None = None,
    settings: ExtractionSettings | None = None,
) -> CorpusSummary:
    """Caption and score videos, and write the corpus in the annotation format.

    Lines are sorted by vid and start; `qid` is `{vid}_{start}_{end}`, `saliency_scores` has one column. The corpus is
    the same however often the run was killed and repeated, and with any number of processes (`accelerate launch`).
    Videos may be added in a later call; finished ones are not captioned again.

    Args:
        videos: Vid to video, without those of validation and test splits (`leave_out`).
        output_dir: Gets `corpus.jsonl`, `failed.jsonl`, the settings, and in `corpus_parts` the finished videos.
        captioner: Writes the captions.
        scorer: Scores frames with them.
        corpus: How videos are cut and looked at; by default as in the release.
        settings: Clip length, threads, processes and progress bar; the rest is for features alone.

    Returns:
        Counts and failures, the same in every process.

    Raises:
        SettingsMismatchError: The folder holds a corpus made with other settings.
        ValueError: No videos, or a scorer of the wrong kind for the form.
        OSError: The folder cannot be written, or another run writes to it.
    """
    corpus = corpus or CorpusSettings()
    settings = settings or ExtractionSettings()
    if scorer.scoring != corpus.rules.scoring:
        raise ValueError(
            f"The form {corpus.form!r} scores by {corpus.rules.scoring}, this scorer by {scorer.scoring}."
        )
    if not videos:
        raise ValueError("There are no videos to caption.")
    settings = dataclasses.replace(settings, processes=settings.connect())
    return _CorpusRun(videos, Path(output_dir), captioner, scorer, corpus, settings).run()


class _CorpusRun:
    """One process's part of making a corpus."""

    def __init__(
        self,
        videos: Mapping[str, VideoSource],
        output: Path,
        captioner: Captioner,
        scorer: Scorer,
        corpus: CorpusSettings,
        settings: ExtractionSettings,
    ):
        self.videos = videos
        self.output = output
        self.captioner = captioner
        self.scorer = scorer
        self.corpus = corpus
        self.settings = settings
        self.processes = settings.connect()
        self.groups = VideoGroups(videos, VIDEOS_PER_GROUP, output, self.processes)

    def run(self) -> CorpusSummary:
        """Caption this process's share, then merge the shares of all."""
        with locked_by_main(self.output, self.processes):
            return self._run()

    def _run(self) -> CorpusSummary:
        parts = self.output / PARTS_FOLDER
        if self.processes.is_main:
            self._prepare()
        self.processes.wait()
        done = read_journal(parts).keys()
        self.processes.wait()  # before anybody writes what others still read

        journal = Journal(parts, self.processes.index)
        total = len(self.groups.vids)
        show = self.settings.progress and self.processes.is_main
        work = self.groups.unfinished(done.__contains__)
        with ExtractionBar("Captioning", "video", "frame", total, total - sum(map(len, work)), show) as bar:
            for group, outcomes in self._decode_ahead(work):
                records = make_records(self._readable(group, outcomes), self.captioner, self.scorer, self.corpus)
                journal.append(record for record in records if record["vid"] not in done)
                bar.update(len(group))
        return self._finish(parts)

    def _prepare(self) -> None:
        remove_leftovers(self.output)
        settings = kept_settings(self.corpus, self.settings.seconds_per_clip, self.captioner, self.scorer)
        keep_settings(self.output / SETTINGS_FILE, settings, "a corpus")
        self.groups.clear_failures()

    def _decode_ahead(self, groups: Sequence[list[str]]) -> Iterator[tuple[list[str], list[SampledVideo | Exception]]]:
        """Decode group after group in threads, the next one while the present one is being used."""
        clip_length = self.settings.seconds_per_clip
        with ThreadPoolExecutor(self.settings.decoding_threads) as pool:
            ahead: deque[tuple[list[str], list[Future[SampledVideo]]]] = deque()
            for group in groups:
                futures = [pool.submit(sample_video, vid, self.videos[vid], self.corpus, clip_length) for vid in group]
                ahead.append((group, futures))
                if len(ahead) > 1:
                    yield _outcomes(*ahead.popleft())
            while ahead:
                yield _outcomes(*ahead.popleft())

    def _readable(self, group: Sequence[str], outcomes: Sequence[SampledVideo | Exception]) -> list[SampledVideo]:
        """The videos that could be read; the others are reported, and do not stop the rest."""
        for vid, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self.groups.fail(vid, outcome)
        return [outcome for outcome in outcomes if isinstance(outcome, SampledVideo)]

    def _finish(self, parts: Path) -> CorpusSummary:
        """Merge the parts, in the order of the videos."""
        failed = self.groups.gather_failures()
        self.processes.wait()
        on_record = read_journal(parts)
        records = [on_record[vid] for vid in sorted(self.videos) if vid in on_record]
        lost = self.videos.keys() - on_record.keys() - {failure.vid for failure in failed}
        if lost:
            raise OSError(
                f"The records of {len(lost)} videos disappeared from {parts} during the run, the first of "
                f"{min(lost)!r}. Repeat the command while nothing else writes to the folder."
            )
        path = self.output / CORPUS_FILE
        if self.processes.is_main:
            write_json_lines(path, (row for record in records for row in record["rows"]))
        self.processes.wait()
        return CorpusSummary(
            path=path,
            num_videos=len(self.videos),
            num_captions=sum(len(record["rows"]) for record in records),
            num_duplicates=sum(record["duplicates"] for record in records),
            num_empty=sum(record["empty"] for record in records),
            num_too_long=sum(record["skipped"] == "too_long" for record in records),
            num_too_short=sum(record["skipped"] == "too_short" for record in records),
            failed=failed,
        )


def _outcomes(
    group: list[str], futures: Sequence[Future[SampledVideo]]
) -> tuple[list[str], list[SampledVideo | Exception]]:
    outcomes: list[SampledVideo | Exception] = []
    for future in futures:
        error = future.exception()
        if error is None:
            outcomes.append(future.result())
        elif isinstance(error, Exception) and not isinstance(error, ImportError):
            outcomes.append(error)
        else:
            raise error
    return group, outcomes
