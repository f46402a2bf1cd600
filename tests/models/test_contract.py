"""What every detector promises as a transformers model, under the headings that a reviewer there looks for."""

import inspect

import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.utils import ModelOutput

from tests.support.factories import random_inputs, random_labels, tiny_detector
from videolights_hf import (
    MomentDetrForMomentRetrieval,
    QDDetrForMomentRetrieval,
    TRDetrForMomentRetrieval,
    VideoLightsForMomentRetrieval,
)

DETECTORS = [
    VideoLightsForMomentRetrieval,
    MomentDetrForMomentRetrieval,
    QDDetrForMomentRetrieval,
    TRDetrForMomentRetrieval,
]


@pytest.fixture(params=DETECTORS, ids=lambda detector: detector.__name__)
def detector(request):
    return request.param


@pytest.fixture
def model(detector):
    return tiny_detector(detector)


def without_dropout(detector):
    return tiny_detector(detector, dropout=0.0, input_dropout=0.0, refinement_dropout=0.0).train()


def assert_same_predictions(first, second, **tolerance):
    for name in ("logits", "pred_spans", "saliency_scores"):
        torch.testing.assert_close(first[name], second[name], **tolerance)


class TestForwardSignature:
    def test_the_main_input_comes_first_and_all_but_the_features_are_optional(self, model):
        parameters = list(inspect.signature(model.forward).parameters.values())
        assert parameters[0].name == model.main_input_name
        required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
        assert required == ["video_features", "text_features"]

    def test_an_unknown_argument_is_refused(self, model):
        with pytest.raises(TypeError, match="pixel_values"):
            model(**random_inputs(model.config), pixel_values=None)

    def test_features_of_another_width_are_refused(self, model):
        inputs = random_inputs(model.config)
        with pytest.raises(ValueError, match=r"slowfast 12 \+ clip 8 \+ temporal channels 2"):
            model(**{**inputs, "video_features": inputs["video_features"][..., :-1]})


class TestConfig:
    def test_it_survives_a_save_and_a_load(self, model, tmp_path):
        model.config.save_pretrained(tmp_path)
        assert AutoConfig.from_pretrained(tmp_path).to_diff_dict() == model.config.to_diff_dict()

    def test_an_unknown_field_is_refused(self, detector):
        with pytest.raises(ValueError, match="has no field 'num_fingers'"):
            detector.config_class(num_fingers=5)

    def test_every_preset_makes_a_configuration(self, detector):
        config_class = detector.config_class
        for variant in config_class.variants:
            for dataset in config_class.datasets:
                config_class.from_preset(variant, dataset)
        with pytest.raises(ValueError, match="Unknown variant 'best'"):
            config_class.from_preset("best")


class TestSaveAndLoad:
    def test_the_auto_class_loads_the_same_model(self, detector, model, tmp_path):
        model.save_pretrained(tmp_path)
        loaded = AutoModel.from_pretrained(tmp_path)
        assert type(loaded) is detector
        assert not loaded.training
        assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
        inputs = random_inputs(model.config)
        assert_same_predictions(loaded(**inputs), model(**inputs))

    def test_nothing_is_missing_or_left_over(self, detector, model, tmp_path):
        model.save_pretrained(tmp_path)
        _, info = detector.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert not info["mismatched_keys"]

    def test_a_dtype_is_loaded_on_request(self, detector, model, tmp_path):
        model.save_pretrained(tmp_path)
        loaded = detector.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}


class TestInitialization:
    def test_every_parameter_is_finite_and_depends_on_the_seed_alone(self, detector):
        first, again, other = (tiny_detector(detector, seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.isfinite(tensor).all() for tensor in first.values())
        assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
        assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())

    def test_a_model_made_on_the_meta_device_is_initialized_on_load(self, detector, tmp_path):
        tiny_detector(detector, num_decoder_layers=1).save_pretrained(tmp_path)
        torch.manual_seed(0)
        loaded = detector.from_pretrained(tmp_path, num_decoder_layers=2, allow_missing=True)
        fresh = tiny_detector(detector, num_decoder_layers=2).state_dict()
        for name, tensor in loaded.state_dict().items():
            if "decoder.layers.1" in name:
                assert torch.isfinite(tensor).all(), name
                # The same rule draws both, so that neither reaches far beyond the other.
                assert tensor.abs().max() <= 2 * fresh[name].abs().max() + 1e-6, name
                assert bool(tensor.any()) == bool(fresh[name].any()), name


