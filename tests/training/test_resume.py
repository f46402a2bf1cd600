import json
import os
import shutil
import signal
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from tests.support.training import end_weights, small_config, small_trainer
from tests.support.training_resumable_run import make_trainer
from videolights_hf.training import DivergedError, EvaluationFailedError, find_resumable_checkpoint
from videolights_hf.training.checkpoints import checkpoint_fault, is_evaluation_due

ROOT = Path(__file__).parents[2]
VARIANTS = {
    "plain": {},
    "accumulating": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
    "averaging": {"ema_decay": 0.7},
    "length-grouped": {"train_sampling_strategy": "group_by_length"},
}


def drop_batch_size(path):
    state = json.loads(path.read_text())
    del state["train_batch_size"]
    path.write_text(json.dumps(state))


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


class StopError(Exception):
    pass


def interrupt_at(trainer, step):
    """End the run with an exception at a step, before a checkpoint of that step is written."""

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == step:
                raise StopError

    trainer.add_callback(Stop())
    with pytest.raises(StopError):
        trainer.train()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    """Change one bit of the largest tensor in a file of torch."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
    names = int.from_bytes(content[entry.header_offset + 26 : entry.header_offset + 28], "little")
    extra = int.from_bytes(content[entry.header_offset + 28 : entry.header_offset + 30], "little")
    content[entry.header_offset + 30 + names + extra] ^= 1
    path.write_bytes(content)


def without_times(log):
    return [
        {key: value for key, value in row.items() if not key.endswith(("_per_second", "_runtime", "_preparation_time"))
         and key != "total_flos"}
        for row in log
    ]  # fmt: skip


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_resumed_run_ends_with_the_same_weights_and_log(tmp_path, settings):
    whole = make_trainer(tmp_path / "whole", **settings)
    start = end_weights(whole)
    whole.train()
    interrupt_at(make_trainer(tmp_path / "cut", **settings), 8)
    resumed = make_trainer(tmp_path / "cut", **settings)
    resumed.train(resume_from_checkpoint=True)
    assert equal(end_weights(resumed), end_weights(whole))
    assert not equal(start, end_weights(whole))
    assert without_times(resumed.state.log_history) == without_times(whole.state.log_history)


def test_losses_logged_after_a_resume_are_means_over_the_whole_window(tmp_path):
    settings = {"logging_steps": 5, "save_steps": 3, "eval_strategy": "no", "load_best_model_at_end": False}
    whole = make_trainer(tmp_path / "whole", **settings)
    whole.train()
    interrupt_at(make_trainer(tmp_path / "cut", **settings), 8)
    resumed = make_trainer(tmp_path / "cut", **settings)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.log_history[0]["step"] == 5
    assert without_times(resumed.state.log_history) == without_times(whole.state.log_history)


class TestFailedEvaluation:
    def fail(self, trainer, monkeypatch, at_step):
        score = trainer._score_on_main_process

        def fail_once(*arguments):
            if trainer.state.global_step == at_step:
                raise OSError("the disk is full")
            return score(*arguments)

        monkeypatch.setattr(trainer, "_score_on_main_process", fail_once)
        with pytest.raises(
            EvaluationFailedError, match=rf"step {at_step} failed: the disk is full.*checkpoint-{at_step}"
        ):
            trainer.train()

    @pytest.mark.parametrize("step", [3, 6])
    def test_leaves_a_checkpoint_whose_evaluation_a_resume_repeats_first(self, tmp_path, monkeypatch, step):
        whole = make_trainer(tmp_path / "whole", ema_decay=0.7)
        whole.train()
        self.fail(make_trainer(tmp_path / "cut", ema_decay=0.7), monkeypatch, step)
        checkpoint = find_resumable_checkpoint(tmp_path / "cut")
        assert checkpoint.name == f"checkpoint-{step}"
        assert is_evaluation_due(checkpoint)
        resumed = make_trainer(tmp_path / "cut", ema_decay=0.7)
        resumed.train(resume_from_checkpoint=True)
        assert not is_evaluation_due(checkpoint)
        assert equal(end_weights(resumed), end_weights(whole))
        assert without_times(resumed.state.log_history) == without_times(whole.state.log_history)
        assert resumed.state.best_metric == whole.state.best_metric
        states = [json.loads((tmp_path / run / checkpoint.name / "trainer_state.json").read_text())
                  for run in ("whole", "cut")]  # fmt: skip
        assert states[0]["best_metric"] == states[1]["best_metric"]

    def test_after_the_last_step_is_repeated_too(self, tmp_path, monkeypatch):
        settings = {"num_train_epochs": 2, "eval_strategy": "epoch", "save_strategy": "epoch"}
        self.fail(make_trainer(tmp_path, **settings), monkeypatch, 8)
        resumed = make_trainer(tmp_path, **settings)
        resumed.train(resume_from_checkpoint=True)
        assert [row["step"] for row in resumed.state.log_history if "eval_loss" in row] == [4, 8]
        assert resumed.state.best_model_checkpoint is not None

    def test_patience_that_ends_with_the_repeated_evaluation_ends_the_run(self, tmp_path, monkeypatch):
        settings = {"early_stopping_patience": 1, "learning_rate": 0.0, "weight_decay": 0.0}
        self.fail(make_trainer(tmp_path, **settings), monkeypatch, 6)
        resumed = make_trainer(tmp_path, **settings)
        resumed.train(resume_from_checkpoint=True)
        assert resumed.state.global_step == 6

    def test_diverged_run_leaves_no_checkpoint_of_its_broken_weights(self, tmp_path):
        trainer = make_trainer(tmp_path)

        class Break(TrainerCallback):
            def on_step_end(self, args, state, control, model, **kwargs):
                if state.global_step == 6:
                    next(model.parameters()).data.fill_(float("nan"))

        trainer.add_callback(Break())
        with pytest.raises(DivergedError, match="not finite numbers"):
            trainer.train()
        assert find_resumable_checkpoint(tmp_path).name == "checkpoint-3"
        with pytest.raises(DivergedError, match="training diverged"):
            trainer.log({"loss": float("nan")})


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"ema_decay": 0.7, "train_sampling_strategy": "group_by_length"}])
def test_killed_process_resumes_to_the_same_bits(python, tmp_path, settings):
    def run(folder, *options):
        command = ["-m", "tests.support.training_resumable_run", tmp_path / folder]
        return python.run(*command, "--settings", json.dumps(settings), *options)

    assert run("whole").returncode == 0
    assert run("cut", "--kill-at", "8").returncode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    finished = run("cut", "--resume")
    assert finished.returncode == 0, finished.stderr
    weights = [load_file(tmp_path / folder / "model.safetensors") for folder in ("whole", "cut")]
    assert equal(*weights)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Output of a run of eight steps with checkpoints after steps 3, 6 and 8."""
    folder = tmp_path_factory.mktemp("run")
    make_trainer(folder, num_train_epochs=2).train()
    return folder


