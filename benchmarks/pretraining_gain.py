"""What pretraining on captions is worth where labels are few, in the made-up world, from rendered videos alone.

    python examples/train_demo_captioner.py runs/demo_captioner
    python benchmarks/pretraining_gain.py runs/demo_captioner runs/pretraining_gain

Renders videos without labels, a few of which get one labeled query each, and held-out videos; captions the first and
scores them by the demo's CLIP (Algorithm 1 of the paper), extracts features with the same CLIP, pretrains a small
VideoLights on the captions, finetunes it on the labeled queries, and trains the same model on them from scratch for as
many steps. All by the package's own corpus, extraction and training code, with the published recipes but for sizes, steps
and learning rate. Nothing is selected: metrics are those after the last step. Ends with a table of means and sample
standard deviations over seeds. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from videolights_hf.backbones import complete_checkpoints, load_backbones
from videolights_hf.corpus import Captioner, SimilarityScorer, generate_corpus, leave_out
from videolights_hf.data import get_dataset_spec, read_annotations, read_backbone_checkpoints
from videolights_hf.demo import ANNOTATIONS_FILE, CLIP_SECONDS, FRAME_SIZE, SPLITS, demo_checkpoint, make_world
from videolights_hf.extraction import DatasetTarget, ExtractionSettings, extract_feature_dataset, find_videos
from videolights_hf.training import load_recipe, train_recipe

if TYPE_CHECKING:
    from datasets import DatasetDict

METRICS = {
    "mAP": "MR-full-mAP",
    "R1@0.5": "MR-full-R1@0.5",
    "R1@0.7": "MR-full-R1@0.7",
    "mIoU": "MR-full-mIoU",
    "HL mAP": "HL-min-VeryGood-mAP",
    "HIT@1": "HL-min-VeryGood-Hit1",
}
# The demo's captioner has places for 24 tokens, and no sentence of the world takes as many.
MAX_CAPTION_TOKENS = 20
WORLD = dataclasses.replace(get_dataset_spec("qvhighlights"), clip_length=CLIP_SECONDS)
MODEL = {
    "video_backbones": [["clip", 64]],
    "text_backbones": [["clip", 64]],
    "clip_length": CLIP_SECONDS,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
}
TRAINING = {
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "early_stopping_patience": -1,
    "report_to": "none",
    "use_cpu": True,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One kind of training run.

    Attributes:
        title: What the table calls it.
        recipe: Packaged recipe.
        train_split: Split that it trains on.
        init_from: Name of the run whose weights it starts from.
    """

    title: str
    recipe: str
    train_split: str
    init_from: str | None = None


RUNS = {
    "scratch": Run("{train} labeled queries", "qvhighlights/videolights", "train"),
    "pretrained": Run("{pretrain} captions", "pretraining/blip", "pretrain"),
    "finetuned": Run(
        "{pretrain} captions, then {train} labeled queries", "qvhighlights/videolights-pt", "train", "pretrained"
    ),
    "all_labels": Run("all {all} queries of the same videos, labeled", "qvhighlights/videolights", "all"),
}


def render(args: argparse.Namespace) -> dict[str, Path]:
    """Renders the videos, and writes the annotations of the splits `train`, `all` and `test`; returns their files."""
    annotations = {}
    for name, split, number in (("pool", "train", args.num_videos), ("held_out", args.split, args.num_held_out)):
        folder = args.output / "videos" / name
        if not (folder / ANNOTATIONS_FILE).exists():
            make_world(folder, split, range(number), seed=args.world_seed, show_progress=True)
        annotations[name] = read_annotations(folder / ANNOTATIONS_FILE, WORLD)
    first_of_video = {row["vid"]: row for row in reversed(annotations["pool"])}
    labeled = sorted(first_of_video.values(), key=lambda row: row["qid"])[: args.num_labeled]
    splits = {"train": labeled, "all": annotations["pool"], "test": annotations["held_out"]}
    files = {split: args.output / f"{split}.jsonl" for split in splits}
    for split, rows in splits.items():
        files[split].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return files


def build_dataset(args: argparse.Namespace, annotations: dict[str, Path]) -> DatasetDict:
    """Captions the videos that are not held out, and extracts all features.

    Returns:
        The feature dataset with the splits of `annotations` and, of captions, `pretrain`.
    """
    videos = find_videos(args.output / "videos")
    pool, _ = leave_out(videos, [row["vid"] for row in read_annotations(annotations["test"], WORLD)])
    corpus = generate_corpus(
        pool,
        args.output / "corpus",
        Captioner.from_pretrained(args.captioner, generation={"max_new_tokens": MAX_CAPTION_TOKENS}),
        SimilarityScorer.from_pretrained(args.clip),
        "paper",
        interval_length=args.interval_length,
        clip_length=CLIP_SECONDS,
        caption_frame_size=FRAME_SIZE,
        clip_frame_size=FRAME_SIZE,
    )
    print(corpus)
    checkpoints = complete_checkpoints(["clip"], {"clip": str(args.clip)})
    specs = {"pretrain": "pretraining", **dict.fromkeys(annotations, WORLD)}
    target = DatasetTarget(args.output / "dataset", {"pretrain": corpus.path, **annotations}, specs, strict=True)
    settings = ExtractionSettings(clip_length=CLIP_SECONDS, checkpoints=checkpoints)
    tables, _ = extract_feature_dataset(
        target, videos, args.output / "features", load_backbones(checkpoints), settings
    )
    return tables


