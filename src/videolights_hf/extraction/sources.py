"""Which videos there are: folders, patterns, lists, and vids that name an excerpt of a longer video."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..common.files import check_is_no_named_pipe
from ..video.files import VIDEO_ENDINGS
from ..video.reader import VideoSource

# `{youtube_id}_{start}_{end}`, times in seconds. The id may hold `_` and `-`.
_EXCERPT = re.compile(r"(?P<id>.+)_(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)", re.DOTALL)
_LISTED = 5
_MAX_LIST_BYTES = 64 * 1024**2
# TACoS names its files after the camera, its annotations do not.
_TACOS_CAMERA = "-cam-002"


def find_videos(
    source: str | os.PathLike | Sequence[str | os.PathLike], vids: Iterable[str] | None = None
) -> dict[str, VideoSource]:
    """Find videos, by the names of their files or by given vids.

    The vid of a file is its name without extension, and without the `-cam-002` of TACoS. A vid `{id}_{start}_{end}` that
    has no file of its own is the excerpt from `start` to `end`, in seconds, of the video `{id}`, as in QVHighlights. Vids
    are looked up among the files that exist, and never make a path.

    Args:
        source: A folder, searched with all its subfolders for files with the extension of a video; a pattern such as
            `videos/*/*.mp4`; a text file with one path per line, absolute or relative to that file; a single video; or
            a list of paths.
        vids: The videos that are wanted; by default all files. A wanted video of a folder may have any extension.

    Returns:
        vid to video, sorted by vid. Wanted vids without a file are not in it.

    Raises:
        FileNotFoundError: The source does not exist, or its pattern matches no file.
        OSError: A folder cannot be read.
        ValueError: There are no videos, or none of the wanted ones; two files have the same vid; a list is not text.
    """
    shown = os.fspath(source) if isinstance(source, (str, os.PathLike)) else f"{len(source)} paths"
    files = _by_vid(_paths(source))
    if not files:
        endings = ", ".join(sorted(VIDEO_ENDINGS))
        raise ValueError(f"No videos found in {shown}. Their extensions are {endings}.")
    if vids is None:
        return {vid: VideoSource(_only(files, vid)) for vid in sorted(files)}
    wanted = sorted(set(vids))
    found = {vid: video for vid in wanted if (video := _look_up(vid, files)) is not None}
    if len(found) < len(wanted) and isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
        # Tried, and reported by name if it is not a video, instead of being called missing although it exists.
        others = _by_vid(path for path in _files_below(Path(source)) if path.suffix.lower() not in VIDEO_ENDINGS)
        found |= {
            vid: VideoSource(others[vid][0]) for vid in wanted if vid not in found and len(others.get(vid, [])) == 1
        }
    if not found:
        examples = ", ".join(wanted[:_LISTED]) + (", ..." if len(wanted) > _LISTED else "")
        raise ValueError(
            f"None of the {len(wanted)} videos that are wanted ({examples}) is among the {len(files)} of {shown}. "
            "A video's file is named by its vid."
        )
    return found


def _by_vid(paths: Iterable[Path]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in paths:
        files.setdefault(path.stem.removesuffix(_TACOS_CAMERA), []).append(path)
    return files


def _look_up(vid: str, files: dict[str, list[Path]]) -> VideoSource | None:
    if vid in files:
        return VideoSource(_only(files, vid))
    excerpt = _EXCERPT.fullmatch(vid)
    if excerpt is None or excerpt["id"] not in files:
        return None
    start, end = float(excerpt["start"]), float(excerpt["end"])
    return VideoSource(_only(files, excerpt["id"]), start=start, end=end) if start < end else None


def _only(files: dict[str, list[Path]], name: str) -> Path:
    paths = files[name]
    if len({os.path.realpath(path) for path in paths}) > 1:
        listed = ", ".join(map(str, paths[:_LISTED]))
        raise ValueError(
            f"{len(paths)} files have the vid {name!r}: {listed}. Features are named by vid: rename or leave out all but "
            "one."
        )
    return paths[0]


def _paths(source: str | os.PathLike | Sequence[str | os.PathLike]) -> Iterator[Path]:
    if not isinstance(source, (str, os.PathLike)):
        yield from dict.fromkeys(map(Path, source))
        return
    path = Path(source)
    if path.is_dir():
        yield from (found for found in _files_below(path) if found.suffix.lower() in VIDEO_ENDINGS)
    elif path.is_file():
        yield from [path] if path.suffix.lower() in VIDEO_ENDINGS else _listed_in(path)
    elif glob.has_magic(os.fspath(source)):
        matches = sorted(glob.glob(os.fspath(source), recursive=True))
        if not matches:
            raise FileNotFoundError(f"No file matches the pattern {os.fspath(source)}.")
        yield from (Path(match) for match in matches if not os.path.isdir(match))
    else:
        raise FileNotFoundError(f"There is no folder, list or pattern of videos {os.fspath(source)}.")


def _files_below(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    seen = set()
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        # Links may lead in circles.
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            # Hidden files are not videos: macOS leaves `._video.mp4` beside `video.mp4`.
            if not name.startswith("."):
                yield Path(parent, name)


def _listed_in(path: Path) -> Iterator[Path]:
    check_is_no_named_pipe(path)
    try:
        # A large file is not a list, and not worth its memory.
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.stat().st_size <= _MAX_LIST_BYTES else None
    except UnicodeDecodeError:
        lines = None
    if lines is None:
        raise ValueError(f"{path} is neither a video (unknown extension) nor a text file that lists videos.")
    if lines and lines[0].lstrip().startswith("{"):
        raise ValueError(
            f"{path} holds JSON, not one path per line. Annotation files say which videos are wanted, not where they "
            "are: give the videos' folder, and this file as annotations."
        )
    listed = (line.strip() for line in lines)
    yield from dict.fromkeys(path.parent / line for line in listed if line)
