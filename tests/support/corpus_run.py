"""A corpus in a process of its own, one of several, or one that kills itself: `python -m tests.support.corpus_run`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
from pathlib import Path
from unittest import mock

import torch

from videolights_hf.common.processes import Processes
from videolights_hf.corpus import Captioner, CorpusSettings, MatchingScorer, corpus, generate_corpus
from videolights_hf.corpus.journal import Journal
from videolights_hf.extraction import ExtractionSettings, find_videos

# Sampled, so that captions differ between frames, and show where a run's random numbers depend on its past.
GENERATION = {"do_sample": True, "num_beams": 1, "max_new_tokens": 4}
FRAME_SIZES = {"caption_frame_size": 40, "clip_frame_size": 40}
QUIET = ExtractionSettings(progress=False)


def kill_in_line(line: int) -> None:
    """End the process as a power cut would, with half of a line written."""
    append, written = Journal.append, 0

    def append_half(self: Journal, records) -> None:
        nonlocal written
        for record in records:
            if written == line:
                content = (json.dumps(record) + "\n").encode()
                with open(self.path, "ab") as file:
                    file.write(content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            append(self, [record])
            written += 1

    Journal.append = append_half


def run(videos: Path, output: Path, models: Path, settings: ExtractionSettings = QUIET, **options):
    """Make a corpus, three videos per group, with batches that share videos."""
    captioner = Captioner.from_pretrained(models / "captioner", generation=GENERATION, batch_size=4)
    scorer = MatchingScorer.from_pretrained(models / "scorer", batch_size=7)
    with mock.patch.object(corpus, "VIDEOS_PER_GROUP", 3):
        return generate_corpus(
            find_videos(videos), output, captioner, scorer, CorpusSettings(**FRAME_SIZES, **options), settings
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("videos", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("outputs", type=Path, nargs="+")
    parser.add_argument("--kill-in-line", type=int)
    options = parser.parse_args()
    if options.kill_in_line is not None:
        kill_in_line(options.kill_in_line)
    processes = Processes.current("cpu")
    settings = dataclasses.replace(QUIET, processes=processes)
    for output in options.outputs:
        summary = run(options.videos, output, options.models, settings)
        (output / f"seen-{processes.index}.json").write_text(
            json.dumps({"world_size": processes.count, "summary": str(summary)})
        )
