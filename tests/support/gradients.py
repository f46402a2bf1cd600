"""The gradient of a batch, whole or in halves, by the released and by the paper's loss members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tests.support.factories import random_inputs, random_labels

if TYPE_CHECKING:
    from accelerate import Accelerator

WITHOUT_DROPOUT = {"dropout": 0.0, "input_dropout": 0.0, "refinement_dropout": 0.0}
LOSS_MEMBERS = {
    "released": {"hard_pos_neg_loss_coef": 10.0},
    "paper": {
        # The size that sums of raw scores need.
        "hard_pos_neg_loss_coef": 1e-3,
        "loss_padding": "masked",
        "saliency_scaling": "none",
        "loss_reduction": "paper",
        "hard_negative_loss": "absolute",
    },
}


def batch_of_pairs(config) -> tuple[dict, dict]:
    """Four videos with the sentences a, b, a, b, so that halves have the negatives of the whole; three moments each."""
    inputs = random_inputs(config, ((7, 5), (4, 3), (5, 5), (6, 3)))
    for name in ("text_features", "text_attention_mask"):
        inputs[name][2:] = inputs[name][:2]
    return inputs, random_labels(inputs, (1, 2, 2, 1))


def part_of(inputs: dict, labels: dict, rows: slice) -> dict:
    """Some rows of a batch, padded to their own longest video."""
    clips = int(inputs["video_attention_mask"][rows].sum(1).max())
    part = {name: value[rows, :clips] if name.startswith("video") else value[rows] for name, value in inputs.items()}
    of_clips = ("saliency", "relevant_clips")
    targets = {name: value[rows, :clips] if name in of_clips else value[rows] for name, value in labels.items()}
    return {**part, "labels": targets}


def gradient_of(model: torch.nn.Module, inputs: dict, accelerator: Accelerator | None = None) -> dict:
    """The gradient of each parameter, averaged over the processes of `accelerator`."""
    model.train()
    if accelerator is None:
        model(**inputs).loss.backward()
    else:
        # The gradients are averaged for as long as the wrapped model lives.
        wrapped = accelerator.prepare(model)
        accelerator.backward(wrapped(**inputs).loss)
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def gradient_error(found: dict, expected: dict) -> float:
    """The largest difference, in parts of the largest gradient."""
    assert found.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    return float(max((found[name] - expected[name]).abs().max() for name in expected) / largest)
