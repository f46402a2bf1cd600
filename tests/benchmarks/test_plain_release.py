"""The independent model that training with dropout is compared with, and the comparison itself."""

import copy
import re

import pytest
import torch

from benchmarks.plain_release import PlainRelease, keep_labels_of_lost_clips, misplaced_mask, packaged_model
from tests.support.factories import random_inputs, random_labels, tiny_config
from tests.support.golden import GoldenCase, golden_path
from videolights_hf.convert.checkpoints import read_release_checkpoint
from videolights_hf.convert.release_names import revert_state_dict
from videolights_hf.convert.release_options import config_from_release
from videolights_hf.models.attention import AttentionBase
from videolights_hf.models.dropout import DropAddNorm

DRAWS = 1500
# Dropouts of the plain model, and of the package's: patterns of their names.
DROPOUTS = {
    "video projection": (r"input_vid_proj\.\d\.net\.0", r"model\.video_projection\.layers\.\d\.dropout"),
    "text projection": (r"input_txt_proj\.\d\.net\.0", r"model\.text_projection\.layers\.\d\.dropout"),
    "refinement": (r"feature_refinement\.dropout", r"model\.feature_refinement\.dropout"),
    "fusion attention": (r".*cross_attn_\d", r"model\.fusion\.layers\.\d\.(video|text)_from_\w*(text|video)"),
    "fusion": (
        r".*t2v_encoder\.layers\.\d\.dropout",
        r"model\.fusion\.layers\.\d\.(dropout|norm4|feed_forward\.activation\.dropout)",
    ),
    "encoder attention": (r".*\.encoder\.layers\.\d\.self_attn", r"model\.encoder\.layers\.\d\.self_attn"),
    "encoder": (
        r".*\.encoder\.layers\.\d\.dropout",
        r"model\.encoder\.layers\.\d\.(norm\d|feed_forward\.activation\.dropout)",
    ),
    "decoder self-attention": (
        r".*decoder\.layers\.\d\.self_attn\.dropout",
        r"model\.decoder\.layers\.\d\.self_attn",
    ),
    "decoder cross-attention": (
        r".*decoder\.layers\.\d\.cross_attn\.dropout",
        r"model\.decoder\.layers\.\d\.cross_attn",
    ),
    "decoder": (
        r".*decoder\.layers\.\d\.dropout",
        r"model\.decoder\.layers\.\d\.(norm\d|feed_forward\.activation\.dropout)",
    ),
}


def batch_of(config, **options) -> dict:
    inputs = random_inputs(config, **options)
    return {**inputs, "labels": random_labels(inputs)}


def pair_of_models(**overrides):
    """The plain model and the package's, with the same random weights."""
    torch.manual_seed(0)
    plain = PlainRelease(tiny_config(**overrides), misplace_mask=False)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return plain.train(), packaged_model(plain).train()


class TestPlainModel:
    @pytest.mark.parametrize("epoch", [0, 7])
    def test_equals_the_release_without_dropout(self, epoch):
        case = GoldenCase("base")
        state_dict, options = read_release_checkpoint(case.checkpoint)
        plain = PlainRelease(config_from_release(options, state_dict), misplace_mask=False).eval()
        plain.load_state_dict(state_dict)
        with torch.no_grad():
            output = plain(**case.batch, epoch=epoch)
        expected = dict(case.losses["losses_by_epoch"][str(epoch)])
        assert output["loss"].item() == pytest.approx(expected.pop("total"), rel=1e-5)
        for name, value in expected.items():
            assert output["loss_dict"][name].item() == pytest.approx(value, rel=1e-5), name
        torch.testing.assert_close(output["pred_spans"], case.tensors["outputs.pred_spans"], rtol=1e-5, atol=1e-6)

    def test_starts_from_the_weights_that_the_release_starts_from(self):
        state_dict, options = read_release_checkpoint(golden_path("trajectory") / "model_start.ckpt")
        # Not recorded with the golden run, but found by trying: no other seed gives these weights.
        torch.manual_seed(5)
        started = PlainRelease(config_from_release(options, state_dict)).state_dict()
        assert set(started) == set(state_dict)
        assert all(torch.equal(started[name], tensor) for name, tensor in state_dict.items())

    def test_misplaced_mask_lets_a_prediction_depend_on_the_batch(self):
        torch.manual_seed(0)
        plain = PlainRelease(tiny_config()).eval()
        inputs = random_inputs(plain.config, lengths=((7, 6), (5, 2), (6, 4)))
        with torch.no_grad():
            together = plain(**inputs)["saliency_scores"][0]
            # The longest sample of the batch, which has no padding of its own.
            alone = plain(**{name: value[:1] for name, value in inputs.items()})["saliency_scores"][0]
            assert (together - alone).abs().max() > 1e-4
            for layer in plain.transformer.t2v_encoder.layers:
                layer.misplace_mask = False
            together = plain(**inputs)["saliency_scores"][0]
            torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_misplaced_mask_is_tiled_by_head(self):
        queries = torch.tensor([[False, True], [False, False]])
        keys = torch.tensor([[False, False, True], [False, True, True]])
        mask = misplaced_mask(queries, keys, num_heads=2)
        assert mask.shape == (4, 2, 3)
        assert mask[0].tolist() == [[False, False, False], [False, False, True]]
        assert torch.equal(mask[0], mask[2])
        assert not mask[1].any()

    def test_labels_of_lost_clips_lie_on_padding(self):
        labels = {"saliency": torch.zeros(2, 5)}
        annotation = {"relevant_clip_ids": [2, 4, 5], "saliency_scores": [[1, 1, 1], [4, 3, 2], [4, 4, 4]]}
        keep_labels_of_lost_clips(labels, [4, 5], [annotation, annotation])
        assert labels["saliency"].tolist() == [[0, 0, 0, 0, 9], [0, 0, 0, 0, 0]]