def train(args: argparse.Namespace, name: str, seed: int, tables: DatasetDict) -> dict[str, float]:
    """Trains one run with one seed, unless that is done by these options; returns its metrics on the held-out videos."""
    run, output = RUNS[name], args.output / "runs" / f"{name}-{seed}"
    results = output.with_suffix(".json")
    # All of them: a finetuned model also depends on how it was pretrained.
    options = {key: str(value) for key, value in vars(args).items() if key not in ("seeds", "all_labels")}
    if results.exists():
        done = json.loads(results.read_text())
        if done["options"] == options:
            return done["metrics"]
    shutil.rmtree(output, ignore_errors=True)
    settings = {
        **MODEL,
        **TRAINING,
        "seed": seed,
        "train_split": run.train_split,
        "eval_split": "test",
        "learning_rate": args.learning_rate,
        "per_device_train_batch_size": args.batch_size,
        "max_steps": args.finetuning_steps if run.train_split == "train" else args.pretraining_steps,
    }
    recipe = load_recipe(run.recipe, [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    start = time.perf_counter()
    metrics = train_recipe(
        recipe,
        tables,
        output,
        init_from=args.output / "runs" / f"{run.init_from}-{seed}" if run.init_from else None,
        backbone_checkpoints=read_backbone_checkpoints(args.output / "dataset"),
    )
    metrics = {title: metrics[f"eval_{key}"] for title, key in METRICS.items()}
    print(
        f"{name}, seed {seed}: "
        + ", ".join(f"{title} {value:.1f}" for title, value in metrics.items())
        + f" ({time.perf_counter() - start:.0f} s)"
    )
    results.write_text(json.dumps({"metrics": metrics, "options": options}, indent=1))
    return metrics


def table(metrics: dict[str, list[dict[str, float]]], sizes: dict[str, int]) -> str:
    """A Markdown table: a row for each kind of run, mean and sample standard deviation over its seeds."""
    lines = ["| trained on | " + " | ".join(METRICS) + " |", "|---" * (1 + len(METRICS)) + "|"]
    for name, runs in metrics.items():
        cells = []
        for title in METRICS:
            values = [run[title] for run in runs]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        lines.append(f"| {RUNS[name].title.format(**sizes)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captioner", type=Path, help="captioner of train_demo_captioner.py")
    parser.add_argument("output", type=Path, help="folder for videos, corpus, features, datasets and runs")
    parser.add_argument("--clip", type=Path, default=demo_checkpoint() / "backbones" / "clip", help="CLIP checkpoint")
    parser.add_argument("--num-videos", type=int, default=300, help="videos that are captioned")
    parser.add_argument("--num-labeled", type=int, default=50, help="of these, videos with one labeled query")
    parser.add_argument("--num-held-out", type=int, default=60, help="videos to measure on")
    parser.add_argument(
        "--split",
        choices=[split for split in SPLITS if split != "train"],
        default="test",
        help="family of the held-out videos",
    )
    parser.add_argument("--world-seed", type=int, default=0, help="seed of the world")
    # Clips of 1 s and intervals of 5 s: both half of the released corpus's.
    parser.add_argument("--interval-length", type=float, default=5.0, help="seconds between captioned frames")
    parser.add_argument("--pretraining-steps", type=int, default=800, help="also of the run on all queries")
    parser.add_argument("--finetuning-steps", type=int, default=1_200, help="with and without pretraining")
    parser.add_argument("--all-labels", action="store_true", help="also train on all queries, as an upper mark")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2018, 2019, 2020])
    parser.add_argument("--num-threads", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the experiment and prints the table."""
    args = parse_arguments(arguments)
    torch.set_num_threads(args.num_threads)
    start = time.perf_counter()
    tables = build_dataset(args, render(args))
    prepared = time.perf_counter()
    names = [name for name in RUNS if name != "all_labels" or args.all_labels]
    metrics = {name: [train(args, name, seed, tables) for seed in args.seeds] for name in names}
    print(table(metrics, {split: len(rows) for split, rows in tables.items()}))
    print(
        f"Videos, captions and features took {prepared - start:.0f} s, training {time.perf_counter() - prepared:.0f} s, "
        f"on {args.num_threads} CPU thread(s)"
    )


if __name__ == "__main__":
    main()
