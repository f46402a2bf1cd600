"""Moment-DETR, QD-DETR and TR-DETR against their own codes, at the tolerances that an implementation met."""

import json

import pytest
import torch

from tests.support.golden import (
    GoldenCase,
    assert_gradients,
    assert_matching,
    assert_relative,
    double_batch,
    follow_trajectory,
    golden_path,
)
from videolights_hf.convert.release_names import revert_state_dict
from videolights_hf.models.families import config_from_preset, model_class

FAMILIES = ("moment_detr", "qd_detr", "tr_detr")
CASES = (
    "moment_detr/base",
    "moment_detr/contrastive",
    "qd_detr/base",
    "qd_detr/variant",
    "qd_detr/highlight_only",
    "tr_detr/base",
    "tr_detr/variant",
    "tr_detr/highlight_only",
)
SIZES = {"moment_detr": 4_823_305, "qd_detr": 7_585_573, "tr_detr": 8_308_773}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return GoldenCase(f"detectors/{request.param}")


def assert_predictions(output, case, prefix, tolerance):
    assert_relative(output.logits, case.tensors[f"{prefix}.pred_logits"], tolerance)
    assert_relative(output.pred_spans, case.tensors[f"{prefix}.pred_spans"], tolerance)
    saliency = case.tensors[f"{prefix}.saliency_scores"]
    assert_relative(output.saliency_scores[case.valid], saliency[case.valid], tolerance)
    for index, layer in enumerate(output.auxiliary_outputs or []):
        assert_relative(layer["logits"], case.tensors[f"{prefix}.aux_outputs.{index}.pred_logits"], tolerance)
        assert_relative(layer["pred_spans"], case.tensors[f"{prefix}.aux_outputs.{index}.pred_spans"], tolerance)
    negative = case.tensors.get(f"{prefix}.saliency_scores_neg")
    if negative is not None:
        assert_relative(output.negative_saliency_scores[case.valid], negative[case.valid], tolerance)


def test_predictions_and_every_loss_term_equal_the_release(case):
    output = case.model.float()(**case.batch)
    assert_predictions(output, case, "outputs", 1e-5)
    expected = dict(case.losses["losses"])
    assert output.loss.item() == pytest.approx(expected.pop("total"), rel=1e-5)
    terms = {name: term for name, term in output.loss_dict.items() if not name.startswith("saliency_")}
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name


def test_double_precision_equals_the_release(case):
    output = case.model.double()(**double_batch(case.batch))
    assert_predictions(output, case, "outputs64", 1e-12)
    for name, value in case.losses["losses64"].items():
        actual = output.loss if name == "total" else output.loss_dict[name]
        assert actual.item() == pytest.approx(value, rel=1e-7), name
    parts = {"margin": "margin", "rank_contrastive": "rank_contrastive", "negative_pairs": "negative_pair"}
    for name, value in case.losses["saliency_parts64"].items():
        assert output.loss_dict[f"saliency_{parts[name]}"].item() == pytest.approx(value, rel=1e-7), name


def test_stages_equal_the_release(case):
    inputs = {name: value for name, value in case.batch.items() if name != "labels"}
    with torch.no_grad():
        stages = case.model.float().model(**inputs)
    found = {
        "projected_video": stages.projected_video,
        "projected_text": stages.projected_text,
        "decoder_hidden": stages.query_states,
        "references": stages.anchors,
        "refined_video": stages.refined_video,
        "highlight_weights": stages.get("highlight_weights"),
        "memory": stages.last_hidden_state,
    }
    compared = 0
    for name, actual in found.items():
        expected = case.tensors.get(f"stages.{name}")
        if expected is None or actual is None:
            continue
        if name in ("decoder_hidden", "references"):
            assert_relative(actual, expected)
        else:
            rows = case.batch["text_attention_mask"].bool() if name == "projected_text" else case.valid
            assert_relative(actual[rows], expected[rows])
        compared += 1
    assert compared >= 3


def test_gradients_equal_the_release(case):
    case.model.float().zero_grad()
    case.model(**case.batch).loss.backward()
    assert_gradients(case.model, case.gradients)


def test_matching_equals_the_release(case):
    if not case.losses["matched"]:
        pytest.skip("the case has no matcher")
    assert_matching(case.model.float(), case.batch, case.losses["matched"])


@pytest.mark.parametrize("family", FAMILIES)
def test_training_follows_the_release_for_16_steps(family):
    follow_trajectory(golden_path(f"detectors/{family}/trajectory"), loss_tolerance=1e-6, weight_tolerance=3e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_at_full_size_are_those_of_the_release(family):
    config = config_from_preset(family.replace("_", "-"))
    with torch.device("meta"):
        model = model_class(config)(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == SIZES[family]
    expected = json.loads(golden_path(f"detectors/{family}/state_dict.json").read_text())
    state_dict = revert_state_dict(model.state_dict(), config)
    assert {name: list(tensor.shape) for name, tensor in state_dict.items()} == expected
