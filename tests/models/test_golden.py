"""Parity with the released code, at the tolerances that an independent implementation met."""

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

CASES = ("base", "no_fra", "highlight_only", "uni_cmf")


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return GoldenCase(request.param)


def assert_absolute(actual, expected, valid, tolerance=1e-4):
    assert actual.shape == expected.shape
    assert (actual - expected)[valid].abs().max() <= tolerance


def test_predictions_equal_the_release_without_labels(case):
    inputs = {name: value for name, value in case.batch.items() if name != "labels"}
    with torch.no_grad():
        output = case.model(**inputs)
    assert_relative(output.logits, case.tensors["outputs.pred_logits"])
    assert_relative(output.pred_spans, case.tensors["outputs.pred_spans"])
    assert_absolute(output.saliency_scores, case.tensors["outputs.saliency_scores"], case.valid)


def test_stages_equal_the_release(case):
    inputs = {name: value for name, value in case.batch.items() if name != "labels"}
    num_clips = case.valid.shape[1]
    with torch.no_grad():
        output = case.model(**inputs, output_intermediates=True, output_hidden_states=True)
    stages = {
        "projected_video": output.projected_video,
        "refined_video": output.refined_video,
        "bicmf_output": output.fused_video,
        "encoder_output": output.encoded_video,
    }
    for name, actual in stages.items():
        if f"stages.{name}" not in case.tensors:
            assert name == "refined_video"
            assert not case.model.config.use_feature_refinement
            continue
        expected = case.tensors[f"stages.{name}"]
        # The release's sequence is the global token, the clips, the words.
        first = 0 if expected.shape[1] == num_clips else 1
        assert_absolute(actual, expected[:, first : first + num_clips], case.valid)
    valid_words = case.batch["text_attention_mask"].bool()
    assert_absolute(output.projected_text, case.tensors["stages.projected_text"], valid_words)
    encoder_output = case.tensors["stages.encoder_output"]
    assert_absolute(output.hidden_states[-1][:, 0], encoder_output[:, 0], slice(None))


def test_training_outputs_equal_the_release(case):
    output = case.model(**case.batch, output_intermediates=True)
    expected = {name.removeprefix("outputs."): value for name, value in case.tensors.items()}
    assert_absolute(output.negative_saliency_scores, expected["saliency_scores_neg"], case.valid)
    if case.model.config.use_moment_to_highlight:
        assert_absolute(output.moment_saliency_scores, expected["saliency_scores_mr"], case.valid)
    for index, layer in enumerate(output.auxiliary_outputs):
        assert_relative(layer["logits"], expected[f"aux_outputs.{index}.pred_logits"])
        assert_relative(layer["pred_spans"], expected[f"aux_outputs.{index}.pred_spans"])
    if case.model.config.use_contrastive_alignment:
        assert_relative(output.contrastive_queries, expected["proj_queries"])
        assert_relative(output.contrastive_text, expected["proj_txt_mem"])
        assert_relative(output.contrastive_video[case.valid], expected["proj_vid_mem"][case.valid])


@pytest.mark.parametrize("epoch", [0, 7])
def test_every_loss_term_equals_the_release(case, epoch):
    output = case.model(**case.batch, epoch=epoch)
    expected = dict(case.losses["losses_by_epoch"][str(epoch)])
    assert output.loss.item() == pytest.approx(expected.pop("total"), rel=1e-5)
    for name, value in expected.items():
        assert output.loss_dict[name].item() == pytest.approx(value, rel=1e-5), name
    unexpected = {name for name in output.loss_dict if name.startswith("loss_")} - set(expected)
    assert not unexpected


def test_gradients_equal_the_release(case):
    case.model.zero_grad()
    case.model(**case.batch, epoch=3).loss.backward()
    assert_gradients(case.model, case.gradients)


def test_matching_equals_the_release(case):
    if not case.losses["matched"]:
        pytest.skip("the case has no matcher")
    assert_matching(case.model, case.batch, case.losses["matched"])


def test_one_way_fusion_equals_the_release_in_double_precision():
    case = GoldenCase("uni_cmf")
    output = case.model.double()(**double_batch(case.batch), epoch=7, output_intermediates=True)
    for name, actual in (("pred_logits", output.logits), ("pred_spans", output.pred_spans)):
        assert_relative(actual, case.tensors[f"outputs64.{name}"], 1e-6)
    assert_relative(output.saliency_scores[case.valid], case.tensors["outputs64.saliency_scores"][case.valid], 1e-6)
    fused = case.tensors["stages64.bicmf_output"]
    first = 1 if fused.shape[1] > case.valid.shape[1] else 0
    assert_relative(output.fused_video[case.valid], fused[:, first : first + case.valid.shape[1]][case.valid], 1e-6)
    expected = case.losses["losses_by_epoch_float64"]["7"]
    assert output.loss.item() == pytest.approx(expected["total"], rel=1e-7)


def test_training_follows_the_release_for_24_steps():
    follow_trajectory(golden_path("trajectory"), loss_tolerance=1e-5, weight_tolerance=1e-4)


def test_parameters_of_the_full_size_model_are_those_of_the_release():
    from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval

    with torch.device("meta"):
        model = VideoLightsForMomentRetrieval(VideoLightsConfig.from_preset("videolights-b"))
    assert sum(parameter.numel() for parameter in model.parameters()) == 10_796_263
    expected = json.loads(golden_path("state_dict_videolights_b.json").read_text())
    state_dict = revert_state_dict(model.state_dict(), model.config)
    assert {name: list(tensor.shape) for name, tensor in state_dict.items()} == expected
