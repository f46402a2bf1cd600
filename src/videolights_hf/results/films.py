"""Results as videos: each moment in a file of its own, or the best of them in one."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from ..common.files import written_aside
from ..video.excerpts import excerpt_file_name, write_excerpt, write_reel
from .answers import VideoAnswers


def write_cuts(answers: VideoAnswers, folder: Path) -> list[Path]:
    """Write each moment to a file named by its sentence and times."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for query, moments in answers.shown():
        for moment in moments:
            start, end = moment["start"], moment["end"]
            written.append(write_excerpt(answers.file, start, end, folder / excerpt_file_name(query, start, end)))
    return written


def write_cut_archive(answers: VideoAnswers, path: Path) -> bool:
    """Write the moments, each in a file of its own, to one zip file.

    Returns:
        Whether there is a moment.
    """
    with tempfile.TemporaryDirectory(prefix="videolights-") as folder:
        written = write_cuts(answers, Path(folder))
        if written:
            # Films do not get smaller.
            with written_aside(path) as partial, zipfile.ZipFile(partial, "w") as archive:
                for file in written:
                    archive.write(file, file.name)
    return bool(written)


def write_best(answers: VideoAnswers, path: Path) -> bool:
    """Write what the moments show to one file, in the order of the video; what several show is there once.

    Returns:
        Whether there is a moment.
    """
    spans = answers.spans()
    if spans:
        write_reel(answers.file, spans, path)
    return bool(spans)
