from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import BlipForConditionalGeneration, pipeline

import videolights_hf  # noqa: F401  registers the pipeline
from benchmarks.pretraining_gain import METRICS, RUNS, main
from benchmarks.tables import table_of_means
from examples.train_demo_captioner import build_config, build_processor
from videolights_hf.data import load_feature_dataset


@pytest.fixture
def captioner(tmp_path) -> Path:
    """A captioner of random weights, saved as the training script saves it."""
    processor = build_processor()
    torch.manual_seed(0)
    BlipForConditionalGeneration(build_config(processor.tokenizer)).save_pretrained(tmp_path / "captioner")
    processor.save_pretrained(tmp_path / "captioner")
    return tmp_path / "captioner"


@pytest.mark.slow
def test_experiment_leads_from_nothing_to_a_table_and_goes_on_where_it_stopped(captioner, capsys, tmp_path):
    output = tmp_path / "gain"
    settings = {"num_videos": 3, "num_labeled": 2, "num_held_out": 1, "interval_length": 20.0, "all_labels": True}
    settings |= {"pretraining_steps": 2, "finetuning_steps": 1, "batch_size": 2, "seed": [1, 2]}
    main(captioner, output, **settings)
    printed = capsys.readouterr().out

    tables = load_feature_dataset(output / "dataset")
    held_out = set(tables["test"]["vid"])
    assert len(tables["train"]) == len(set(tables["train"]["vid"])) == 2
    assert len(set(tables["pretrain"]["vid"])) == 3
    assert not held_out & set(tables["pretrain"]["vid"])
    assert not held_out & set(tables["all"]["vid"])
    assert set(tables["pretrain"]["label_rule"]) == {"window"}
    assert set(tables["train"]["label_rule"]) == {"graded"}
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(RUNS)
    assert all(line.count("±") == len(METRICS) for line in rows[1:])

    retrieve = pipeline("video-moment-retrieval", model=str(output / "runs" / "finetuned-1"))
    video = next((output / "videos" / "held_out").glob("*.mp4"))
    result = retrieve(str(video), "a red star")
    assert result["moments"]
    assert len(result["saliency"]) == round(result["duration"])

    steps = {
        name: json.loads((output / "runs" / f"{name}-1" / "trainer_state.json").read_text())["max_steps"]
        for name in RUNS
    }
    assert steps == {"scratch": 1, "pretrained": 2, "finetuned": 1, "all_labels": 2}

    results = {path: path.stat().st_mtime_ns for path in (output / "runs").glob("*.json")}
    assert len(results) == 2 * len(RUNS)
    assert all(set(json.loads(path.read_text())["metrics"]) == set(METRICS) for path in results)
    main(captioner, output, **settings)
    assert {path: path.stat().st_mtime_ns for path in results} == results
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")] == rows
    # Other settings train again.
    main(captioner, output, **(settings | {"seed": [1]}), learning_rate=0.01)
    again = {path for path, time in results.items() if path.stat().st_mtime_ns != time}
    assert again == {output / "runs" / f"{name}-1.json" for name in RUNS}


def test_table_gives_mean_and_sample_standard_deviation():
    runs = [dict.fromkeys(METRICS, value) for value in (1.0, 3.0)]
    rows = table_of_means({"scratch": runs, "pretrained": runs[:1]}, "trained on").splitlines()
    assert rows[0] == f"| trained on | {' | '.join(METRICS)} |"
    assert rows[2] == "| scratch | " + " | ".join(["2.0 ± 1.4"] * len(METRICS)) + " |"
    assert rows[3] == "| pretrained | " + " | ".join(["1.0"] * len(METRICS)) + " |"
