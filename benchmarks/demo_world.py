"""Score a checkpoint on freshly rendered videos of the made-up world that it was not trained on.

    python -m benchmarks.demo_world

Renders mp4 files, runs the pipeline on them, and prints R1@0.5, HIT@1 and others (%): with each video's own sentences;
with the sentences shuffled among the videos, which shows what a guess from the video alone is worth; and for the
zero-shot detector on the model's own CLIP, which a trained detector must beat.
"""

from __future__ import annotations

import tempfile
import time
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm.auto import tqdm

from videolights_hf import VideoMomentRetrievalPipeline
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.demo import CLIP_SECONDS, demo_checkpoint, make_world
from videolights_hf.inference.zero_shot import zero_shot_pipeline
from videolights_hf.metrics import evaluate_predictions

METRICS = {
    "R1@0.5": "MR-full-R1@0.5",
    "R1@0.7": "MR-full-R1@0.7",
    "mAP": "MR-full-mAP",
    "HIT@1": "HL-min-VeryGood-Hit1",
}


def shuffle_sentences(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The annotations with the sentences of each video replaced by those of the next one; the truth stays."""
    videos = [list(rows) for _, rows in groupby(annotations, key=lambda row: row["vid"])]
    others = videos[1:] + videos[:1]
    return [
        {**row, "query": other[i % len(other)]["query"]}
        for own, other in zip(videos, others)
        for i, row in enumerate(own)
    ]


def score(retrieve: VideoMomentRetrievalPipeline, folder: Path, annotations: list[dict[str, Any]]) -> dict[str, float]:
    """Metrics in percent of a pipeline on the videos in `folder` with the sentences of `annotations`."""
    predictions = []
    videos = [(vid, list(rows)) for vid, rows in groupby(annotations, key=lambda row: row["vid"])]
    for vid, rows in tqdm(videos, desc="Predicting", unit="video"):
        results = retrieve(str(folder / f"{vid}.mp4"), [row["query"] for row in rows])
        predictions += [
            {
                "qid": row["qid"],
                "pred_relevant_windows": [[m["start"], m["end"], m["score"]] for m in result["moments"]],
                "pred_saliency_scores": result["saliency"],
            }
            for row, result in zip(rows, results)
        ]
    brief = evaluate_predictions(predictions, annotations, clip_length=CLIP_SECONDS)["brief"]
    return {name: brief[key] for name, key in METRICS.items()}


def main(
    model: Annotated[Path | None, typer.Option(help="Model folder. Default: the bundled one.")] = None,
    split: Annotated[str, typer.Option(help="Family of videos (train, validation, test, demo).")] = "test",
    num_videos: Annotated[int, typer.Option(min=2, help="How many videos to render.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world.")] = 0,
    num_threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Render videos, and score the model on them."""
    torch.set_num_threads(num_threads)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        annotations = make_world(folder, split, range(num_videos), seed=seed, show_progress=True)
        print(f"{num_videos} videos, {len(annotations)} queries")
        checkpoint = model or demo_checkpoint()
        trained = VideoMomentRetrievalPipeline.from_pretrained(checkpoint)
        zero_shot = zero_shot_pipeline(checkpoint / "backbones" / "clip", clip_length=CLIP_SECONDS)
        for name, retrieve, rows in (
            ("own sentences", trained, annotations),
            ("shuffled sentences", trained, shuffle_sentences(annotations)),
            ("zero-shot", zero_shot, annotations),
        ):
            metrics = score(retrieve, Path(folder), rows)
            print(f"{name:>18}: " + "  ".join(f"{metric} {value:5.1f}" for metric, value in metrics.items()))
    print(f"{time.perf_counter() - start:.0f} s on {num_threads} CPU thread(s)")


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
