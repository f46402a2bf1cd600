"""Learning curves of one recipe over several seeds, beside reference runs.

    python -m benchmarks.learning_curve train DATA --seed 2018 --epochs 60 --output runs/curve
    python -m benchmarks.learning_curve summarize runs/curve --reference reference_training.json --plot curve.png

`train` trains the small model of the published comparison (hidden size 64, 4 heads, feed-forward 256, learning rate
5e-4 without drops) on the splits `train` and `val` of a feature dataset and writes one JSON file per run: the training
loss of every epoch and the metrics at the epochs asked for. Nothing in the recipe depends on the number of epochs, so
one run of 60 epochs also gives what a run of 30 ends with. `summarize` prints mean and spread of all runs in a folder
by number of epochs and draws the losses. `plain_release.py` writes runs of the released model to the same folder.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help=__doc__, add_completion=False)

HEADLINES = (
    "MR-full-mAP",
    "MR-full-R1@0.5",
    "MR-full-R1@0.7",
    "MR-full-mIoU",
    "MR-long-mAP",
    "MR-middle-mAP",
    "HL-min-VeryGood-mAP",
    "HL-min-VeryGood-Hit1",
)
SMALL_MODEL = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Feature dataset with the splits train and val.")],
    output: Annotated[Path, typer.Option(help="Folder for the run's JSON file and its checkpoints.")],
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 2018,
    epochs: Annotated[int, typer.Option(help="Passes over the training split.")] = 30,
    evaluate_at: Annotated[list[int], typer.Option(help="Epochs after which to evaluate, beside the last.")] = [],  # noqa: B006
    word_correlation: Annotated[str, typer.Option(help="'constant', as released, or 'attended'.")] = "constant",
    full_size: Annotated[bool, typer.Option(help="The published widths instead of the small model's.")] = False,
    batch_size: Annotated[int, typer.Option(help="Queries a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Learning rate.")] = 5e-4,
    init_from: Annotated[
        Path | None, typer.Option(help="Model folder to start from, not from random weights.")
    ] = None,
    use_cpu: Annotated[bool, typer.Option(help="Train on the CPU even if there is an accelerator.")] = False,
) -> None:
    """Train once and write losses and metrics."""
    from transformers import set_seed

    from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval
    from videolights_hf.data import FeatureDataset, load_feature_dataset, table_backbones
    from videolights_hf.training import VideoLightsTrainer, VideoLightsTrainingArguments

    tables = load_feature_dataset(data)
    video_backbones, text_backbones = table_backbones(tables)
    config = VideoLightsConfig(
        video_backbones=video_backbones,
        text_backbones=text_backbones,
        word_correlation=word_correlation,
        **({} if full_size else SMALL_MODEL),
    )
    set_seed(seed)
    if init_from is None:
        model, label = VideoLightsForMomentRetrieval(config), f"ours, {word_correlation}"
    else:
        model, label = VideoLightsForMomentRetrieval.from_pretrained(init_from, config=config), "ours, given weights"
    name = f"{label.removeprefix('ours, ').replace(' ', '-')}-seed{seed}-epochs{epochs}"
    trainer = VideoLightsTrainer(
        model,
        VideoLightsTrainingArguments(
            output_dir=str(output / name),
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            lr_drop=0,
            seed=seed,
            moment_bounds=[0, 150],
            save_strategy="no",
            load_best_model_at_end=False,
            use_cpu=use_cpu,
        ),
        train_dataset=FeatureDataset.from_config(tables, "train", config, training=True, seed=seed),
        eval_dataset=FeatureDataset.from_config(tables, "val", config),
    )
    about = {"seed": seed, "label": label}
    trainer.add_callback(_recorder(output / f"{name}.json", about, {*evaluate_at, epochs}))
    trainer.train()


def _recorder(path: Path, about: dict, evaluate_at: set[int]):
    """A callback that evaluates after certain epochs, and keeps a file of losses and metrics up to date."""
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            control.should_evaluate = round(state.epoch) in evaluate_at
            return control

        def on_log(self, args, state, control, **kwargs):
            metrics = {
                str(round(row["epoch"])): {
                    key.removeprefix("eval_"): value
                    for key, value in row.items()
                    if key.startswith(("eval_MR-", "eval_HL-"))
                }
                for row in state.log_history
                if "eval_loss" in row
            }
            losses = [round(row["loss"], 3) for row in state.log_history if "loss" in row]
            path.write_text(json.dumps({**about, "train_loss_by_epoch": losses, "metrics": metrics}, indent=1))

    return Recorder()


def _read_runs(folder: Path, reference: Path | None) -> list[dict]:
    """Runs as `train` writes them: `label`, `seed`, `train_loss_by_epoch`, and `metrics` by epoch."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if reference:
        for run in json.loads(reference.read_text())["runs"]:
            runs.append({**run, "label": "release", "metrics": {str(run["epochs"]): run["metrics"]}})
    return runs


