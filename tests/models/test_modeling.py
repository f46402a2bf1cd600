import itertools

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tests.support.devices import CountSyncs, device_paths
from tests.support.factories import random_inputs, random_labels, tiny_config, tiny_model
from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsModel, VideoLightsMomentRetrievalOutput

ARCHITECTURES = {
    "released": {},
    "no refinement": {"use_feature_refinement": False},
    "attended words": {"word_correlation": "attended"},
    "one-way fusion": {"cross_modal_fusion": "uni", "num_fusion_layers": 2},
    "no fusion": {"cross_modal_fusion": "none", "use_feature_refinement": False},
    "text positions": {"use_text_positions": True},
    "no fusion with text positions": {"cross_modal_fusion": "none", "use_text_positions": True},
    "audio": {"audio_dim": 5},
    "no training heads": {"use_contrastive_alignment": False, "use_moment_to_highlight": False},
    "no auxiliary loss": {"auxiliary_loss": False},
    "highlights only": {"highlight_only": True},
    "one layer each": {"num_encoder_layers": 1, "num_decoder_layers": 1, "num_projection_layers": 1},
    "odd heads": {"hidden_size": 20, "num_attention_heads": 5},
    "equation 9": {"hard_negative_loss": "absolute"},
}


@pytest.fixture(params=ARCHITECTURES.values(), ids=ARCHITECTURES)
def model(request):
    return tiny_model(**request.param)


def test_outputs_have_the_documented_shapes(model):
    inputs = random_inputs(model.config)
    output = model(**inputs)
    assert isinstance(output, VideoLightsMomentRetrievalOutput)
    assert output.logits.shape == (3, 4, 2)
    assert output.pred_spans.shape == (3, 4, 2)
    assert output.saliency_scores.shape == (3, 7)
    assert ((output.pred_spans > 0) & (output.pred_spans < 1)).all()
    assert output.loss is None


