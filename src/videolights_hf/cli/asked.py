"""What a command is asked: which videos, and which sentences."""

from __future__ import annotations

import errno
import glob
from collections.abc import Sequence
from pathlib import Path

from videolights_hf.common.files import check_is_no_named_pipe
from videolights_hf.video.files import STANDARD_INPUT, VIDEO_ENDINGS


def split_words(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Tell the videos and the sentences of a command line apart.

    The first word names a video, a folder of videos, or a pattern; so does each further one that is a video file, up to
    the first sentence.

    Returns:
        The videos by names that differ, and the sentences.

    Raises:
        FileNotFoundError: One of several videos does not exist, or a folder or pattern has none.
        ValueError: An address, a video behind a sentence, or a sentence that is not valid UTF-8.
    """
    for word in words:
        if word.lower().startswith(("http://", "https://", "ftp://", "rtsp://")):
            raise ValueError(f"{word} is an address, and only files are read: download it first.")
    count = 1
    while count < len(words) and _names_a_video(words[count]):
        count += 1
    named, sentences = list(words[:count]), list(words[count:])
    for sentence in sentences:
        if _names_a_video(sentence):
            raise ValueError(
                f"{sentence} looks like a video, not a sentence: name the videos first, then the sentences."
            )
    check_sentences(sentences)
    return _find(named), sentences


def read_sentences(path: Path) -> list[str]:
    """The sentences of a text file, one per line; empty lines are skipped.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not UTF-8, or has no sentence.
    """
    check_is_no_named_pipe(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8: save it as one.") from None
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise ValueError(f"{path} has no sentence: write one on each line.")
    return sentences


def check_sentences(sentences: Sequence[str]) -> None:
    """Check that sentences came through the terminal whole.

    Raises:
        ValueError: One did not.
    """
    for text in sentences:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
            raise ValueError(f"The sentence {shown!r} is not valid UTF-8: type it in a UTF-8 terminal.") from None


def _names_a_video(word: str) -> bool:
    path = Path(word)
    return path.suffix.lower() in VIDEO_ENDINGS and (len(word.split()) == 1 or path.is_file())


def _find(named: Sequence[str]) -> dict[str, str]:
    from videolights_hf.extraction.sources import find_videos

    if len(named) > 1:
        missing = next((name for name in named if not Path(name).is_file()), None)
        if missing is not None:
            raise FileNotFoundError(errno.ENOENT, "No such video file", missing)
        return {vid: str(source.video) for vid, source in find_videos(named).items()}
    (name,) = named
    path = Path(name)
    if path.is_dir() or (glob.has_magic(name) and not path.exists()):
        return {vid: str(source.video) for vid, source in find_videos(name).items()}
    return {"standard-input" if name in STANDARD_INPUT else path.stem: name}
