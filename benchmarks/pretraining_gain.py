"""How much pretraining on captions helps with few labels, in the made-up world, from rendered videos alone.

    python examples/train_demo_captioner.py runs/demo_captioner
    python -m benchmarks.pretraining_gain runs/demo_captioner runs/pretraining_gain

Renders videos, a few of which get one labeled query each, and held-out videos. Captions the former and scores the
captions by the demo's CLIP (Algorithm 1 of the paper), extracts features with the same CLIP, pretrains a small
VideoLights on the captions, finetunes it on the labeled queries, and trains the same model on them from scratch for the
same number of steps. Everything uses the package's corpus, extraction and training code and the published recipes, except
for sizes, steps and learning rate. Nothing is selected: metrics are those after the last step. Ends with a table of means
and sample standard deviations over seeds. Run the same command again to continue an interrupted experiment.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
import typer

from videolights_hf.backbones import complete_checkpoints, load_backbones
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.corpus import Captioner, CorpusSettings, SimilarityScorer, generate_corpus, leave_out
from videolights_hf.data import get_dataset_spec, read_annotations, read_backbone_checkpoints
from videolights_hf.demo import ANNOTATIONS_FILE, CLIP_SECONDS, FRAME_SIZE, demo_checkpoint, make_world
from videolights_hf.extraction import DatasetTarget, ExtractionSettings, extract_feature_dataset, find_videos
from videolights_hf.training import RunData, load_recipe, train_recipe

from .tables import table_of_means

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
DEMO_CLIP = demo_checkpoint() / "backbones" / "clip"
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


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The settings of the experiment, as `main` takes them."""

    captioner: Path
    output: Path
    clip: Path
    num_videos: int
    num_labeled: int
    num_held_out: int
    split: str
    world_seed: int
    interval_length: float
    pretraining_steps: int
    finetuning_steps: int
    batch_size: int
    learning_rate: float
    num_threads: int


RUNS = {
    "scratch": Run("{train} labeled queries", "qvhighlights/videolights", "train"),
    "pretrained": Run("{pretrain} captions", "pretraining/blip", "pretrain"),
    "finetuned": Run(
        "{pretrain} captions, then {train} labeled queries", "qvhighlights/videolights-pt", "train", "pretrained"
    ),
    "all_labels": Run("all {all} queries of the same videos, labeled", "qvhighlights/videolights", "all"),
}


def render(experiment: Experiment) -> dict[str, Path]:
    """Render the videos, write the annotations of the splits `train`, `all` and `test`, and return their files."""
    annotations = {}
    for name, split, number in (
        ("pool", "train", experiment.num_videos),
        ("held_out", experiment.split, experiment.num_held_out),
    ):
        folder = experiment.output / "videos" / name
        if not (folder / ANNOTATIONS_FILE).exists():
            make_world(folder, split, range(number), seed=experiment.world_seed, show_progress=True)
        annotations[name] = read_annotations(folder / ANNOTATIONS_FILE, WORLD)
    first_of_video = {row["vid"]: row for row in reversed(annotations["pool"])}
    labeled = sorted(first_of_video.values(), key=lambda row: row["qid"])[: experiment.num_labeled]
    splits = {"train": labeled, "all": annotations["pool"], "test": annotations["held_out"]}
    files = {split: experiment.output / f"{split}.jsonl" for split in splits}
    for split, rows in splits.items():
        files[split].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return files


def build_dataset(experiment: Experiment, annotations: dict[str, Path]) -> DatasetDict:
    """Caption the videos that are not held out, and extract all features.

    Returns:
        The feature dataset with the splits of `annotations` and, of captions, `pretrain`.
    """
    videos = find_videos(experiment.output / "videos")
    pool, _ = leave_out(videos, [row["vid"] for row in read_annotations(annotations["test"], WORLD)])
    corpus = generate_corpus(
        pool,
        experiment.output / "corpus",
        Captioner.from_pretrained(experiment.captioner, generation={"max_new_tokens": MAX_CAPTION_TOKENS}),
        SimilarityScorer.from_pretrained(experiment.clip),
        CorpusSettings("paper", experiment.interval_length, caption_frame_size=FRAME_SIZE, clip_frame_size=FRAME_SIZE),
        ExtractionSettings(clip_length=CLIP_SECONDS),
    )
    print(corpus)
    checkpoints = complete_checkpoints(["clip"], {"clip": str(experiment.clip)})
    specs = {"pretrain": "pretraining", **dict.fromkeys(annotations, WORLD)}
    target = DatasetTarget(experiment.output / "dataset", {"pretrain": corpus.path, **annotations}, specs, strict=True)
    settings = ExtractionSettings(clip_length=CLIP_SECONDS, checkpoints=checkpoints)
    tables, _ = extract_feature_dataset(
        target, videos, experiment.output / "features", load_backbones(checkpoints), settings
    )
    return tables