def _by_epochs(runs: list[dict], average_from: int | None) -> dict[tuple[str, str], dict[int, dict[str, float]]]:
    """Metrics of each seed by (epochs, label); runs evaluated at several epochs also get their average."""
    groups: dict[tuple[str, str], dict[int, dict[str, float]]] = defaultdict(dict)
    for run in runs:
        for epochs, metrics in run["metrics"].items():
            groups[epochs, run["label"]][run["seed"]] = metrics
        late = [epochs for epochs in run["metrics"] if average_from is not None and int(epochs) >= average_from]
        if len(late) > 1:
            groups[f"{late[0]}-{late[-1]}", run["label"]][run["seed"]] = {
                name: statistics.mean(run["metrics"][epochs][name] for epochs in late) for name in HEADLINES
            }
    return groups


def _table(rows: dict[tuple[str, str], list[dict[str, float]]], standard_error: bool = False) -> str:
    lines = ["| run | epochs | seeds | " + " | ".join(HEADLINES) + " |", "|---" * (3 + len(HEADLINES)) + "|"]
    for (epochs, label), runs in sorted(rows.items(), key=lambda row: (int(row[0][0].split("-")[0]), *row[0])):
        cells = []
        for name in HEADLINES:
            values = [run[name] for run in runs]
            spread = statistics.stdev(values) / (len(values) ** 0.5 if standard_error else 1) if len(values) > 1 else 0
            cells.append(f"{statistics.mean(values):.2f}" + (f" ± {spread:.2f}" if len(values) > 1 else ""))
        lines.append(f"| {label} | {epochs} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@app.command()
def summarize(
    folder: Annotated[Path, typer.Argument(help="Folder that `train` wrote to.")],
    reference: Annotated[Path | None, typer.Option(help="JSON file with reference runs, labeled 'release'.")] = None,
    average_from: Annotated[
        int | None, typer.Option(help="Also average each run over its evaluations from this epoch on.")
    ] = None,
    against: Annotated[
        list[str],
        typer.Option(help="Label of runs from which those of the same seeds are subtracted."),
    ] = [],  # noqa: B006
    plot: Annotated[Path | None, typer.Option(help="Where to draw the losses.")] = None,
) -> None:
    """Print means and sample standard deviations over the seeds, and draw the losses per epoch."""
    runs = _read_runs(folder, reference)
    groups = _by_epochs(runs, average_from)
    print(_table({key: list(by_seed.values()) for key, by_seed in groups.items()}))
    for base in against:
        if base not in {run["label"] for run in runs}:
            known = ", ".join(sorted({repr(run["label"]) for run in runs}))
            raise typer.BadParameter(f"no run is labeled {base!r}; there are {known}", param_hint="--against")
        differences = {}
        for (epochs, label), by_seed in groups.items():
            others = groups.get((epochs, base), {})
            shared = sorted(set(by_seed) & set(others)) if label != base else []
            if shared:
                differences[epochs, label] = [
                    {name: by_seed[seed][name] - others[seed][name] for name in HEADLINES} for seed in shared
                ]
        print(f"\nDifference from {base!r}, seed by seed, and its standard error:\n")
        print(_table(differences, standard_error=True))
    if plot:
        curves: dict[str, list[list[float]]] = defaultdict(list)
        for run in runs:
            curves[run["label"]].append(run["train_loss_by_epoch"])
        _draw(curves, plot)


def _draw(curves: dict[str, list[list[float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for number, (label, runs) in enumerate(sorted(curves.items())):
        for index, losses in enumerate(runs):
            axes.plot(range(1, len(losses) + 1), losses, color=f"C{number}", alpha=0.8, label=None if index else label)
    axes.set(xlabel="epoch", ylabel="training loss", title="One line a run")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    app()