class TestChoiceOfCheckpoint:
    @pytest.fixture
    def output_dir(self, run, tmp_path):
        shutil.copytree(run, tmp_path / "run")
        return tmp_path / "run"

    def test_newest_complete_checkpoint_is_found(self, output_dir):
        assert find_resumable_checkpoint(output_dir).name == "checkpoint-8"

    @pytest.mark.parametrize(
        ("damage", "fault"),
        [
            (lambda folder: (folder / "trainer_state.json").write_text('{"global_st'), "cut off"),
            (lambda folder: (folder / "trainer_state.json").write_text("[]"), "not that of a trainer"),
            (lambda folder: drop_batch_size(folder / "trainer_state.json"), "not that of a trainer"),
            (lambda folder: (folder / "trainer_state.json").unlink(), "no trainer_state.json"),
            (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
            (lambda folder: (folder / "optimizer.pt").unlink(), "no optimizer.pt"),
            (lambda folder: (folder / "trainer_state.json").write_text('{"global_step": 1}'), "not that of a trainer"),
            (lambda folder: cut(folder / "model.safetensors"), "model.safetensors is cut off"),
            (lambda folder: cut(folder / "optimizer.pt"), "optimizer.pt is cut off"),
            (lambda folder: flip_a_bit(folder / "optimizer.pt"), "optimizer.pt is cut off or damaged"),
            (lambda folder: (folder / "scheduler.pt").write_bytes(b""), "scheduler.pt is cut off"),
            (lambda folder: torch.save(Path("x"), folder / "rng_state.pth"), "rng_state.pth is cut off or damaged"),
            (lambda folder: make_pipe(folder / "trainer_state.json"), "trainer_state.json is not a regular file"),
            (lambda folder: make_pipe(folder / "rng_state.pth"), "rng_state.pth is not a regular file"),
            (lambda folder: cut(folder / "run_settings.json"), "run_settings.json is cut off"),
            (lambda folder: (folder / "loss_totals.json").write_text("{}"), "loss_totals.json is cut off or damaged"),
        ],
    )
    def test_incomplete_checkpoint_is_passed_over_and_refused_by_name(self, output_dir, damage, fault):
        newest = output_dir / "checkpoint-8"
        damage(newest)
        assert fault in checkpoint_fault(newest)
        assert find_resumable_checkpoint(output_dir).name == "checkpoint-6"
        with pytest.raises(ValueError, match=fault):
            make_trainer(output_dir, num_train_epochs=2).train(resume_from_checkpoint=str(newest))

    def test_run_goes_on_from_before_a_half_written_checkpoint(self, output_dir):
        (output_dir / "checkpoint-8" / "trainer_state.json").write_text('{"global_st')
        resumed = make_trainer(output_dir, num_train_epochs=2)
        resumed.train(resume_from_checkpoint=True)
        assert resumed.state.global_step == 8
        assert checkpoint_fault(output_dir / "checkpoint-8") is None

    def test_content_of_another_run_is_refused_in_one_line(self, output_dir):
        torch.save({}, output_dir / "checkpoint-8" / "optimizer.pt")
        with pytest.raises(ValueError, match=r"checkpoint-8: its content does not fit this run .* Remove the folder"):
            make_trainer(output_dir, num_train_epochs=3).train(resume_from_checkpoint=True)

    def test_nothing_to_resume_from_is_an_error(self, tmp_path):
        assert find_resumable_checkpoint(tmp_path / "nowhere") is None
        with pytest.raises(ValueError, match="no complete checkpoint"):
            make_trainer(tmp_path).train(resume_from_checkpoint=True)
        with pytest.raises(ValueError, match="not a folder"):
            make_trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "nowhere"))

    def test_other_arguments_are_refused_with_both_values(self, output_dir):
        trainer = make_trainer(output_dir, learning_rate=0.5)
        with pytest.raises(ValueError, match=r"learning_rate: 0\.001 in the checkpoint, 0\.5 now"):
            trainer.train(resume_from_checkpoint=True)

    def test_another_model_is_refused_with_both_values(self, output_dir):
        trainer = make_trainer(output_dir, config=small_config(num_queries=4))
        with pytest.raises(ValueError, match="num_queries: 3 in the checkpoint, 4 now"):
            trainer.train(resume_from_checkpoint=True)

    def test_longer_training_is_allowed(self, output_dir):
        trainer = make_trainer(output_dir, num_train_epochs=3)
        trainer.train(resume_from_checkpoint=True)
        assert trainer.state.global_step == 12

    def test_checkpoint_of_another_trainer_has_no_settings_to_compare(self, output_dir):
        (output_dir / "checkpoint-8" / "run_settings.json").unlink()
        make_trainer(output_dir, num_train_epochs=2).train(resume_from_checkpoint=True)


def test_full_disk_is_named_whatever_library_meets_it(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, num_train_epochs=1, eval_strategy="no", load_best_model_at_end=False)
    error = RuntimeError("[enforce fail at inline_container.cc:664]\n unexpected pos 64 vs 0")
    monkeypatch.setattr(trainer, "_save_optimizer_and_scheduler", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(OSError, match=r"checkpoint-3 cannot be written .*inline_container.* Make room"):
        trainer.train()
    assert find_resumable_checkpoint(tmp_path) is None


def test_trained_model_loads_again(tmp_path):
    from videolights_hf import VideoLightsForMomentRetrieval

    trainer = small_trainer(tmp_path, num_train_epochs=1)
    trainer.train()
    trainer.save_model()
    assert equal(VideoLightsForMomentRetrieval.from_pretrained(tmp_path).state_dict(), end_weights(trainer))
