"""Results as a table of comma-separated values."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..common.files import write_text
from .answers import VideoAnswers

COLUMNS = ("video", "query", "rank", "start", "end", "score")


def write_csv(answers: VideoAnswers, path: Path) -> None:
    """Write a row for each moment: video, query, rank (from 1), start and end in seconds, score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in answers.predictions:
        for rank, moment in enumerate(result["moments"], start=1):
            writer.writerow(
                (answers.video, result["query"], rank, moment["start"], moment["end"], round(moment["score"], 4))
            )
    write_text(path, text.getvalue(), errors="surrogateescape")
