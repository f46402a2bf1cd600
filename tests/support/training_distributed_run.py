"""A short run that notes what each process saw: started by `accelerate launch` in the tests."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from tests.support.training import make_tables, small_config, small_trainer
from videolights_hf.data import VideoLightsDataCollator
from videolights_hf.training import EvaluationFailedError, evaluating


class NotingCollator(VideoLightsDataCollator):
    """Keeps the qids of every training batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.batches = []

    def __call__(self, items):
        if items[0]["training"]:
            self.batches.append([item["qid"] for item in items])
        return super().__call__(items)


def fail_to_score(trainer, at_step: int) -> None:
    """Let scoring fail once, which happens on the main process alone."""
    score = evaluating.write_and_score

    def fail_at_step(*arguments):
        if trainer.state.global_step == at_step:
            evaluating.write_and_score = score
            raise OSError("the disk is full")
        return score(*arguments)

    evaluating.write_and_score = fail_at_step


def run(output_dir, sizes, fail_at: int | None = None, **settings) -> dict:
    """Train, evaluate and return what this process saw and knows; with `fail_at`, resume after a failed evaluation."""
    output_dir = Path(output_dir)
    still = {"dropout": 0.0, "input_dropout": 0.0, "refinement_dropout": 0.0}
    collator = NotingCollator(seed=2018)
    defaults = {"num_train_epochs": 3, "logging_strategy": "steps", "logging_steps": 1, "lr_drop": 1, "eval_epochs": 2}
    options = {
        "tables": make_tables(sizes=sizes),
        "config": small_config(**still),
        "trainer_options": {"data_collator": collator},
        **{**defaults, **settings},
    }
    trainer = small_trainer(output_dir, **options)
    if fail_at is not None:
        fail_to_score(trainer, fail_at)
        try:
            trainer.train()
        except EvaluationFailedError:
            trainer = small_trainer(output_dir, **options)
        trainer.train(resume_from_checkpoint=True)
    else:
        trainer.train()
    predictions = trainer.predict(trainer.eval_dataset)
    return {
        "world_size": trainer.args.world_size,
        "batches": collator.batches,
        "log": trainer.state.log_history,
        "predictions": predictions.predictions,
        "metrics": {name: value for name, value in predictions.metrics.items() if "MR-" in name or "score" in name},
        "best": trainer.state.best_model_checkpoint,
        "weights": {name: value.tolist() for name, value in trainer.model.state_dict().items()},
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("sizes", type=json.loads)
    parser.add_argument("settings", type=json.loads)
    options = parser.parse_args()
    seen = run(options.output_dir, options.sizes, **options.settings)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    (options.output_dir / f"seen-{rank}.json").write_text(json.dumps(seen))