class TestOutputs:
    def test_predictions_have_the_documented_shapes(self, model):
        output = model(**random_inputs(model.config))
        assert isinstance(output, ModelOutput)
        assert output.logits.shape == (3, 4, 2)
        assert output.pred_spans.shape == (3, 4, 2)
        assert output.saliency_scores.shape == (3, 7)
        assert ((output.pred_spans > 0) & (output.pred_spans < 1)).all()
        assert output.loss is None

    def test_a_tuple_holds_what_the_dictionary_holds(self, model):
        inputs = random_inputs(model.config)
        output, as_tuple = model(**inputs), model(**inputs, return_dict=False)
        assert len(as_tuple) == len(output)
        assert all(torch.equal(a, b) for a, b in zip(as_tuple, output.to_tuple()))
        model.config.return_dict = False
        assert isinstance(model(**inputs), tuple)

    def test_predictions_are_deterministic_in_evaluation_and_dropped_in_training(self, model):
        inputs = random_inputs(model.config)
        assert_same_predictions(model(**inputs), model(**inputs), rtol=0, atol=0)
        model.train()
        assert not torch.equal(model(**inputs).logits, model(**inputs).logits)

    def test_a_prediction_does_not_depend_on_its_batch(self, model):
        lengths = ((7, 5), (4, 3), (7, 2))
        inputs = random_inputs(model.config, lengths)
        with torch.no_grad():
            batched = model(**inputs)
            for index, (clips, words) in enumerate(lengths):
                alone = model(
                    **{
                        name: tensor[index : index + 1, : words if name.startswith("text") else clips]
                        for name, tensor in inputs.items()
                    }
                )
                row = {name: batched[name][index : index + 1] for name in ("logits", "pred_spans")}
                row["saliency_scores"] = batched.saliency_scores[index : index + 1, :clips]
                assert_same_predictions(row, alone, atol=1e-5, rtol=1e-4)

    def test_missing_masks_mean_that_all_is_valid(self, model):
        inputs = random_inputs(model.config, ((6, 4), (6, 4)))
        bare = {name: tensor for name, tensor in inputs.items() if not name.endswith("mask")}
        assert_same_predictions(model(**inputs), model(**bare), atol=1e-5, rtol=1e-4)

    def test_stages_are_returned_on_request(self, model):
        inputs = random_inputs(model.config)
        output = model(**inputs, output_intermediates=True)
        for stage in ("projected_video", "refined_video", "fused_video", "encoded_video"):
            assert output[stage].shape == (3, 7, 16), stage
        assert output.projected_text.shape == (3, 5, 16)
        assert model(**inputs).encoded_video is None


class TestAttentionOutputs:
    def test_weights_of_every_layer_are_returned_on_request(self, model):
        model.set_attn_implementation("eager")
        inputs = random_inputs(model.config)
        output = model(**inputs, output_attentions=True, labels=random_labels(inputs))
        sequence = output.attentions[0].shape[-1]
        assert [weights.shape for weights in output.attentions] == [(3, 4, sequence, sequence)] * 2
        assert [weights.shape for weights in output.decoder_attentions] == [(3, 4, 4, 4)] * 2
        assert [weights.shape[:3] for weights in output.cross_attentions] == [(3, 4, 4)] * 2
        for weights in [*output.attentions, *output.decoder_attentions, *output.cross_attentions]:
            torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        padded = inputs["video_attention_mask"] == 0
        assert output.cross_attentions[-1][..., : padded.shape[1]].sum((1, 2))[padded].abs().max() == 0
        assert model(**inputs).attentions is None

    def test_the_configuration_can_ask_too(self, detector):
        model = tiny_detector(detector, attn_implementation="eager")
        model.config.output_attentions = True
        assert model(**random_inputs(model.config)).attentions is not None

    def test_an_implementation_that_returns_none_is_refused(self, model):
        assert model.config._attn_implementation == "sdpa"
        with pytest.raises(ValueError, match="eager"):
            model(**random_inputs(model.config), output_attentions=True)

    def test_implementations_agree(self, model):
        inputs = random_inputs(model.config)
        expected = model(**inputs)
        model.set_attn_implementation("eager")
        assert_same_predictions(model(**inputs), expected, atol=1e-5, rtol=1e-4)


