"""Subtitle files: SubRip (`.srt`), WebVTT (`.vtt`) and JSON Lines (`.jsonl`), checked line by line."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

from ..common.files import check_is_no_named_pipe
from ..common.json_lines import FileProblemsError, iterate_json_lines
from ..extraction.sources import VIDEO_ENDINGS
from .languages import SUBTITLE_SUFFIXES

SUBTITLE_ENDINGS = (".srt", ".vtt", ".jsonl")

# Cues at most this many seconds apart follow each other: rolling captions repeat what the one before showed.
_ADJACENT = 0.1
# Nobody shows more lines at once.
_MAX_ROLLING_LINES = 20

# No recording is as long: what claims to be is damaged, or hostile.
_MAX_SECONDS = 1e9

_TIME = r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
# Meant to be a line of times, though it is not one.
_ARROW = re.compile(r"\d\s*-->|-->\s*\d")
# `<i>`, `<c.yellow>`, `<v Ann>`, `<00:00:01.500>`, and `{\an8}` as players of SubRip read it.
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")

# Endings between the name of a video and `.srt`.
_EXTRA_ENDING = re.compile(
    rf"\.(?:(?:{'|'.join(SUBTITLE_SUFFIXES)})(?:[-_][a-z0-9]+)*|{'|'.join(ending[1:] for ending in sorted(VIDEO_ENDINGS))})$",
    re.IGNORECASE,
)


class SubtitleError(FileProblemsError):
    """Subtitle files that cannot be used."""

    subject = "subtitles"


@dataclass(frozen=True)
class Cue:
    """Text and when it is shown, in seconds.

    Attributes:
        lines: Without markup; those without a letter or digit are left out.
    """

    start: float
    end: float
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(self.lines)


# Line number, vid if the file names it, and the cue.
NumberedCue: TypeAlias = tuple[int, str | None, Cue]


def read_subtitles(path: str | os.PathLike, vids: Collection[str] = ()) -> dict[str, list[Cue]]:
    """Read a subtitle file.

    A line of a `.jsonl` file has `text`, `start`, and `end` or `duration` (seconds); with a `vid` on each line, one
    file may hold the subtitles of many videos.

    Args:
        path: The file. Without `vid`s in it, its name names the video (`subtitle_vid`).
        vids: Videos that may be meant.

    Returns:
        Vid to cues, in the order of their starts.

    Raises:
        SubtitleError: Naming file and line, for what is not a cue, impossible times, or a file that is not UTF-8, of
            another kind than its extension says, or without any cue.
        ValueError: Unknown extension.
        OSError: The file cannot be read.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in SUBTITLE_ENDINGS:
        raise ValueError(f"{path} is not a subtitle file: its extension must be {', '.join(SUBTITLE_ENDINGS)}.")
    problems: list[str] = []
    if ending == ".jsonl":
        cues = _parse_json_lines(path, problems)
    else:
        parse = _parse_vtt if ending == ".vtt" else _parse_srt
        cues = parse(_read_lines(path), path, problems)
    own = subtitle_vid(path, vids)
    found: dict[str, list[Cue]] = {}
    for number, vid, cue in cues:
        if not 0 <= cue.start <= cue.end:
            problems.append(f"{path}:{number}: it ends ({cue.end:g} s) before it starts ({cue.start:g} s)")
        found.setdefault(vid or own, []).append(cue)
    if not found and not problems:
        problems.append(f"{path}:1: no cues")
    if problems:
        raise SubtitleError(problems)
    return {vid: sorted(members, key=lambda cue: cue.start) for vid, members in found.items()}


def subtitle_vid(path: str | os.PathLike, vids: Collection[str] = ()) -> str:
    """The video that a subtitle file belongs to: its name without extension and language, `a1b2` for `a1b2.en.vtt`.

    Args:
        path: The file.
        vids: Videos that may be meant. The longest name among them wins: `trip.no` keeps `trip.no.srt`.
    """
    names = [Path(path).stem]
    while (shorter := _EXTRA_ENDING.sub("", names[-1])) not in ("", names[-1]):
        names.append(shorter)
    return next((name for name in names if name in vids), names[-1])


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether a value read from a file can be a time in seconds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MAX_SECONDS


def merge_rolling(cues: Sequence[Cue]) -> list[Cue]:
    """Give each line of rolling captions once, from when it is new to when it is gone from the last line.

    Automatic captions show a line again above the next one, or let a line grow word by word. A cue loses the lines that
    the cue before it (at most 0.1 s earlier) ended with; one with nothing new makes that one longer; a line that
    continues the one before takes its place. Equal cues further apart are two utterances.

    Args:
        cues: In the order of their starts.
    """
    merged: list[Cue] = []
    previous: Cue | None = None
    for cue in cues:
        if not cue.lines:
            continue
        new = cue.lines
        if previous is not None and cue.start <= previous.end + _ADJACENT:
            new = cue.lines[_overlap(previous.lines, cue.lines) :]
            last = merged[-1]
            if not new:
                merged[-1] = Cue(last.start, max(last.end, cue.end), last.lines)
            elif new[0].startswith(f"{last.lines[-1]} "):
                merged[-1] = Cue(last.start, max(last.end, cue.end), (*last.lines[:-1], *new))
                new = ()
        if new:
            merged.append(Cue(cue.start, cue.end, new))
        previous = cue
    return merged


