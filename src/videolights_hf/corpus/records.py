"""From the frames of videos to lines of the corpus: captions, which of them are kept, scores, saliency."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from typing import Any

import torch

from .captioning import Captioner
from .intervals import CorpusForm
from .sampling import SampledVideo
from .scoring import Scorer

_SALIENCY_DIGITS = 4


def make_records(
    videos: Sequence[SampledVideo], captioner: Captioner, scorer: Scorer, form: CorpusForm
) -> list[dict[str, Any]]:
    """Caption and score some videos, whose frames share batches.

    Args:
        videos: What is looked at of them.
        captioner: Writes the captions.
        scorer: Scores frames with them.
        form: Turns scores into saliency.

    Returns:
        For each video `vid`, `rows` (annotations), and the numbers of `duplicates` and `empty` captions dropped, and
        whether it `is_too_long`.
    """
    if not videos:
        return []
    device = captioner.model.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Where captions are sampled, they depend on the videos, not on what was captioned before.
        torch.manual_seed(zlib.crc32(videos[0].vid.encode("utf-8", "surrogatepass")))
        captions = captioner.caption([frame for video in videos for frame in video.captioned])
    remaining = iter(captions)
    records, kept = [], []
    for video in videos:
        texts = list(itertools.islice(remaining, len(video.intervals)))
        first = first_of_each(texts)
        kept += [(video, index, texts[index]) for index in first]
        num_empty = sum(not text for text in texts)
        records.append(
            {
                "vid": video.vid,
                "rows": [],
                "duplicates": len(texts) - num_empty - len(first),
                "empty": num_empty,
                "is_too_long": video.is_too_long,
            }
        )
    pairs = [(video.clip_frames[clip], text) for video, index, text in kept for clip in video.clips[index]]
    scores = iter(scorer.score([frame for frame, _ in pairs], [text for _, text in pairs]) if pairs else [])
    by_vid = {record["vid"]: record["rows"] for record in records}
    for video, index, text in kept:
        saliency = [form.saliency(score) for score in itertools.islice(scores, len(video.clips[index]))]
        by_vid[video.vid].append(corpus_row(video, index, text, saliency))
    return records


def first_of_each(captions: Sequence[str]) -> list[int]:
    """Indices of the captions to keep: not the empty ones, and the first of equal ones.

    Captions that differ in case, white space or the full stop at their end are equal.
    """
    seen: set[str] = set()
    kept = []
    for index, caption in enumerate(captions):
        key = " ".join(caption.lower().split()).rstrip(" .")
        if key and key not in seen:
            seen.add(key)
            kept.append(index)
    return kept


def corpus_row(video: SampledVideo, index: int, caption: str, saliency: Sequence[float]) -> dict[str, Any]:
    """The annotation of one interval.

    Args:
        video: Its video.
        index: The interval's index.
        caption: Its caption.
        saliency: Saliency of each of its clips.
    """
    start, end = float(video.intervals[index].start), float(video.intervals[index].end)
    return {
        "qid": f"{video.vid}_{start}_{end}",
        "query": caption,
        "duration": video.duration,
        "vid": video.vid,
        "relevant_windows": [[start, end]],
        "relevant_clip_ids": list(video.clips[index]),
        "saliency_scores": [[round(value, _SALIENCY_DIGITS)] for value in saliency],
    }
