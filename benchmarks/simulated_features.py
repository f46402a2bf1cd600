"""Simulate backbone features for real annotations, in the layout of the published feature archives.

    python -m benchmarks.simulated_features features/ --annotations train.jsonl --annotations val.jsonl

Data loading, training and evaluation can then run at real scale without the archives. Each word has a fixed random vector,
and a query is the sum of its words. A video is a sequence of scenes (random mixtures of words); the query is mixed into the
clips that the annotation marks, the stronger the more salient they are, and other queries are mixed in elsewhere as
distractors. Fixed random matrices map this latent sequence to each backbone, which adds noise of its own. So the features
are synthetic, the annotations are real, and a model can only score by matching sentences to clips.

An array depends only on its id, the options and the annotation files, not on the machine or the number of workers.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from tqdm.auto import tqdm

from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.common.json_lines import iterate_json_lines

LATENT_WIDTH = 48
_STOP_WORDS = (
    "a an the of in on at to and or is are was were with by for from his her their "
    "its it he she they as while through into up down out over"
)
STOP_WORDS = frozenset(re.findall(r"\w+", _STOP_WORDS))
Dataset = Literal["qvhighlights", "charades_sta", "tacos", "tvsum", "youtube_highlights"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Simulation:
    """What the features depend on beside the annotations.

    Attributes:
        widths: Of SlowFast, CLIP and BLIP-2 features.
        signal: How strongly a query shows in its clips, from 0 to 1.
        noise: Scale of all noise.
    """

    dataset: Dataset = "qvhighlights"
    clip_length: float = 2.0
    widths: tuple[int, int, int] = (96, 64, 64)
    signal: float = 0.55
    noise: float = 0.9
    seed: int = 0


def _generator(*key: Any) -> np.random.Generator:
    digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _words(query: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", query.lower()) or ["nothing"]


@functools.cache
def _word_vector(word: str, seed: int) -> np.ndarray:
    vector = _generator("word", word, seed).standard_normal(LATENT_WIDTH)
    return vector / np.linalg.norm(vector) * (0.15 if word in STOP_WORDS else 1.0)


def _sentence_vector(query: str, seed: int) -> np.ndarray:
    vector = sum(_word_vector(word, seed) for word in _words(query))
    return vector / (np.linalg.norm(vector) + 1e-8)


@functools.cache
def _projection(name: str, width: int, seed: int) -> np.ndarray:
    return _generator("matrix", name, width, seed).standard_normal((LATENT_WIDTH, width)) / math.sqrt(LATENT_WIDTH)


def clip_relevance(row: Row, num_clips: int, clip_length: float) -> np.ndarray:
    """Relevance (num_clips,) from 0 to 1: the annotators' saliency if there is any, else 0.6 inside the windows."""
    relevance = np.zeros(num_clips)
    if row.get("relevant_clip_ids") and row.get("saliency_scores"):
        for clip, scores in zip(row["relevant_clip_ids"], row["saliency_scores"]):
            if clip < num_clips:
                relevance[clip] = 0.25 + 0.75 * float(np.mean(scores)) / 4
    elif row.get("label"):
        means = np.asarray(row["label"], float).mean(-1)[:num_clips]
        relevance[: len(means)] = (means - means.min()) / (np.ptp(means) + 1e-6)
    else:
        for start, end in row.get("relevant_windows") or []:
            first = int(start / clip_length)
            last = min(num_clips, math.ceil(end / clip_length))
            relevance[first : max(first + 1, last)] = 0.6
    return relevance


def latent_video(
    rows: Sequence[Row], pool: Sequence[str], simulation: Simulation, rng: np.random.Generator
) -> np.ndarray:
    """The sequence (clips, LATENT_WIDTH) behind the features of a video.

    Args:
        rows: Annotations of the video.
        pool: Queries of all videos, for scenes and distractors.
        rng: The video's generator.
    """
    seed, clip_length = simulation.seed, simulation.clip_length
    label = rows[0].get("label")
    num_clips = len(label) if label else max(2, math.ceil(rows[0]["duration"] / clip_length))
    latent = np.zeros((num_clips, LATENT_WIDTH))
    first = 0
    while first < num_clips:
        length = int(rng.integers(4, 16))
        scene = _sentence_vector(pool[int(rng.integers(len(pool)))], seed)
        # The order of the factors fixes the last bits.
        latent[first : first + length] = scene + 0.7 * rng.standard_normal(LATENT_WIDTH) / math.sqrt(LATENT_WIDTH)
        first += length
    for row in rows:
        relevance = clip_relevance(row, num_clips, clip_length)[:, None] * simulation.signal
        latent = (1 - relevance) * latent + relevance * _sentence_vector(row["query"], seed) * 1.6
        _mix_in_distractors(latent, relevance[:, 0], row["query"], pool, (seed, rng))
    latent += simulation.noise * rng.standard_normal(latent.shape) / math.sqrt(LATENT_WIDTH)
    return latent