def test_prediction_of_a_sample_does_not_depend_on_its_batch(model):
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
            torch.testing.assert_close(batched.logits[index], alone.logits[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(batched.pred_spans[index], alone.pred_spans[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(
                batched.saliency_scores[index, :clips], alone.saliency_scores[0], atol=1e-5, rtol=1e-4
            )


def test_both_modalities_reach_both_predictions(model):
    inputs = random_inputs(model.config)
    before = model(**inputs)
    for name in ("video_features", "text_features"):
        after = model(**{**inputs, name: inputs[name].flip(-1)})
        assert not torch.allclose(before.saliency_scores, after.saliency_scores, atol=1e-4)
        assert not torch.allclose(before.pred_spans, after.pred_spans, atol=1e-6)


def test_loss_is_finite_and_trains_every_parameter_that_the_architecture_uses(model):
    model.train()
    inputs = random_inputs(model.config)
    output = model(**inputs, labels=random_labels(inputs), epoch=3)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    unused = {"norm2", "contrastive_video_head"}
    if not model.config.use_text_positions:
        unused.add("text_position_embedding")
    if model.config.highlight_only:
        unused |= {"decoder", "query_anchors", "class_head", "span_head", "contrastive"}
    if model.config.num_decoder_layers == 1:
        unused |= {"anchor_head", "position_scale"}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert any(part in name for part in unused), name
        else:
            assert torch.isfinite(parameter.grad).all(), name


def test_labels_do_not_change_the_predictions(model):
    inputs = random_inputs(model.config)
    plain, labeled = model(**inputs), model(**inputs, labels=random_labels(inputs))
    torch.testing.assert_close(plain.logits, labeled.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(plain.saliency_scores, labeled.saliency_scores, atol=1e-5, rtol=1e-4)


def test_attention_implementations_agree(model):
    inputs = random_inputs(model.config)
    outputs = []
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        outputs.append(model(**inputs))
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(outputs[0].pred_spans, outputs[1].pred_spans, atol=1e-5, rtol=1e-4)


def test_flash_attention_gets_padding_only_where_it_can_take_it(model, monkeypatch):
    """The kernel itself needs a GPU: a stand-in checks what it would be given, and computes it."""
    seen = []

    def flash(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
        seen.append(attention_mask)
        if attention_mask is not None:
            assert attention_mask.shape == (len(query), key.shape[2])
            assert query.shape[2] == key.shape[2]
            attention_mask = attention_mask[:, None, None, :].bool()
        output = torch.nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
        return output.transpose(1, 2), None

    inputs = random_inputs(model.config)
    expected = model(**inputs)
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "flash_attention_2", flash)
    monkeypatch.setattr(model.config, "_attn_implementation_internal", "flash_attention_2")
    output = model(**inputs)
    assert any(mask is not None for mask in seen)
    torch.testing.assert_close(output.logits, expected.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.pred_spans, expected.pred_spans, atol=1e-5, rtol=1e-4)


def test_attentions_and_hidden_states_are_returned_on_request():
    model = tiny_model()
    model.set_attn_implementation("eager")
    inputs = random_inputs(model.config)
    output = model(**inputs, output_attentions=True, output_hidden_states=True, labels=random_labels(inputs))
    assert [weights.shape for weights in output.fusion_attentions] == [(3, 4, 7, 5)]
    assert [weights.shape for weights in output.attentions] == [(3, 4, 8, 8)] * 2
    assert [weights.shape for weights in output.decoder_attentions] == [(3, 4, 4, 4)] * 2
    assert [weights.shape for weights in output.cross_attentions] == [(3, 4, 4, 7)] * 2
    assert [state.shape for state in output.hidden_states] == [(3, 8, 16)] * 3
    assert [state.shape for state in output.decoder_hidden_states] == [(3, 4, 16)] * 2
    padded_clips = inputs["video_attention_mask"] == 0
    assert output.cross_attentions[-1].sum(1).sum(1)[padded_clips].abs().max() == 0
    assert model(**inputs).attentions is None


def test_headless_model_runs_alone():
    config = tiny_config()
    model = VideoLightsModel(config).eval()
    output = model(**random_inputs(config))
    assert output.last_hidden_state.shape == (3, 7, 16)
    assert output.global_state.shape == (3, 16)
    assert output.query_states.shape == (2, 3, 4, 16)
    assert output.anchors.shape == (2, 3, 4, 2)
    assert output.negative_hidden_state is None
    assert torch.equal(model(**random_inputs(config), return_dict=False)[0], output.last_hidden_state)


@pytest.mark.parametrize(
    "changes",
    [{}, {"cross_modal_fusion": "uni"}, {"cross_modal_fusion": "none"}, {"fusion_positions": "all"}],
    ids=["two-way", "one-way", "none", "positions everywhere"],
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("lengths", [((7, 5), (7, 5), (7, 5)), ((7, 5), (4, 3), (6, 2))], ids=["whole", "padded"])
def test_negative_pairs_are_each_video_with_the_next_sentence(changes, attention, lengths):
    # Clips are projected once for both; nothing else may differ from two passes.
    # FRA refines clips by their own sentence, also those of a negative pair.
    config = tiny_config(num_fusion_layers=2, use_feature_refinement=False, **changes)
    model = VideoLightsModel._from_config(config, attn_implementation=attention).eval()
    inputs = random_inputs(config, lengths)
    negatives = {name: x.roll(-1, 0) if name.startswith("text") else x for name, x in inputs.items()}
    with torch.no_grad():
        both, expected = model(**inputs, encode_negatives=True), model(**negatives)
    valid = inputs["video_attention_mask"].bool()
    torch.testing.assert_close(
        both.negative_hidden_state[valid], expected.last_hidden_state[valid], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(both.negative_global_state, expected.global_state, atol=1e-5, rtol=1e-4)


def test_a_mask_without_padding_is_no_mask():
    model, inputs = tiny_model(), random_inputs(tiny_config(), ((7, 5), (7, 5), (7, 5)))
    without = {name: x for name, x in inputs.items() if not name.endswith("mask")}
    with torch.no_grad():
        masked, plain = model(**inputs), model(**without)
        with device_paths():
            # A device is not asked whether something is padded.
            asked_nothing = model(**inputs)
    assert torch.equal(masked.saliency_scores, plain.saliency_scores)
    torch.testing.assert_close(asked_nothing.saliency_scores, plain.saliency_scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(asked_nothing.pred_spans, plain.pred_spans, atol=1e-5, rtol=1e-4)


def test_inference_runs_nothing_that_serves_the_loss_alone():
    model = tiny_model()
    calls = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, args, output, name=name: calls.append(name))
    inputs = random_inputs(model.config)
    model(**inputs)
    assert not [name for name in calls if "moment_to_highlight" in name or "contrastive" in name]
    assert calls.count("class_head") == calls.count("span_head") == calls.count("model.encoder") == 1
    calls.clear()
    model(**inputs, labels=random_labels(inputs))
    # Positive and negative pairs go through the encoder together, and the decoder sees the positive ones alone.
    assert calls.count("model.encoder") == calls.count("model.decoder") == calls.count("model.fusion") == 1


def test_a_training_step_asks_a_device_for_nothing(monkeypatch):
    model = tiny_model().train()
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    to_host = torch.Tensor.cpu
    transfers = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: transfers.append(tensor.shape) or to_host(tensor))
    with device_paths(), CountSyncs() as syncs:
        model(**inputs, labels=labels).loss.backward()
    assert transfers == []
    assert syncs.count == 0


def test_weights_survive_save_and_load(tmp_path, model):
    model.save_pretrained(tmp_path)
    loaded = VideoLightsForMomentRetrieval.from_pretrained(tmp_path)
    inputs = random_inputs(model.config)
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert (tmp_path / "model.safetensors").is_file()


def test_weights_load_between_word_correlations_as_far_as_shapes_allow(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    loaded, info = VideoLightsForMomentRetrieval.from_pretrained(
        tmp_path, word_correlation="attended", output_loading_info=True
    )
    assert loaded.config.word_correlation == "attended"
    assert not info["missing_keys"]
    assert {key.rsplit(".", 1)[-1] for key in info["unexpected_keys"]} == {
        "correlation_query_weight",
        "correlation_value_weight",
    }


def test_initialization_is_that_of_the_release():
    torch.manual_seed(0)
    model = VideoLightsForMomentRetrieval(tiny_config(hidden_size=64, intermediate_size=128))
    network = model.model
    attention = network.encoder.layers[0].self_attn
    # Xavier over the packed (3D, D) matrix: sqrt(6 / 4D); over a (D, D) one: sqrt(6 / 2D).
    assert attention.q_proj.weight.abs().max().item() == pytest.approx((6 / 256) ** 0.5, rel=0.01)
    assert attention.out_proj.weight.abs().max().item() == pytest.approx((6 / 128) ** 0.5, rel=0.01)
    assert not attention.q_proj.bias.any()
    assert not attention.out_proj.bias.any()
    decoder = network.decoder
    assert decoder.layers[0].self_attn.q_content_proj.weight.abs().max().item() == pytest.approx(
        (6 / 128) ** 0.5, rel=0.01
    )
    assert not decoder.anchor_head.layers[-1].bias.any()
    assert decoder.anchor_head.layers[-1].weight.any()
    assert model.class_head.weight.abs().max() <= 64**-0.5
    assert network.query_anchors.weight.std() > 0.3
    assert network.global_token.std().item() == pytest.approx(1, abs=0.4)
    assert network.feature_refinement.mixer.weight.abs().max() <= 256**-0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_features": torch.zeros(3, 7, 21)}, r"slowfast 12 \+ clip 8 \+ temporal channels 2"),
        ({"text_features": torch.zeros(3, 5, 9)}, "clip 8"),
        ({"text_features": torch.zeros(2, 5, 8)}, "one sentence per video, or one video"),
        ({"video_attention_mask": torch.ones(3, 6)}, "video_attention_mask"),
        ({"text_attention_mask": torch.ones(3, 1)}, "text_attention_mask"),
        ({"audio_features": torch.zeros(3, 7, 2)}, "takes no audio"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change, message):
    model = tiny_model()
    with pytest.raises(ValueError, match=message):
        model(**{**random_inputs(model.config), **change})


def test_audio_is_checked():
    model = tiny_model(audio_dim=5)
    inputs = random_inputs(model.config)
    with pytest.raises(ValueError, match="needs audio features of width 5"):
        model(**{**inputs, "audio_features": None})
    with pytest.raises(ValueError, match="audio_features"):
        model(**{**inputs, "audio_features": inputs["audio_features"][:, :3]})


def test_text_longer_than_the_learned_positions_is_refused():
    model = tiny_model(use_text_positions=True, max_text_length=4)
    with pytest.raises(ValueError, match="positions for 4"):
        model(**random_inputs(model.config))


def test_moment_selection_follows_slice_rules():
    coupled = tiny_model(clip_length=2.0).moment_to_highlight
    num_clips = 8
    video = torch.arange(1.0, num_clips + 1).view(1, num_clips, 1)
    for center, width in itertools.product((0.0, 0.1, 0.4, 0.99), (0.01, 0.3, 0.8)):
        spans = torch.tensor([[[center, width]]])
        start, end = ((center + sign * width / 2) * num_clips for sign in (-1, 1))
        start, end = (int(torch.tensor(value).floor()) for value in (start, end))
        rows = list(range(1, num_clips + 1))[start : end + 1]
        expected = torch.tensor(rows + [0] * (num_clips - len(rows))).float()
        selected = coupled.select_moment(video, torch.zeros(1, 1, 2), spans, num_clips)
        assert torch.equal(selected[0, :, 0], expected), (center, width)


def test_one_video_goes_with_several_sentences(model):
    inputs = random_inputs(model.config)
    of_video = [name for name in inputs if not name.startswith("text_")]
    inputs |= {name: inputs[name][:1].expand_as(inputs[name]) for name in of_video}
    labels = random_labels(inputs)
    expected = model(**inputs, labels=labels)
    output = model(**{name: inputs[name][:1] if name in of_video else inputs[name] for name in inputs}, labels=labels)
    for name in ("logits", "pred_spans", "saliency_scores", "loss"):
        torch.testing.assert_close(output[name], expected[name])


def test_adapters_and_hooks_of_fused_projections_are_heard(model):
    inputs = random_inputs(model.config)
    expected = model(**inputs).logits
    calls = []
    hook = model.model.encoder.layers[0].self_attn.q_proj.register_forward_hook(
        lambda module, args, output: calls.append(output)
    )
    torch.testing.assert_close(model(**inputs).logits, expected)
    assert len(calls) == 1
    hook.remove()