class TestPackageAgainstPlainModel:
    def test_loss_and_gradients_are_equal_without_dropout(self):
        plain, packaged = pair_of_models(dropout=0.0, refinement_dropout=0.0, input_dropout=0.0)
        batch = batch_of(plain.config)
        loss = plain(**batch, epoch=3)["loss"]
        packaged_loss = packaged(**batch, epoch=3).loss
        assert packaged_loss.item() == pytest.approx(loss.item(), rel=1e-5)
        loss.backward()
        packaged_loss.backward()
        gradients = revert_state_dict(
            {
                name: torch.zeros_like(value) if value.grad is None else value.grad
                for name, value in packaged.named_parameters()
            },
            packaged.config,
        )
        for name, parameter in plain.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            difference = (gradients[name] - expected).abs().max()
            assert difference <= 1e-3 * expected.abs().max() + 1e-5, name

    @pytest.mark.parametrize("group", DROPOUTS)
    def test_dropout_acts_where_and_as_much_as_in_the_release(self, group):
        plain, packaged = pair_of_models()
        inputs = random_inputs(plain.config)
        of_plain, of_packaged = DROPOUTS[group]
        set_dropout(plain, of_plain, 0.5)
        set_dropout(packaged, of_packaged, 0.5)
        expected = draw(plain, inputs, seed=1)
        assert expected.var(0).max() > 1e-6
        assert disagreement(draw(packaged, inputs, seed=2), expected) < 1.5

        set_dropout(packaged, of_packaged, 0.3)
        assert disagreement(draw(packaged, inputs, seed=2), expected) > 2.5


def set_dropout(model, names: str, rate: float) -> None:
    """Let the dropouts whose full name matches drop at a rate, and all others nothing."""
    matched = 0
    for name, module in model.named_modules():
        chosen = re.fullmatch(names, name) is not None
        matched += chosen
        if isinstance(module, (torch.nn.Dropout, DropAddNorm)):
            module.p = rate if chosen else 0.0
        elif isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = rate if chosen else 0.0
        elif isinstance(module, AttentionBase):
            # Attention reads the rate from the configuration, which all layers share.
            module.config = copy.copy(module.config)
            module.config.dropout = rate if chosen else 0.0
    assert matched


@torch.no_grad()
def draw(model, inputs: dict, seed: int) -> torch.Tensor:
    """The predictions of many forward passes with dropout, (draws, outputs): each row of a batch draws its own."""
    torch.manual_seed(seed)
    output = model(**{name: value.repeat(DRAWS, *[1] * (value.ndim - 1)) for name, value in inputs.items()})
    valid = inputs["video_attention_mask"].bool()
    parts = [output["logits"], output["pred_spans"], output["saliency_scores"]]
    moments, spans, saliency = (part.unflatten(0, (DRAWS, -1)) for part in parts)
    return torch.cat((moments.flatten(1), spans.flatten(1), saliency[:, valid]), dim=1)


def disagreement(first: torch.Tensor, second: torch.Tensor) -> float:
    """How far means and spreads of two samples lie apart, in standard errors; about 1 for the same distribution."""
    apart = []
    for statistic in (lambda draws: draws, lambda draws: (draws - draws.mean(0)).square()):
        values = statistic(first), statistic(second)
        variance = values[0].var(0) + values[1].var(0)
        apart.append((values[0].mean(0) - values[1].mean(0)) / (variance / DRAWS).sqrt().clamp(min=1e-5))
    return torch.cat(apart).square().mean().sqrt().item()
