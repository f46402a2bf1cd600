"""FRA before every detector (paper, Table VII): no release gives numbers, so these tests say what must hold."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from tests.support.factories import random_inputs, random_labels, tiny_detector
from tests.support.golden import GoldenCase
from videolights_hf import MomentDetrForMomentRetrieval, QDDetrForMomentRetrieval, TRDetrForMomentRetrieval
from videolights_hf.convert.release_names import convert_state_dict, revert_state_dict
from videolights_hf.models.tokens import Tokens

DETECTORS = [MomentDetrForMomentRetrieval, QDDetrForMomentRetrieval, TRDetrForMomentRetrieval]
REFINED = {"use_feature_refinement": True, "use_contrastive_alignment": True}
ALL = [(detector, {}) for detector in DETECTORS] + [(TRDetrForMomentRetrieval, {"refinement_order": "instead"})]
HEADS = ("contrastive_query_head", "contrastive_text_head", "contrastive_video_head")


@pytest.fixture(params=DETECTORS, ids=lambda detector: detector.__name__)
def detector(request):
    return request.param


@pytest.fixture(params=ALL, ids=lambda pair: f"{pair[0].__name__} {pair[1].get('refinement_order', '')}")
def refined(request):
    detector, overrides = request.param
    return tiny_detector(detector, **REFINED, **overrides)


def loss_of(model, **changes):
    inputs = random_inputs(model.config)
    return model(**inputs, labels={**random_labels(inputs), **changes})


def test_the_refinement_is_that_of_the_release():
    case = GoldenCase("base")
    words = Tokens(case.tensors["stages.projected_text"], valid=case.batch["text_attention_mask"].bool())
    clips = Tokens(case.tensors["stages.projected_video"], valid=case.valid)
    with torch.no_grad():
        refined = case.model.model.feature_refinement(clips, words)
    expected = case.tensors["stages.refined_video"]
    assert (refined - expected)[case.valid].abs().max() <= 1e-4


def test_projections_of_a_plain_checkpoint_are_the_same_map_as_convolutions(detector):
    plain = tiny_detector(detector)
    refined = tiny_detector(detector, seed=1, use_feature_refinement=True)
    release = revert_state_dict(plain.state_dict(), plain.config)
    assert any(name.endswith("net.1.weight") for name in release)
    as_convolutions = {
        name.replace("net.1.", "net.1.conv1d."): value.unsqueeze(-1) if name.endswith("net.1.weight") else value
        for name, value in release.items()
    }
    info = refined.load_state_dict(convert_state_dict(as_convolutions, refined.config), strict=False)
    assert all(name.startswith("model.feature_refinement") for name in info.missing_keys)
    inputs = random_inputs(plain.config)
    first, second = plain.model(**inputs), refined.model(**inputs)
    assert torch.equal(first.projected_video, second.projected_video)
    assert torch.equal(first.projected_text, second.projected_text)


def test_a_refinement_that_changes_nothing_changes_no_prediction(detector):
    plain = tiny_detector(detector)
    size = plain.config.hidden_size
    # Clips above zero, which the ReLU behind the mixer leaves alone.
    torch.nn.init.constant_(plain.model.video_projection.layers[-1].projection.bias, 20.0)
    refined = tiny_detector(detector, use_feature_refinement=True)
    refined.load_state_dict(plain.state_dict(), strict=False)
    mixer = refined.model.feature_refinement.mixer
    with torch.no_grad():
        mixer.weight.copy_(torch.cat((torch.eye(size), torch.zeros(size, 3 * size)), dim=1))
        mixer.bias.zero_()
    inputs = random_inputs(plain.config)
    expected, found = plain(**inputs), refined(**inputs)
    assert plain.model(**inputs).projected_video.min() > 0
    for name in ("logits", "pred_spans", "saliency_scores"):
        valid = inputs["video_attention_mask"].bool() if name == "saliency_scores" else slice(None)
        torch.testing.assert_close(found[name][valid], expected[name][valid], atol=1e-6, rtol=1e-5)


def test_a_prediction_does_not_depend_on_its_batch(refined):
    lengths = ((7, 5), (4, 3), (7, 2))
    inputs = random_inputs(refined.config, lengths)
    with torch.no_grad():
        batched = refined(**inputs)
        for row, (clips, words) in enumerate(lengths):
            alone = refined(
                **{
                    name: tensor[row : row + 1, : words if name.startswith("text") else clips]
                    for name, tensor in inputs.items()
                }
            )
            torch.testing.assert_close(batched.logits[row], alone.logits[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(batched.pred_spans[row], alone.pred_spans[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(
                batched.saliency_scores[row, :clips], alone.saliency_scores[0], atol=1e-5, rtol=1e-4
            )


def test_an_alignment_of_weight_zero_is_the_same_as_none(refined):
    config = type(refined.config)
    fields = {**refined.config.to_diff_dict(), "contrastive_align_loss_coef": 0.0}
    fields = {name: value for name, value in fields.items() if name in config.__dataclass_fields__}
    without = type(refined)(config(**fields)).eval()
    assert not any(hasattr(without, head) for head in HEADS)
    without.load_state_dict(
        {name: value for name, value in refined.state_dict().items() if name in without.state_dict()}
    )
    aligned = loss_of(refined)
    weight = refined.config.contrastive_align_loss_coef
    terms = [value for name, value in aligned.loss_dict.items() if name.startswith("loss_contrastive_align")]
    assert len(terms) == refined.config.num_decoder_layers
    torch.testing.assert_close(aligned.loss - weight * sum(terms), loss_of(without).loss, atol=1e-4, rtol=1e-5)


def test_gradient_reaches_all_of_the_refinement_and_the_heads_that_a_loss_reads(refined):
    loss_of(refined.train()).loss.backward()
    parts = ("feature_refinement", "video_projection", "text_projection", *HEADS[:2])
    for name, parameter in refined.named_parameters():
        if any(part in name for part in parts):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    assert refined.contrastive_video_head.weight.grad is None


def test_the_rolled_sentence_reaches_the_negative_saliency_alone():
    model = tiny_detector(QDDetrForMomentRetrieval, **REFINED)
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    before = model(**inputs, labels=labels)
    # The first sample's negative sentence is the second's.
    other = inputs["text_features"].clone()
    other[1] = other[1].flip(-1)
    after = model(**{**inputs, "text_features": other}, labels=labels)
    torch.testing.assert_close(before.logits[0], after.logits[0])
    torch.testing.assert_close(before.saliency_scores[0], after.saliency_scores[0])
    assert not torch.allclose(before.negative_saliency_scores[0], after.negative_saliency_scores[0], atol=1e-4)


@pytest.mark.parametrize(
    ("detector", "overrides", "size"),
    [
        (MomentDetrForMomentRetrieval, {}, 5_135_818),
        (QDDetrForMomentRetrieval, {}, 7_898_086),
        (TRDetrForMomentRetrieval, {}, 8_621_286),
        (TRDetrForMomentRetrieval, {"refinement_order": "instead"}, 8_226_534),
    ],
)
def test_parameter_counts_at_full_size(detector, overrides, size):
    with torch.device("meta"):
        model = detector(detector.config_class(**REFINED, **overrides))
    assert model.num_parameters() == size
    has_own = any(name.startswith("fuser.") for name in revert_state_dict(model.state_dict(), model.config))
    assert has_own == (detector is TRDetrForMomentRetrieval and not overrides)


def test_what_a_detector_cannot_switch_on_is_refused():
    for config in (QDDetrForMomentRetrieval.config_class, TRDetrForMomentRetrieval.config_class):
        with pytest.raises(StrictDataclassError, match="needs `use_feature_refinement=True`"):
            config(use_contrastive_alignment=True)
    with pytest.raises(StrictDataclassError, match="refinement_order"):
        TRDetrForMomentRetrieval.config_class(refinement_order="instead")
