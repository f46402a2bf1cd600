"""A short run in a process of its own, which kills itself on demand: `python -m tests.support.training_resumable_run`."""

from __future__ import annotations

import argparse
import json
import os
import signal

from transformers import TrainerCallback

from tests.support.training import small_trainer


class KillAtStep(TrainerCallback):
    """Ends the process as a power cut would, in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def make_trainer(output_dir, **settings):
    """Ten epochs' worth of everything that has a state: optimizer, schedule, average, draws, dropout, grouping."""
    defaults = {
        "num_train_epochs": 4,
        "per_device_train_batch_size": 3,
        "save_strategy": "steps",
        "save_steps": 3,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "lr_drop": 2,
        "save_total_limit": None,
    }
    return small_trainer(output_dir, **{**defaults, **settings})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output_dir")
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--settings", type=json.loads, default={})
    options = parser.parse_args()
    trainer = make_trainer(options.output_dir, **options.settings)
    if options.kill_at:
        trainer.add_callback(KillAtStep(options.kill_at))
    trainer.train(resume_from_checkpoint=options.resume)
    trainer.save_model()