class TestHiddenStates:
    def test_states_of_every_layer_are_returned_on_request(self, model):
        inputs = random_inputs(model.config)
        output = model(**inputs, output_hidden_states=True, labels=random_labels(inputs))
        sequence = output.hidden_states[0].shape[1]
        assert [state.shape for state in output.hidden_states] == [(3, sequence, 16)] * 3
        assert [state.shape for state in output.decoder_hidden_states] == [(3, 4, 16)] * 2
        assert model(**inputs).hidden_states is None

    def test_gradients_reach_them(self, model):
        inputs = random_inputs(model.config)
        output = model(**inputs, output_hidden_states=True)
        output.hidden_states[0].retain_grad()
        (output.logits.sum() + output.saliency_scores.sum()).backward()
        assert output.hidden_states[0].grad.abs().max() > 0


class TestTraining:
    def test_gradient_checkpointing_gives_the_same_gradients(self, detector):
        gradients = []
        for checkpointing in (False, True):
            model = without_dropout(detector)
            if checkpointing:
                model.gradient_checkpointing_enable()
                assert model.is_gradient_checkpointing
            inputs = random_inputs(model.config)
            model(**inputs, labels=random_labels(inputs)).loss.backward()
            gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        assert gradients[0].keys() == gradients[1].keys()
        for name, plain in gradients[0].items():
            torch.testing.assert_close(plain, gradients[1][name])

    def test_labels_do_not_change_the_predictions(self, model):
        inputs = random_inputs(model.config)
        plain, labeled = model(**inputs), model(**inputs, labels=random_labels(inputs))
        assert_same_predictions(plain, labeled, atol=1e-5, rtol=1e-4)
        assert torch.isfinite(labeled.loss)
        assert not any(term.requires_grad for term in labeled.loss_dict.values())

    def test_outputs_that_serve_the_loss_alone_are_left_out_of_predictions(self, model):
        inputs = random_inputs(model.config)
        extra = set(model(**inputs, labels=random_labels(inputs))) - set(model(**inputs)) - {"loss"}
        assert extra <= set(model.config.keys_to_ignore_at_inference)


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_stays_near_single_precision(self, model, dtype):
        inputs = random_inputs(model.config)
        expected = model(**inputs)
        half = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
        output = model.to(dtype)(**half, labels=random_labels(inputs))
        assert output.logits.dtype == dtype
        assert torch.isfinite(output.loss)
        torch.testing.assert_close(output.pred_spans.float(), expected.pred_spans, atol=0.05, rtol=0.05)

    def test_double_precision_is_double_throughout(self, model):
        inputs = random_inputs(model.config)
        expected = model(**inputs)
        double = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
        output = model.double()(**double, labels=random_labels(inputs))
        assert output.loss.dtype == output.logits.dtype == torch.float64
        torch.testing.assert_close(output.logits.float(), expected.logits, atol=1e-5, rtol=1e-4)


class TestCompilation:
    def test_inference_compiles_without_a_graph_break(self, model):
        inputs = random_inputs(model.config)
        with torch.no_grad(), torch._dynamo.config.patch(allow_rnn=True):
            compiled = torch.compile(model, fullgraph=True, backend="eager")(**inputs)
            assert_same_predictions(compiled, model(**inputs))

    def test_inference_exports_with_dynamic_shapes(self, model):
        batch, clips, words = (torch.export.Dim(name, min=2, max=64) for name in ("batch", "clips", "words"))
        has_gru = isinstance(model, TRDetrForMomentRetrieval)
        shapes = {"video": {0: batch} if has_gru else {0: batch, 1: clips}, "text": {0: batch, 1: words}}
        inputs = random_inputs(model.config)
        exported = torch.export.export(
            model, (), inputs, dynamic_shapes={name: shapes[name.split("_")[0]] for name in inputs}
        )
        other = random_inputs(model.config, ((7, 3), (5, 6)) if has_gru else ((9, 3), (5, 6)))
        with torch.no_grad():
            assert_same_predictions(exported.module()(**other), model(**other))


class TestCodeWithTheCheckpoint:
    def test_it_is_saved_unless_left_out(self, model, tmp_path):
        model.save_pretrained(tmp_path / "with")
        model.save_pretrained(tmp_path / "without", include_code=False)
        for entry in AutoConfig.from_pretrained(tmp_path / "with").auto_map.values():
            assert (tmp_path / "with" / f"{entry.split('.')[0]}.py").is_file()
        assert not list((tmp_path / "without").glob("*.py"))
        assert "auto_map" not in (tmp_path / "without" / "config.json").read_text()