def _overlap(before: Sequence[str], after: Sequence[str]) -> int:
    """How many lines at the end of one cue are those at the beginning of the next."""
    sizes = range(min(len(before), len(after), _MAX_ROLLING_LINES), 0, -1)
    return next((size for size in sizes if tuple(before[-size:]) == tuple(after[:size])), 0)


def _read_lines(path: Path) -> list[str]:
    check_is_no_named_pipe(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SubtitleError([f"{path}:{line}: not UTF-8; save the file as UTF-8"]) from None
    # Not `splitlines`, which also splits where no subtitle format does.
    return re.split(r"\r\n|\r|\n", text)


def _parse_srt(lines: Sequence[str], path: Path, problems: list[str]) -> Iterator[NumberedCue]:
    yield from _parse_blocks(_blocks(lines, 0), path, problems)


def _parse_vtt(lines: Sequence[str], path: Path, problems: list[str]) -> Iterator[NumberedCue]:
    if not re.fullmatch(r"WEBVTT([ \t].*)?", lines[0]):
        problems.append(f"{path}:1: a WebVTT file begins with WEBVTT")
        return
    # The header ends with the first empty line or, as the standard has it, before the first line of times.
    end_of_header = next((index for index, line in enumerate(lines) if not line.strip() or "-->" in line), len(lines))
    blocks = _blocks(lines, end_of_header)
    cues = ((number, block) for number, block in blocks if not re.match(r"(NOTE|STYLE|REGION)([ \t]|$)", block[0]))
    yield from _parse_blocks(cues, path, problems)


def _blocks(lines: Sequence[str], first: int) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not empty, with the number of their first line."""
    block: list[str] = []
    for number, line in enumerate([*lines[first:], ""], first + 1):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _parse_blocks(blocks: Iterable[tuple[int, list[str]]], path: Path, problems: list[str]) -> Iterator[NumberedCue]:
    for number, block in blocks:
        times = [(index, match) for index, line in enumerate(block) if (match := _TIMING.fullmatch(line))]
        starts = [index for index, _ in times]
        problems += [
            f"{path}:{number + index}: {line.strip()[:60]!r} should be like 00:01:02.500 --> 00:01:04.000"
            for index, line in enumerate(block)
            if index not in starts and _ARROW.search(line)
        ]
        # A cue may have a number or a name above its times.
        if not starts or starts[0] > 1:
            problems.append(
                f"{path}:{number}: {block[0].strip()[:40]!r} belongs to no cue; a line such as 00:01:02.500 --> "
                "00:01:04.000 is missing, or an empty line splits a cue"
            )
            continue
        for (start, match), following in zip(times, [*starts[1:], None], strict=True):
            end = len(block) if following is None else following - _has_label(block, starts[0], start, following)
            begin, close = match.groups()[:4], match.groups()[4:]
            yield number + start, None, Cue(_seconds(begin), _seconds(close), _clean(block[start + 1 : end]))


def _has_label(block: Sequence[str], first: int, start: int, following: int) -> bool:
    """Whether the line above some times is their cue's number or name, in a file without empty lines between cues.

    Args:
        block: The lines.
        first: The first times; the block's other cues have labels if these have one.
        start: The times of the cue before.
        following: The times.
    """
    if first == 0 or following - 1 == start:
        return False
    return block[following - 1].strip().isdigit() or not block[0].strip().isdigit()


def _seconds(groups: Sequence[str]) -> float:
    hours, minutes, seconds, fraction = groups
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _clean(lines: Sequence[str]) -> tuple[str, ...]:
    plain = (" ".join(html.unescape(_MARKUP.sub("", line)).split()) for line in lines)
    return tuple(line for line in plain if any(map(str.isalnum, line)))


def _parse_json_lines(path: Path, problems: list[str]) -> Iterator[NumberedCue]:
    for line in iterate_json_lines(path):
        fault = line.fault or _row_fault(line.row)
        if fault:
            problems.append(f"{path}:{line.number}: {fault}")
            continue
        row = line.row
        end = row["end"] if row.get("end") is not None else row["start"] + row["duration"]
        text = " ".join(row["text"].split())
        yield line.number, row.get("vid"), Cue(row["start"], end, (text,) if any(map(str.isalnum, text)) else ())


def _row_fault(row: Mapping[str, Any]) -> str | None:
    if not isinstance(row.get("text"), str):
        return "'text' is missing"
    if row.get("vid") is not None and not (isinstance(row["vid"], str) and row["vid"].strip()):
        return "'vid' must be a non-empty string"
    for name in ("start", "end" if row.get("end") is not None else "duration"):
        if not is_seconds(row.get(name)):
            return f"{name!r} must be a number of seconds"
    return None
