"""Subtitle files: SubRip (`.srt`), WebVTT (`.vtt`) and JSON Lines (`.jsonl`), checked line by line."""

from __future__ import annotations

import html
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.json_lines import FileProblemsError

SUBTITLE_ENDINGS = (".srt", ".vtt", ".jsonl")

# Cues this many seconds apart follow each other: rolling captions repeat what the one before showed.
_ADJACENT = 0.1

_TIME = r"(?:(\d+):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
# `<i>`, `<c.yellow>`, `<v Ann>`, `<00:00:01.500>`, and `{\an8}` as players of SubRip read it.
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")
_LANGUAGE = re.compile(r"\.[a-z]{2,3}(-[A-Za-z0-9]+)*$")


class SubtitleError(FileProblemsError):
    """Subtitle files that cannot be used."""

    subject = "subtitles"


@dataclass(frozen=True)
class Cue:
    """What is shown at a time.

    Attributes:
        start: In seconds.
        end: In seconds.
        lines: Its lines of text, without markup; those without a letter or digit are left out.
    """

    start: float
    end: float
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(self.lines)


def read_subtitles(path: str | os.PathLike) -> dict[str, list[Cue]]:
    """Read a subtitle file.

    A line of a `.jsonl` file has `text`, `start`, and `end` or `duration` (seconds); with a `vid` on each line, one
    file may hold the subtitles of many videos.

    Args:
        path: The file. Without `vid`s in it, its name names the video (`subtitle_vid`).

    Returns:
        Vid to cues, in the order of their starts.

    Raises:
        SubtitleError: Naming file and line, for what is no cue, times that are none or reversed, or a file that is no
            text in UTF-8, of another kind than its ending says, or without any cue.
        ValueError: For an ending that is not known.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    if path.suffix.lower() not in SUBTITLE_ENDINGS:
        raise ValueError(f"{path} is no subtitle file: the endings are {', '.join(SUBTITLE_ENDINGS)}.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SubtitleError([f"{path}:{line}: not UTF-8; save the file as UTF-8"]) from None
    # Not `splitlines`, which also splits where no subtitle format does.
    lines = re.split(r"\r\n|\r|\n", text)
    problems: list[str] = []
    found: dict[str, list[Cue]] = {}
    parse = {".srt": _parse_srt, ".vtt": _parse_vtt, ".jsonl": _parse_json_lines}[path.suffix.lower()]
    for number, vid, cue in parse(lines, path, problems):
        if not (math.isfinite(cue.start) and math.isfinite(cue.end) and 0 <= cue.start <= cue.end):
            problems.append(f"{path}:{number}: it ends ({cue.end:g} s) before it starts ({cue.start:g} s)")
        found.setdefault(vid or subtitle_vid(path), []).append(cue)
    if not found and not problems:
        problems.append(f"{path}:1: no cues")
    if problems:
        raise SubtitleError(problems)
    return {vid: sorted(cues, key=lambda cue: cue.start) for vid, cues in found.items()}


def subtitle_vid(path: str | os.PathLike) -> str:
    """The video that a subtitle file belongs to: its name without ending and language, `a1b2` for `a1b2.en.vtt`."""
    return _LANGUAGE.sub("", Path(path).stem) or Path(path).stem


def merge_rolling(cues: Sequence[Cue]) -> list[Cue]:
    """Give each line of rolling captions once, from when it is new to when it is gone from the last line.

    Automatic captions show a line again above the next one, or let a line grow word by word. A cue loses the lines that
    the cue before it (at most 0.1 s earlier) ended with; one that brings nothing new makes that one longer; a line that
    goes on where the one before broke off takes its place. Equal cues further apart are two utterances.

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
    sizes = range(min(len(before), len(after)), 0, -1)
    return next((size for size in sizes if tuple(before[-size:]) == tuple(after[:size])), 0)


def _parse_srt(lines: Sequence[str], path: Path, problems: list[str]) -> Iterator[tuple[int, None, Cue]]:
    yield from _parse_blocks(_blocks(lines, 0), path, problems)


def _parse_vtt(lines: Sequence[str], path: Path, problems: list[str]) -> Iterator[tuple[int, None, Cue]]:
    if not re.fullmatch(r"WEBVTT([ \t].*)?", lines[0]):
        problems.append(f"{path}:1: a WebVTT file begins with WEBVTT")
        return
    # The header's own lines end with the first empty one.
    end_of_header = next((index for index, line in enumerate(lines) if not line.strip()), len(lines))
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


def _parse_blocks(
    blocks: Iterator[tuple[int, list[str]]], path: Path, problems: list[str]
) -> Iterator[tuple[int, None, Cue]]:
    for number, block in blocks:
        # A cue may have a number or a name above its times.
        above = 0 if _TIMING.fullmatch(block[0]) else 1
        timing = _TIMING.fullmatch(block[above]) if above < len(block) else None
        if timing is None:
            problems.append(
                f"{path}:{number}: {block[0].strip()[:40]!r} belongs to no cue; a line such as 00:01:02.500 --> "
                "00:01:04.000 is missing, or an empty line splits a cue"
            )
            continue
        yield (
            number + above,
            None,
            Cue(_seconds(timing.groups()[:4]), _seconds(timing.groups()[4:]), _clean(block[above + 1 :])),
        )


def _seconds(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = groups
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _clean(lines: Sequence[str]) -> tuple[str, ...]:
    plain = (" ".join(html.unescape(_MARKUP.sub("", line)).split()) for line in lines)
    return tuple(line for line in plain if any(map(str.isalnum, line)))


def _parse_json_lines(lines: Sequence[str], path: Path, problems: list[str]) -> Iterator[tuple[int, str | None, Cue]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            problems.append(f"{path}:{number}: not JSON ({error})")
            continue
        fault = _row_fault(row)
        if fault:
            problems.append(f"{path}:{number}: {fault}")
            continue
        end = row["end"] if row.get("end") is not None else row["start"] + row["duration"]
        text = " ".join(row["text"].split())
        yield number, row.get("vid"), Cue(row["start"], end, (text,) if any(map(str.isalnum, text)) else ())


def _row_fault(row: object) -> str | None:
    if not isinstance(row, dict):
        return "a JSON object is needed"
    if not isinstance(row.get("text"), str):
        return "'text' is missing"
    if row.get("vid") is not None and not (isinstance(row["vid"], str) and row["vid"].strip()):
        return "'vid' must be a non-empty string"
    numbers = ("start", "end" if row.get("end") is not None else "duration")
    for name in numbers:
        if isinstance(row.get(name), bool) or not isinstance(row.get(name), (int, float)):
            return f"{name!r} must be a number of seconds"
    return None
