"""Between logging steps, a step of the Trainer asks a device for nothing."""

from transformers import TrainerCallback

from tests.support.devices import CountSyncs, device_paths
from tests.support.training import small_trainer


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
