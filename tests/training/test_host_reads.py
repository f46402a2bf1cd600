"""Between logging steps, a step of the Trainer asks a device for nothing."""

import pytest
import torch
from transformers import TrainerCallback

from tests.support.devices import CountConstants, CountSyncs, device_paths
from tests.support.factories import random_inputs, random_labels, tiny_detector
from tests.support.training import small_trainer
from videolights_hf import (
    MomentDetrForMomentRetrieval,
    QDDetrForMomentRetrieval,
    TRDetrForMomentRetrieval,
    VideoLightsForMomentRetrieval,
)


class CountInSteps(TrainerCallback):
    """Reads from the begin of each optimizer step to its end; batches are loaded before."""

    def __init__(self, syncs: CountSyncs):
        self.syncs, self.by_step = syncs, []

    def on_step_begin(self, *args, **kwargs):
        self.before = self.syncs.count

    def on_step_end(self, *args, **kwargs):
        self.by_step.append(self.syncs.count - self.before)


def test_no_step_waits_for_the_device(tmp_path):
    quiet = {"eval_strategy": "no", "save_strategy": "no", "logging_strategy": "no"}
    trainer = small_trainer(tmp_path, num_train_epochs=2, **quiet)
    with device_paths(), CountSyncs() as syncs:
        counts = CountInSteps(syncs)
        trainer.add_callback(counts)
        trainer.train()
        # The counter does count: loading batches reads the epoch.
        assert syncs.count > 0
    assert len(counts.by_step) > 2
    assert not any(counts.by_step)


@pytest.mark.parametrize(
    "model_class",
    [VideoLightsForMomentRetrieval, MomentDetrForMomentRetrieval, QDDetrForMomentRetrieval, TRDetrForMomentRetrieval],
)
def test_no_constant_is_copied_to_the_device(model_class):
    model = tiny_detector(model_class).train()
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    with device_paths(), CountConstants() as constants:
        model(**inputs, labels=labels).loss.backward()
        assert constants.count == 0
        # The counter does count.
        torch.as_tensor(1)
    assert constants.count == 1
