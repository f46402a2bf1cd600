"""From the frames of videos to lines of the corpus: captions, which of them are kept, scores, saliency."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from typing import Any, TypedDict

import torch

from .captioning import Captioner
from .sampling import SampledVideo
from .scoring import Scorer
from .settings import CorpusSettings

# More digits depend on the number of threads that sums are split between.
_SALIENCY_DIGITS = 4


class VideoRecord(TypedDict):
    """The outcome for one video, as the journal keeps it.

    Attributes:
        vid: The video.
        rows: Its annotations.
        duplicates: Captions dropped because an earlier interval has the same.
        empty: Captions dropped because they are empty.
        skipped: Why the video was not captioned, or `None`.
    """

    vid: str
    rows: list[dict[str, Any]]
    duplicates: int
    empty: int
    skipped: str | None


def make_records(
    videos: Sequence[SampledVideo], captioner: Captioner, scorer: Scorer, settings: CorpusSettings
) -> list[VideoRecord]:
    """Caption and score some videos, whose frames share batches.

    Args:
        videos: What is looked at of them.
        captioner: Writes the captions.
        scorer: Scores frames with them.
        settings: Which captions are kept, and how scores become saliency.
    """
    if not videos:
        return []
    captions = iter(_captions(videos, captioner))
    records: list[VideoRecord] = []
    kept = []
    for video in videos:
        texts = list(itertools.islice(captions, len(video.intervals)))
        wanted = [index for index, text in enumerate(texts) if _key(text)]
        first = wanted if settings.keep_duplicates else first_of_each(texts)
        kept += [(video, index, texts[index]) for index in first]
        num_empty = sum(not _key(text) for text in texts)
        records.append(
            {
                "vid": video.vid,
                "rows": [],
                "duplicates": len(texts) - num_empty - len(first),
                "empty": num_empty,
                "skipped": video.skipped,
            }
        )
    pairs = [(video.clip_frames[clip], text) for video, index, text in kept for clip in video.clips[index]]
    scores = iter(scorer.score([frame for frame, _ in pairs], [text for _, text in pairs]) if pairs else [])
    rows_of = {record["vid"]: record["rows"] for record in records}
    for video, index, text in kept:
        saliency = [settings.rules.saliency(score) for score in itertools.islice(scores, len(video.clips[index]))]
        rows_of[video.vid].append(corpus_row(video, index, text, saliency))
    return records


def _captions(videos: Sequence[SampledVideo], captioner: Captioner) -> list[str]:
    device = captioner.model.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Where captions are sampled, they depend on the videos, not on what was captioned before.
        torch.manual_seed(zlib.crc32(videos[0].vid.encode("utf-8", "surrogatepass")))
        return captioner.caption([frame for video in videos for frame in video.captioned])


def first_of_each(captions: Sequence[str]) -> list[int]:
    """Indices of the captions to keep: not the empty ones, and the first of equal ones.

    Captions that differ only in case, white space or final periods are equal.
    """
    seen: set[str] = set()
    kept = []
    for index, key in enumerate(map(_key, captions)):
        if key and key not in seen:
            seen.add(key)
            kept.append(index)
    return kept


def _key(caption: str) -> str:
    """What equal captions have in common; empty for one without words."""
    return " ".join(caption.lower().split()).rstrip(" .")


def corpus_row(video: SampledVideo, index: int, caption: str, saliency: Sequence[float]) -> dict[str, Any]:
    """The annotation of one interval.

    Args:
        video: Its video.
        index: The interval's index.
        caption: Its caption.
        saliency: Saliency of each of its clips. An interval without clips has a moment alone.
    """
    start, end = float(video.intervals[index].start), float(video.intervals[index].end)
    row: dict[str, Any] = {
        "qid": f"{video.vid}_{start}_{end}",
        "query": caption,
        "duration": video.duration,
        "vid": video.vid,
        "relevant_windows": [[start, end]],
    }
    if saliency:
        row["relevant_clip_ids"] = list(video.clips[index])
        row["saliency_scores"] = [[round(value, _SALIENCY_DIGITS)] for value in saliency]
    return row