def _mix_in_distractors(
    latent: np.ndarray,
    relevance: np.ndarray,
    query: str,
    pool: Sequence[str],
    draw: tuple[int, np.random.Generator],
) -> None:
    """Mix two other sentences that share words with the query into clips without it, in place."""
    seed, rng = draw
    free = np.flatnonzero(relevance == 0)
    for _ in range(2):
        if len(free) < 4:
            break
        start = int(free[int(rng.integers(len(free)))])
        words = _words(query)
        rng.shuffle(words)
        shared = " ".join(words[: max(1, len(words) // 3)])
        distractor = _sentence_vector(f"{shared} {pool[int(rng.integers(len(pool)))]}", seed)
        for clip in range(start, min(len(latent), start + int(rng.integers(2, 8)))):
            if relevance[clip] == 0:
                latent[clip] = 0.5 * latent[clip] + 0.5 * distractor * 1.6


def video_features(
    vid: str, rows: Sequence[Row], pool: Sequence[str], simulation: Simulation
) -> dict[str, np.ndarray]:
    """Features (clips, width) of a video, float16, by the name of their folder. BLIP-2's are sometimes a clip shorter."""
    rng = _generator("video", vid, simulation.seed)
    latent = latent_video(rows, pool, simulation, rng)
    kernel = np.array([0.25, 0.5, 0.25])
    smooth = np.apply_along_axis(lambda row: np.convolve(np.pad(row, 1, "edge"), kernel, "valid"), 0, latent)
    sources = (("slowfast", np.tanh(2 * smooth), 1.2), ("clip", latent, 0.8), ("blip_video", latent, 0.6))
    features = {}
    for (name, source, noise), width in zip(sources, simulation.widths):
        num_clips = len(latent) - 1 if name == "blip_video" and rng.random() < 0.1 else len(latent)
        values = source[:num_clips] @ _projection(name, width, simulation.seed)
        values += noise * simulation.noise * rng.standard_normal(values.shape) / math.sqrt(LATENT_WIDTH)
        features[f"{name}_features"] = values.astype(np.float16)
    return features


def text_features(row: Row, simulation: Simulation) -> dict[str, np.ndarray]:
    """Token features (tokens, width) of a query, float16, by the name of their folder."""
    seed = simulation.seed
    query, rng = _sentence_vector(row["query"], seed), _generator("query", row["qid"], seed)
    features = {}
    for name, width, num_special in (("clip_text", simulation.widths[1], 2), ("blip_text", simulation.widths[2], 1)):
        words = [_word_vector(word, seed) + 0.4 * query for word in _words(row["query"])]
        tokens = np.stack([query, *words, *[query] * (num_special - 1)]) @ _projection(name, width, seed)
        tokens = tokens + 0.1 * rng.standard_normal(tokens.shape) / math.sqrt(LATENT_WIDTH)
        features[f"{name}_features"] = tokens.astype(np.float16)
    return features


def _write(job: tuple[str, list[Row], Sequence[str], Simulation, Path]) -> None:
    vid, rows, pool, simulation, output = job
    for folder, values in video_features(vid, rows, pool, simulation).items():
        np.savez_compressed(output / folder / f"{vid}.npz", features=values)
    prefix = "qid" if simulation.dataset in ("qvhighlights", "charades_sta") else ""
    key = "token" if simulation.dataset == "tvsum" else "last_hidden_state"
    for row in rows:
        for folder, values in text_features(row, simulation).items():
            arrays = {key: values, "pooler_output": values[0]}
            np.savez_compressed(output / folder / f"{prefix}{row['qid']}.npz", **arrays)


def simulate(
    annotations: Sequence[Path], output: Path, simulation: Simulation, limit: int | None = None, workers: int = 1
) -> int:
    """Write the features of all videos and queries, and return the number of videos.

    Args:
        annotations: JSON Lines files.
        limit: Use at most this many queries of each file.
    """
    by_video: dict[str, list[Row]] = {}
    pool: set[str] = set()
    for path in annotations:
        rows = []
        for line in iterate_json_lines(path):
            if line.fault:
                raise ValueError(f"{path}:{line.number}: {line.fault}")
            rows.append(line.row)
        pool |= {row["query"] for row in rows}
        for row in rows[:limit]:
            by_video.setdefault(row["vid"], []).append(row)
    for name in ("slowfast", "clip", "blip_video", "clip_text", "blip_text"):
        (output / f"{name}_features").mkdir(parents=True, exist_ok=True)
    queries = sorted(pool)
    jobs = [(vid, rows, queries, simulation, output) for vid, rows in by_video.items()]
    with ProcessPoolExecutor(workers) as executor:
        for _ in tqdm(executor.map(_write, jobs, chunksize=16), total=len(jobs), unit="video"):
            pass
    return len(jobs)


def main(
    output: Annotated[Path, typer.Argument(help="Folder for the feature folders.")],
    annotations: Annotated[list[Path], typer.Option(help="Annotation file. Repeat for several.")],
    dataset: Annotated[Dataset, typer.Option(help="Whose file names and keys to use.")] = "qvhighlights",
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most this many queries of each file.")] = None,
    clip_length: Annotated[float, typer.Option(help="Seconds per clip.")] = 2.0,
    widths: Annotated[
        tuple[int, int, int], typer.Option(help="Of SlowFast, CLIP and BLIP-2; real ones: 2304 512 768.")
    ] = (96, 64, 64),
    signal: Annotated[float, typer.Option(help="How strongly a query shows in its clips.")] = 0.55,
    noise: Annotated[float, typer.Option(help="Scale of the noise.")] = 0.9,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Simulate the features of annotated videos and queries."""
    simulation = Simulation(dataset, clip_length, widths, signal, noise, seed)
    print(f"Wrote features of {simulate(annotations, output, simulation, limit, workers)} videos to {output}")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
