"""What only a GPU shows of training: skipped without one."""

import pytest
import torch
from transformers import TrainerCallback

from benchmarks.device import captured
from tests.support.factories import random_inputs, random_labels, tiny_model
from tests.support.training import end_weights, small_config, small_trainer
from videolights_hf.models.matching import match_by_program, match_on_host

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch):
    """Products of float32 as such, and nothing compiled or forbidden by the test before."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.compiler.reset()
    yield
    torch.cuda.set_sync_debug_mode("default")


WITHOUT_DROPOUT = {"dropout": 0.0, "input_dropout": 0.0, "refinement_dropout": 0.0}


def on_gpu(batch: dict) -> dict:
    return {name: on_gpu(value) if isinstance(value, dict) else value.cuda() for name, value in batch.items()}


@pytest.fixture
def example():
    """A model that trains without dropout, and a batch with labels, on the CPU."""
    model = tiny_model(**WITHOUT_DROPOUT).train()
    inputs = random_inputs(model.config)
    return model, inputs | {"labels": random_labels(inputs)}


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    # Copies: moving the model moves its gradients, too.
    return {name: value.grad.cpu().clone() for name, value in model.named_parameters() if value.grad is not None}


def optimizer_step(model, batch, **options):
    """A step as the Trainer makes it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True, **options)

    def step():
        model(**batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()

    return step


def test_loss_and_gradients_are_those_of_the_cpu(example):
    model, batch = example
    loss = model(**batch).loss
    expected = gradients(model, loss)
    model.cuda()
    on_device = model(**on_gpu(batch)).loss
    torch.testing.assert_close(on_device.cpu(), loss, rtol=1e-4, atol=1e-4)
    found = gradients(model, on_device)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-3, msg=name)


def test_moments_are_matched_as_on_the_host():
    generator = torch.Generator().manual_seed(0)
    costs = torch.randn(3, 64, 10, 5, generator=generator)
    span_mask = torch.arange(5) < torch.randint(0, 6, (64, 1), generator=generator)
    assert torch.equal(match_by_program(costs.cuda(), span_mask.cuda()).cpu(), match_on_host(costs, span_mask))


def test_a_step_never_waits_for_the_device(example):
    model, batch = example
    step = optimizer_step(model.cuda(), on_gpu(batch))
    step()
    torch.cuda.set_sync_debug_mode("error")
    step()


def test_a_step_is_captured_by_a_cuda_graph(example):
    model, batch = example
    batch = on_gpu(batch)
    start = {name: value.clone() for name, value in model.cuda().state_dict().items()}
    eager = optimizer_step(model, batch, capturable=True)
    for _ in range(6):
        eager()
    expected = {name: value.clone() for name, value in model.state_dict().items()}

    model.load_state_dict(start)
    # It makes three steps before.
    replay = captured(optimizer_step(model, batch, capturable=True))
    for _ in range(3):
        replay()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
def test_a_compiled_step_is_the_eager_one(example, mode, monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "allow_rnn", True)
    model, batch = example
    model, batch = model.cuda(), on_gpu(batch)
    loss = model(**batch).loss
    expected = gradients(model, loss)
    compiled = torch.compile(model, fullgraph=True, mode=mode)
    # CUDA graphs are recorded in the second call, and replayed from the third on.
    for _ in range(4):
        found_loss = compiled(**batch).loss.clone()
        found = gradients(model, compiled(**batch).loss)
    torch.testing.assert_close(found_loss, loss, rtol=1e-4, atol=1e-4)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-3, msg=name)


class ForbidWaiting(TrainerCallback):
    """An error where a step waits for the device, from its begin to its end."""

    def on_step_begin(self, args, state, *rest, **kwargs):
        # The first step sets things up.
        torch.cuda.set_sync_debug_mode("error" if state.global_step else "default")

    def on_step_end(self, *args, **kwargs):
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("resident", [False, True])
def test_no_step_of_the_trainer_waits_for_the_device(tmp_path, resident):
    quiet = {"eval_strategy": "no", "save_strategy": "no", "logging_strategy": "no", "load_best_model_at_end": False}
    trainer = small_trainer(tmp_path, use_cpu=False, num_train_epochs=2, resident_features=resident, **quiet)
    trainer.add_callback(ForbidWaiting())
    trainer.train()
    assert trainer.state.global_step > 2


@pytest.mark.parametrize("settings", [{"bf16": True}, {"bf16": True, "resident_features": True}])
def test_trains_and_evaluates(tmp_path, settings):
    trainer = small_trainer(tmp_path, use_cpu=False, num_train_epochs=2, **settings)
    trainer.train()
    assert all(torch.isfinite(value).all() for value in end_weights(trainer).values())
    assert trainer.model.device.type == "cuda"


def test_resident_features_train_the_same_model(tmp_path):
    config = small_config(**WITHOUT_DROPOUT)
    weights = []
    for resident in (False, True):
        trainer = small_trainer(
            tmp_path / str(resident), config=config, use_cpu=False, num_train_epochs=1, resident_features=resident
        )
        trainer.train()
        weights.append(end_weights(trainer))
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_trains_with_cuda_graphs_over_epochs(tmp_path):
    graphs = {"torch_compile": True, "torch_compile_mode": "reduce-overhead", "fixed_shapes": True}
    config = small_config(**WITHOUT_DROPOUT)
    brief = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False, "num_train_epochs": 4}
    brief |= {"per_device_train_batch_size": 6, "use_cpu": False}
    losses = []
    torch._dynamo.utils.counters.clear()
    for settings in ({"fixed_shapes": True}, graphs):
        trainer = small_trainer(tmp_path / str(len(losses)), config=config, **brief, **settings)
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert not torch._dynamo.utils.counters["graph_break"]
    # One shape, whatever the epoch.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.slow
def test_predicts_with_cuda_graphs_without_training_before(tmp_path):
    graphs = {"torch_compile": True, "torch_compile_mode": "reduce-overhead", "fixed_shapes": True, "use_cpu": False}
    scores = []
    for settings in ({"fixed_shapes": True, "use_cpu": False}, graphs):
        # Seven queries in batches of three: outputs are kept over batches.
        scores.append(small_trainer(tmp_path / str(len(scores)), **settings).evaluate()["eval_loss"])
    assert scores[1] == pytest.approx(scores[0], rel=1e-3)
