import json
import re
from pathlib import Path

import pytest
import torch

from tests.support.launching import launch_two
from tests.support.training_distributed_run import run
from videolights_hf.metrics import read_json_lines

SIZES = {"train": 12, "val": 7}

pytestmark = pytest.mark.slow


def values(seen, key):
    return [row[key] for row in seen["log"] if key in row]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes with batches of two saw."""
    folder = tmp_path_factory.mktemp("two")
    launch_two(
        "-m",
        "tests.support.training_distributed_run",
        str(folder),
        json.dumps(SIZES),
        json.dumps({"per_device_train_batch_size": 2, "per_device_eval_batch_size": 2}),
    )
    return folder, [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def accumulating(tmp_path_factory):
    """One process that accumulates two batches of two before it steps."""
    folder = tmp_path_factory.mktemp("accumulating")
    return run(folder, SIZES, per_device_train_batch_size=2, gradient_accumulation_steps=2)


@pytest.fixture(scope="module")
def twice_the_batch(tmp_path_factory):
    """One process with batches of four."""
    return run(tmp_path_factory.mktemp("twice"), SIZES, per_device_train_batch_size=4)


def test_two_processes_run(two):
    assert [seen["world_size"] for seen in two[1]] == [2, 2]


def test_data_comes_in_the_order_of_one_process_with_twice_the_batch(two, twice_the_batch):
    first, second = (seen["batches"] for seen in two[1])
    assert [a + b for a, b in zip(first, second, strict=True)] == twice_the_batch["batches"]
    assert len(twice_the_batch["batches"]) == 9


def test_losses_and_weights_are_those_of_one_process_that_accumulates_as_many_batches(two, accumulating):
    for seen in two[1]:
        for key in ("loss", "loss_span", "saliency_hard", "loss_contrastive_align_0", "grad_norm", "learning_rate"):
            assert values(seen, key) == pytest.approx(values(accumulating, key), rel=1e-3), key
        for name, weights in accumulating["weights"].items():
            if re.search(r"\.k_\w*proj\.bias$", name):
                # A constant added to all keys cancels in the softmax: the gradient is rounding, and Adam makes it steps.
                continue
            assert torch.allclose(torch.tensor(seen["weights"][name]), torch.tensor(weights), atol=1e-4), name


def test_terms_that_are_means_are_those_of_one_process_with_twice_the_batch(two, twice_the_batch):
    for seen in two[1]:
        for key in ("saliency_margin", "loss_label", "loss_span"):
            assert values(seen, key)[0] == pytest.approx(values(twice_the_batch, key)[0], rel=1e-4), key


def test_no_prediction_is_lost_or_doubled_where_the_split_does_not_divide(two, accumulating):
    folder, seen = two
    rows = read_json_lines(folder / "test_predictions.jsonl")
    assert [row["qid"] for row in rows] == [row["qid"] for row in accumulating["predictions"]]
    assert len(rows) == 7
    for row, expected in zip(rows, accumulating["predictions"], strict=True):
        assert row["pred_saliency_scores"] == pytest.approx(expected["pred_saliency_scores"], abs=5e-3)
    assert seen[0]["predictions"] == seen[1]["predictions"]


def test_metrics_are_those_of_all_predictions_in_every_process(two, accumulating):
    for seen in two[1]:
        assert seen["metrics"] == accumulating["metrics"]
        assert Path(seen["best"]).name == Path(accumulating["best"]).name


def test_learning_rate_drops_by_epochs_not_by_steps_of_processes(two):
    assert values(two[1][0], "learning_rate") == pytest.approx([1e-3] * 3 + [1e-4] * 3 + [1e-5] * 3)


def test_failed_evaluation_of_the_main_process_is_repeated_by_all(two, tmp_path):
    settings = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 2, "fail_at": 6}
    arguments = [str(tmp_path), json.dumps(SIZES), json.dumps(settings)]
    launch_two("-m", "tests.support.training_distributed_run", *arguments)
    for rank, expected in enumerate(two[1]):
        seen = json.loads((tmp_path / f"seen-{rank}.json").read_text())
        assert seen["metrics"] == expected["metrics"]
        assert values(seen, "loss") == pytest.approx(values(expected, "loss"), rel=1e-6)
        for name, weights in expected["weights"].items():
            assert torch.allclose(torch.tensor(seen["weights"][name]), torch.tensor(weights), atol=1e-6), name
