from __future__ import annotations

import pytest
import torch

from tests.support.factories import random_inputs, tiny_detector
from videolights_hf import (
    MomentDetrForMomentRetrieval,
    QDDetrForMomentRetrieval,
    TRDetrForMomentRetrieval,
    VideoLightsForMomentRetrieval,
    ZeroShotForMomentRetrieval,
)
from videolights_hf.models.zero_shot.configuration import ZeroShotConfig
from videolights_hf.visualization.stages import relevance_through_stages

ONE = ((6, 4),)


@pytest.mark.parametrize(
    ("detector", "options", "stages"),
    [
        (VideoLightsForMomentRetrieval, {}, ["projection", "refinement", "text to video", "fusion", "encoder"]),
        (
            VideoLightsForMomentRetrieval,
            {"cross_modal_fusion": "uni"},
            ["projection", "refinement", "fusion", "encoder"],
        ),
        (
            VideoLightsForMomentRetrieval,
            {"use_feature_refinement": False},
            ["projection", "text to video", "fusion", "encoder"],
        ),
        (QDDetrForMomentRetrieval, {}, ["projection", "fusion", "encoder"]),
        (TRDetrForMomentRetrieval, {}, ["projection", "refinement", "fusion", "encoder"]),
        (MomentDetrForMomentRetrieval, {}, ["projection", "encoder"]),
        (MomentDetrForMomentRetrieval, {"use_feature_refinement": True}, ["projection", "refinement", "encoder"]),
    ],
)
def test_every_detector_shows_the_stages_that_it_has(detector, options, stages):
    model = tiny_detector(detector, **options)
    maps = relevance_through_stages(model, random_inputs(model.config, ONE))
    assert [one.stage for one in maps] == stages
    assert {one.relevance.shape for one in maps} == {(4, 6)}
    assert all(abs(one.relevance).max() <= 1 + 1e-6 for one in maps)


@pytest.mark.parametrize("detector", [VideoLightsForMomentRetrieval, TRDetrForMomentRetrieval])
def test_relevance_is_the_cosine_of_the_models_own_states(detector):
    model = tiny_detector(detector)
    inputs = random_inputs(model.config, ONE)
    output = model(**inputs, output_intermediates=True)
    words = output["projected_text"][0]
    names = {
        "projection": "projected_video",
        "refinement": "refined_video",
        "fusion": "fused_video",
        "encoder": "encoded_video",
    }
    for one in relevance_through_stages(model, inputs, list(names)):
        clips = output[names[one.stage]][0]
        expected = torch.nn.functional.cosine_similarity(words[:, None], clips[None], dim=-1)
        torch.testing.assert_close(torch.from_numpy(one.relevance), expected.detach(), atol=1e-5, rtol=0)


def test_after_the_joint_encoder_of_moment_detr_the_words_are_the_encoded_ones():
    model = tiny_detector(MomentDetrForMomentRetrieval)
    inputs = random_inputs(model.config, ONE)
    states = model(**inputs, output_hidden_states=True)["hidden_states"][-1][0]
    expected = torch.nn.functional.cosine_similarity(states[6:, None], states[None, :6], dim=-1)
    (encoder,) = relevance_through_stages(model, inputs, ["encoder"])
    torch.testing.assert_close(torch.from_numpy(encoder.relevance), expected.detach(), atol=1e-5, rtol=0)


def test_the_text_to_video_stage_is_the_first_attention_of_the_layer():
    model = tiny_detector(VideoLightsForMomentRetrieval)
    layer = model.model.fusion.layers[-1]
    with torch.no_grad():
        layer.norm1.weight.zero_()
        layer.norm1.bias.copy_(torch.arange(16.0))
    inputs = random_inputs(model.config, ONE)
    (found,) = relevance_through_stages(model, inputs, ["text to video"])
    # All clips are the bias now, so each word has one cosine with all of them.
    assert (found.relevance.max(axis=1) - found.relevance.min(axis=1)).max() < 1e-6
    assert not layer.norm1._forward_hooks


def test_padding_is_left_out():
    model = tiny_detector(VideoLightsForMomentRetrieval)
    inputs = random_inputs(model.config, ((7, 5), (4, 3)))
    second = {name: values[1:] for name, values in inputs.items()}
    alone = {name: values[:, : 4 if "video" in name else 3] for name, values in second.items()}
    for padded, bare in zip(relevance_through_stages(model, second), relevance_through_stages(model, alone)):
        assert padded.relevance.shape == (3, 4)
        torch.testing.assert_close(
            torch.from_numpy(padded.relevance), torch.from_numpy(bare.relevance), atol=1e-5, rtol=0
        )


def test_what_cannot_be_drawn_is_refused():
    model = tiny_detector(VideoLightsForMomentRetrieval)
    with pytest.raises(ValueError, match="one sample, got 2"):
        relevance_through_stages(model, random_inputs(model.config, ((6, 4), (6, 4))))
    with pytest.raises(ValueError, match="decoder"):
        relevance_through_stages(model, random_inputs(model.config, ONE), ["decoder"])
    zero_shot = ZeroShotForMomentRetrieval(ZeroShotConfig())
    with pytest.raises(ValueError, match="has no stages"):
        relevance_through_stages(zero_shot, random_inputs(model.config, ONE))
