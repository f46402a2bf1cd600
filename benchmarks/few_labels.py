"""What twenty labeled moments teach a trained model, in the made-up world.

    python -m benchmarks.few_labels runs/few_labels

The bundled model finds whole scenes. Here moments are labeled by another convention: the first three seconds of a scene.
Renders videos, labels one query in each of twenty of them, and measures on held-out videos, labeled in the same way: the
bundled model as it is, finetuned on the twenty, and the same model trained on them from scratch for as many steps. Nothing
is selected: metrics are those after the last step. Ends with a table of means and sample standard deviations over seeds.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer

from videolights_hf.backbones import load_backbones
from videolights_hf.cli.terminal import errors_as_lines
from videolights_hf.common.files import write_json
from videolights_hf.common.json_lines import write_json_lines
from videolights_hf.demo import ANNOTATIONS_FILE, CLIP_SECONDS, demo_checkpoint, make_world
from videolights_hf.extraction import DatasetTarget, ExtractionSettings, extract_feature_dataset, find_videos
from videolights_hf.training import RunData, load_recipe, train_recipe
from videolights_hf.training.run import evaluate_checkpoint

from .tables import table_of_means

if TYPE_CHECKING:
    from datasets import DatasetDict

METRICS = {"mAP": "MR-full-mAP", "R1@0.5": "MR-full-R1@0.5", "R1@0.7": "MR-full-R1@0.7", "mIoU": "MR-full-mIoU"}
MOMENT_SECONDS = 3
# Of the bundled model, which these settings must repeat, and of training.
SETTINGS = {
    "clip_length": CLIP_SECONDS,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "per_device_train_batch_size": 4,
    "lr_drop": 0,
    "lr_scheduler_type": "cosine",
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": "false",
    "early_stopping_patience": -1,
    "report_to": "none",
    "use_cpu": "true",
    "eval_split": "test",
}


def relabel(annotation: dict[str, Any]) -> dict[str, Any]:
    """The same query with moments that last three seconds, and no highlights."""
    windows = [[start, min(end, start + MOMENT_SECONDS)] for start, end in annotation["relevant_windows"]]
    return {name: annotation[name] for name in ("qid", "query", "vid", "duration")} | {"relevant_windows": windows}


def build_dataset(output: Path, num_labels: int, num_held_out: int) -> DatasetDict:
    """Render, label and encode videos; the feature dataset with the splits `train` and `test`."""
    files = {}
    for split, number in (("train", num_labels), ("test", num_held_out)):
        folder = output / "videos" / split
        if not (folder / ANNOTATIONS_FILE).exists():
            make_world(folder, split, range(number), seed=0, show_progress=True)
        rows = [relabel(json.loads(line)) for line in (folder / ANNOTATIONS_FILE).read_text().splitlines()]
        if split == "train":
            # One query of each video, of a single moment where there is one.
            chosen = {row["vid"]: row for row in sorted(rows, key=lambda row: -len(row["relevant_windows"]))}
            rows = list(chosen.values())
        files[split] = output / f"{split}.jsonl"
        write_json_lines(files[split], rows)
    checkpoints = {"clip": str(demo_checkpoint() / "backbones" / "clip")}
    tables, _ = extract_feature_dataset(
        DatasetTarget(output / "dataset", files, "charades_sta", strict=True),
        find_videos(output / "videos"),
        output / "features",
        load_backbones(checkpoints),
        ExtractionSettings(clip_length=CLIP_SECONDS, checkpoints=checkpoints),
    )
    return tables


def run(output: Path, tables: DatasetDict, settings: dict[str, Any], init_from: Path | None) -> dict[str, float]:
    """Metrics of one training run on the held-out videos; trains it unless that is done with the same settings."""
    results = output.with_suffix(".json")
    if results.exists():
        done = json.loads(results.read_text())
        if done["settings"] == settings:
            return done["metrics"]
    recipe = load_recipe("charades_sta/clip", [f"{key}={value}" for key, value in (SETTINGS | settings).items()])
    shutil.rmtree(output, ignore_errors=True)
    metrics = train_recipe(recipe, RunData(tables), output, init_from=init_from)
    metrics = {title: metrics[f"eval_{name}"] for title, name in METRICS.items()}
    write_json(results, {"metrics": metrics, "settings": settings})
    return metrics


def main(
    output: Annotated[Path, typer.Argument(help="Folder for videos, features and runs.")],
    num_labels: Annotated[int, typer.Option(min=1, help="Labeled queries, each of another video.")] = 20,
    num_held_out: Annotated[int, typer.Option(min=1, help="Videos to measure on.")] = 40,
    steps: Annotated[int, typer.Option(min=1, help="Training steps, from the bundled model and from scratch.")] = 150,
    learning_rate: Annotated[float, typer.Option(help="Of finetuning; training from scratch takes 1e-3.")] = 3e-4,
    seed: Annotated[list[int] | None, typer.Option(help="Repeat for several. Default: 0, 1 and 2.")] = None,
    num_threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Run the experiment and print the table."""
    torch.set_num_threads(num_threads)
    tables = build_dataset(output, num_labels, num_held_out)
    as_it_is = evaluate_checkpoint(
        demo_checkpoint(), tables, "test", output / "bundled", load_recipe("charades_sta/clip", ["use_cpu=true"])
    )
    rows: dict[str, list[dict[str, float]]] = {
        "the bundled model": [{title: as_it_is[f"test_{name}"] for title, name in METRICS.items()}],
        f"finetuned on {num_labels} labeled queries": [],
        "trained on them from scratch": [],
    }
    for number in seed or [0, 1, 2]:
        settings = {"seed": number, "max_steps": steps}
        for name, init_from, rate in (("finetuned", demo_checkpoint(), learning_rate), ("scratch", None, 1e-3)):
            metrics = run(output / "runs" / f"{name}-{number}", tables, settings | {"learning_rate": rate}, init_from)
            list(rows.values())[1 if init_from else 2].append(metrics)
    print(table_of_means(rows))


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