def train(experiment: Experiment, name: str, seed: int, tables: DatasetDict) -> dict[str, float]:
    """Metrics of one run with one seed on the held-out videos; trains it unless that is done by the same settings."""
    run, output = RUNS[name], experiment.output / "runs" / f"{name}-{seed}"
    results = output.with_suffix(".json")
    # All of them: a finetuned model also depends on how it was pretrained.
    options = {key: str(value) for key, value in dataclasses.asdict(experiment).items()}
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
        "learning_rate": experiment.learning_rate,
        "per_device_train_batch_size": experiment.batch_size,
        "max_steps": experiment.finetuning_steps if run.train_split == "train" else experiment.pretraining_steps,
    }
    recipe = load_recipe(run.recipe, [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    start = time.perf_counter()
    metrics = train_recipe(
        recipe,
        RunData(tables, backbone_checkpoints=read_backbone_checkpoints(experiment.output / "dataset")),
        output,
        init_from=experiment.output / "runs" / f"{run.init_from}-{seed}" if run.init_from else None,
    )
    metrics = {title: metrics[f"eval_{key}"] for title, key in METRICS.items()}
    print(
        f"{name}, seed {seed}: "
        + ", ".join(f"{title} {value:.1f}" for title, value in metrics.items())
        + f" ({time.perf_counter() - start:.0f} s)"
    )
    results.write_text(json.dumps({"metrics": metrics, "options": options}, indent=1))
    return metrics


def main(
    captioner: Annotated[Path, typer.Argument(help="Captioner that train_demo_captioner.py trained.")],
    output: Annotated[Path, typer.Argument(help="Folder for videos, corpus, features, datasets and runs.")],
    clip: Annotated[Path, typer.Option(help="CLIP checkpoint. Default: the demo's.")] = DEMO_CLIP,
    num_videos: Annotated[int, typer.Option(help="Videos to caption.")] = 300,
    num_labeled: Annotated[int, typer.Option(help="How many of them get one labeled query.")] = 50,
    num_held_out: Annotated[int, typer.Option(help="Videos to measure on.")] = 60,
    split: Annotated[
        Literal["validation", "test", "demo"], typer.Option(help="Family of the held-out videos.")
    ] = "test",
    world_seed: Annotated[int, typer.Option(help="Seed of the world.")] = 0,
    # Clips of 1 s and intervals of 5 s: both half of the released corpus's.
    interval_length: Annotated[float, typer.Option(help="Seconds between captioned frames.")] = 5.0,
    pretraining_steps: Annotated[int, typer.Option(help="Also those of the run on all queries.")] = 800,
    finetuning_steps: Annotated[int, typer.Option(help="With and without pretraining.")] = 1_200,
    all_labels: Annotated[
        bool, typer.Option("--all-labels", help="Also train on all queries, as an upper mark.")
    ] = False,
    batch_size: Annotated[int, typer.Option()] = 16,
    learning_rate: Annotated[float, typer.Option()] = 1e-3,
    seed: Annotated[list[int] | None, typer.Option(help="Repeatable. Default: 2018, 2019 and 2020.")] = None,
    num_threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Run the experiment and print the table."""
    experiment = Experiment(
        captioner=captioner,
        output=output,
        clip=clip,
        num_videos=num_videos,
        num_labeled=num_labeled,
        num_held_out=num_held_out,
        split=split,
        world_seed=world_seed,
        interval_length=interval_length,
        pretraining_steps=pretraining_steps,
        finetuning_steps=finetuning_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        num_threads=num_threads,
    )
    torch.set_num_threads(num_threads)
    start = time.perf_counter()
    tables = build_dataset(experiment, render(experiment))
    prepared = time.perf_counter()
    names = [name for name in RUNS if name != "all_labels" or all_labels]
    seeds = seed or [2018, 2019, 2020]
    metrics = {name: [train(experiment, name, seed, tables) for seed in seeds] for name in names}
    sizes = {split: len(rows) for split, rows in tables.items()}
    print(table_of_means({RUNS[name].title.format(**sizes): runs for name, runs in metrics.items()}, "trained on"))
    print(
        f"Videos, captions and features took {prepared - start:.0f} s, training {time.perf_counter() - prepared:.0f} s, "
        f"on {num_threads} CPU thread(s)"
    )


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
