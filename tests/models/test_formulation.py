"""The paper's formulation: one switch, a member for each difference, and numbers computed by hand."""

import json
import logging

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from tests.support.factories import random_inputs, random_labels, tiny_config, tiny_model
from tests.support.gradients import (
    LOSS_MEMBERS,
    WITHOUT_DROPOUT,
    batch_of_pairs,
    gradient_error,
    gradient_of,
    part_of,
)
from videolights_hf import (
    MomentDetrConfig,
    QDDetrConfig,
    TRDetrConfig,
    VideoLightsConfig,
    VideoLightsForMomentRetrieval,
    convert_to_release,
)
from videolights_hf.models.linear import LocalConvolution
from videolights_hf.models.losses import (
    SaliencyForm,
    hard_positive_negative_loss,
    query_text_alignment_loss,
    rescale_saliency,
    saliency_cosine_loss,
    video_text_alignment_loss,
)
from videolights_hf.models.projection import Projection
from videolights_hf.models.tokens import Tokens
from videolights_hf.models.videolights.formulation import MEMBERS
from videolights_hf.training import load_recipe

OTHER_DETECTORS = [MomentDetrConfig, QDDetrConfig, TRDetrConfig]
LOSS_FIELDS = [name for name, member in MEMBERS.items() if member.change == "none"]


class TestSwitch:
    def test_the_formulation_fills_in_every_member(self):
        released, paper = tiny_config(), tiny_config(formulation="paper")
        for name, member in MEMBERS.items():
            assert getattr(released, name) == member.released
            assert getattr(paper, name) == member.paper

    def test_one_member_can_stand_against_the_rest(self):
        config = tiny_config(formulation="paper", fusion_form="released")
        assert (config.fusion_form, config.loss_padding) == ("released", "masked")

    def test_a_part_that_is_off_keeps_its_released_members(self):
        config = tiny_config(formulation="paper", use_feature_refinement=False, cross_modal_fusion="uni")
        assert (config.word_correlation, config.sentence_similarity, config.fusion_form) == (
            "constant",
            "cosine",
            "released",
        )
        assert config.loss_padding == "masked"

    def test_the_preset_keeps_the_sine_and_brings_weights_for_the_hard_losses(self):
        weights = {"qvhighlights": 1e-4, "tvsum": 1e-4, "charades_sta": 2e-3, "tacos": 2e-3}
        for dataset, weight in {**weights, "youtube_highlights": 2e-3}.items():
            released = VideoLightsConfig.from_preset("videolights", dataset)
            config = VideoLightsConfig.from_preset("videolights", dataset, formulation="paper")
            assert (config.hard_pos_neg_loss_coef, config.video_positions) == (weight, "sine")
            others = [name for name in config.to_dict() if name.endswith("_coef") and "hard" not in name]
            assert [getattr(config, name) for name in others] == [getattr(released, name) for name in others]

    def test_the_switch_is_that_of_one_detector(self):
        for config in OTHER_DETECTORS:
            for field in ("formulation", *LOSS_FIELDS):
                with pytest.raises(ValueError, match=f"has no field '{field}'"):
                    config(**{field: "paper"})

    def test_a_recipe_takes_it(self):
        config = load_recipe("charades_sta/videolights", ["formulation=paper"]).model_config()
        assert (config.fusion_form, config.hard_pos_neg_loss_coef) == ("paper", 2e-3)

    def test_an_even_kernel_is_refused(self):
        with pytest.raises(StrictDataclassError, match="must be odd"):
            tiny_config(convolution_kernel_size=2)


class TestLoading:
    def test_a_paper_model_comes_back_as_it_was(self, tmp_path):
        model = tiny_model(formulation="paper")
        model.save_pretrained(tmp_path)
        loaded = VideoLightsForMomentRetrieval.from_pretrained(tmp_path)
        assert all(getattr(loaded.config, name) == member.paper for name, member in MEMBERS.items())
        inputs = random_inputs(model.config)
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)

    def test_a_formulation_that_a_saved_member_contradicts_is_refused_and_the_member_named(self, tmp_path):
        tiny_config().save_pretrained(tmp_path / "released")
        with pytest.raises(ValueError, match="disagrees with the saved projection_relu='inner'"):
            VideoLightsConfig.from_pretrained(tmp_path / "released", formulation="paper")
        # What a saved file does not name is as released.
        fields = json.loads((tmp_path / "released" / "config.json").read_text())
        old = {name: value for name, value in fields.items() if name not in (*MEMBERS, "formulation")}
        (tmp_path / "released" / "config.json").write_text(json.dumps(old))
        assert VideoLightsConfig.from_pretrained(tmp_path / "released").fusion_form == "released"
        with pytest.raises(ValueError, match="disagrees with the saved projection_relu='inner'"):
            VideoLightsConfig.from_pretrained(tmp_path / "released", formulation="paper")
        tiny_config(formulation="paper", fusion_form="released").save_pretrained(tmp_path / "mixed")
        with pytest.raises(ValueError, match="disagrees with the saved fusion_form='released'"):
            VideoLightsConfig.from_pretrained(tmp_path / "mixed", formulation="paper")

    @pytest.mark.parametrize(("name", "member"), MEMBERS.items(), ids=list(MEMBERS))
    def test_a_loss_changes_in_silence_a_form_with_a_warning_and_a_shape_not_at_all(
        self, tmp_path, caplog, name, member
    ):
        tiny_config().save_pretrained(tmp_path)
        logger = logging.getLogger("videolights_hf")
        logger.addHandler(caplog.handler)
        try:
            if member.change == "refuse":
                with pytest.raises(ValueError, match=f"{name} cannot change from {member.released!r}"):
                    VideoLightsConfig.from_pretrained(tmp_path, **{name: member.paper})
                return
            config = VideoLightsConfig.from_pretrained(tmp_path, **{name: member.paper})
        finally:
            logger.removeHandler(caplog.handler)
        assert getattr(config, name) == member.paper
        warnings = {record.getMessage() for record in caplog.records}
        assert len(warnings) == (member.change == "retrain")
        assert all(f"trained with {name}=" in warning for warning in warnings)

    def test_the_release_has_a_counterpart_of_losses_and_of_positions_of_words_alone(self, tmp_path):
        for name, member in MEMBERS.items():
            tiny_model(**{name: member.paper}).save_pretrained(tmp_path / name)
            if member.change == "none" or name == "use_text_positions":
                convert_to_release(tmp_path / name, tmp_path / "release.ckpt")
                continue
            with pytest.raises(ValueError, match=f"no counterpart of {name}={member.paper!r}"):
                convert_to_release(tmp_path / name, tmp_path / "refused.ckpt")
        assert not (tmp_path / "refused.ckpt").exists()


class TestLosses:
    SCORES = torch.tensor([[1.0, 2.0, 9.0], [3.0, 0.0, 4.0]])
    SALIENCY = torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]])
    MASK = torch.tensor([[True, True, False], [True, True, True]])

    def test_raw_masked_cosine_is_a_mean_over_the_batch(self):
        # First sample: cosine of (1, 2) and (0, 2) is 2 / sqrt(5); the second's is 1.
        expected = (1 - 2 / 5**0.5) / 2
        form = SaliencyForm("masked", "none", "paper")
        found = saliency_cosine_loss(self.SCORES, self.SALIENCY, self.MASK, form)
        assert found.item() == pytest.approx(expected, abs=1e-6)
        summed = saliency_cosine_loss(self.SCORES, self.SALIENCY, self.MASK, form._replace(reduction="released"))
        assert summed.item() == pytest.approx(2 * expected, abs=1e-6)

    def test_the_batch_minimum_is_that_of_the_clips_that_count(self):
        scores = torch.tensor([[3.0, 5.0, -7.0]])
        mask = torch.tensor([[True, True, False]])
        # Shifted by 3: (0, 2), along the labels (0, 2).
        found = saliency_cosine_loss(scores, torch.tensor([[0.0, 2.0, 0.0]]), mask, SaliencyForm(padding="masked"))
        assert found.item() == pytest.approx(0, abs=1e-6)

    def test_released_scores_start_at_the_lowest_of_the_batch_in_parts_of_its_label_range(self):
        scores, labels = torch.tensor([[1.0, 3.0], [5.0, 2.0]]), torch.tensor([[0.0, 2.0], [4.0, 1.0]])
        assert rescale_saliency(scores, labels).tolist() == [[0.0, 0.5], [1.0, 0.25]]
        raw = rescale_saliency(scores, labels, form=SaliencyForm(scaling="none"))
        assert raw.tolist() == scores.tolist()

    def test_hard_losses_sum_raw_errors_over_a_videos_clips(self):
        # Outside: |1| and |0|; inside: (2 - 2)^2, 0, 0; padding does not count.
        form = SaliencyForm("masked", "none", "paper")
        scores = torch.tensor([[1.0, 2.0, 9.0], [5.0, -2.0, 4.0]])
        found = hard_positive_negative_loss(scores, self.SALIENCY, "absolute", self.MASK, form)
        assert found.item() == pytest.approx((1 + 0 + 4 + 2 + 0) / 2)
        squared = hard_positive_negative_loss(scores, self.SALIENCY, "squared", self.MASK, form)
        assert squared.item() == pytest.approx((1 + 0 + 4 + 4 + 0) / 2)
        mean = hard_positive_negative_loss(
            scores, self.SALIENCY, "absolute", self.MASK, form._replace(reduction="released")
        )
        assert mean.item() == pytest.approx((1 + 0 + 4 + 2 + 0) / 5)

    def test_alignment_reads_valid_words_alone(self):
        queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        text = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        words = torch.tensor([[True, False]])
        found = query_text_alignment_loss(queries, text, torch.tensor([[0]]), 1.0, words)
        # Logits 1 and 0 of the one word.
        assert found.item() == pytest.approx(torch.tensor([1.0, 0.0]).logsumexp(0).item() - 1)
        video = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        form = SaliencyForm("masked", "none", "paper")
        clips = torch.ones(1, 2, dtype=torch.bool)
        loss = video_text_alignment_loss(text, video, torch.tensor([[3.0, 0.0]]), (words, clips), form)
        assert loss.item() == pytest.approx(0, abs=1e-6)

    def test_a_weight_is_a_factor_and_zero_drops_the_term(self):
        weights = {"rank_loss_coef": 2.0, "rank_contrastive_loss_coef": 3.0, "negative_pair_loss_coef": 0.0}
        inputs = random_inputs(tiny_config())
        labels = random_labels(inputs)
        plain = tiny_model()(**inputs, labels=labels).loss_dict
        weighed = tiny_model(**weights)(**inputs, labels=labels).loss_dict
        torch.testing.assert_close(weighed["saliency_margin"], 2 * plain["saliency_margin"])
        torch.testing.assert_close(weighed["saliency_rank_contrastive"], 3 * plain["saliency_rank_contrastive"])
        assert "saliency_negative_pair" not in weighed

    @pytest.mark.parametrize("formulation", ["paper", "released"])
    def test_half_batches_give_the_gradient_of_the_whole_by_the_papers_losses_alone(self, formulation):
        def gradient(rows):
            model = tiny_model(**WITHOUT_DROPOUT, **LOSS_MEMBERS[formulation])
            return gradient_of(model, part_of(*batch_of_pairs(model.config), rows))

        whole = gradient(slice(0, 4))
        first, second = gradient(slice(0, 2)), gradient(slice(2, 4))
        halves = {name: (first[name] + second[name]) / 2 for name in whole}
        assert (gradient_error(halves, whole) < 1e-5) == (formulation == "paper")

    def test_the_coupled_branch_reads_a_videos_own_clips_where_padding_is_masked(self):
        model = tiny_model(**WITHOUT_DROPOUT, **LOSS_MEMBERS["paper"])
        inputs = random_inputs(model.config, ((7, 5), (4, 5)))
        labels = random_labels(inputs, (1, 1))
        together = model(**inputs, labels=labels).moment_saliency_scores[1, :4]
        alone = model(**part_of(inputs, labels, slice(1, 2))).moment_saliency_scores[0]
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


class TestNetwork:
    def words(self):
        states = torch.tensor([[[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]]])
        return Tokens(states, valid=torch.tensor([[True, True, False]]))

    def refinement(self, **members):
        settings = {"hidden_size": 4, "num_attention_heads": 2, "max_text_length": 5, **members}
        return tiny_model(**settings).model.feature_refinement

    def test_the_map_holds_dot_products_and_zero_where_there_is_no_word(self):
        refinement = self.refinement(word_correlation="map")
        video = torch.tensor([[[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 0.0, 0.0]]])
        expected = torch.tensor([[[3.0, 3.0, 0.0, 0.0, 0.0], [0.0, 6.0, 0.0, 0.0, 0.0]]])
        assert torch.equal(refinement.map_words(video, self.words()), expected)
        assert refinement.mixer.in_features == 3 * 4 + 5

    def test_similarity_is_a_cosine_or_a_dot_product(self):
        clips = Tokens(torch.tensor([[[2.0, 0.0, 0.0, 0.0], [3.0, 4.0, 0.0, 0.0]]]))
        sentence = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
        cosine, dot = (self.refinement(sentence_similarity=kind) for kind in ("cosine", "dot"))
        torch.testing.assert_close(cosine.similarity(clips, sentence), torch.tensor([[1.0, 0.6]]))
        torch.testing.assert_close(dot.similarity(clips, sentence), torch.tensor([[4.0, 6.0]]))

    @pytest.mark.parametrize(("relu", "expected"), [(True, [0.0, 2.0, 0.0, 0.0]), (False, [-1.0, 2.0, -3.0, 0.0])])
    def test_relu_behind_the_mixer_by_hand(self, relu, expected):
        refinement = self.refinement(refinement_relu=relu)
        with torch.no_grad():
            # The mixer changes the sign of the clip and reads nothing else.
            refinement.mixer.weight.copy_(torch.cat((-torch.eye(4), torch.zeros(4, 12)), dim=1))
            refinement.mixer.bias.zero_()
            refined = refinement(Tokens(torch.tensor([[[1.0, -2.0, 3.0, 0.0]]])), self.words())
        assert refined[0, 0].tolist() == expected

    @pytest.mark.parametrize(("relu", "expected"), [("inner", [1.0, -1.0, 1.0, -1.0]), ("all", [1.0, 0.0, 1.0, 0.0])])
    def test_relu_behind_the_last_projection_by_hand(self, relu, expected):
        config = tiny_config(hidden_size=4, num_projection_layers=1, projection_relu=relu)
        projection = Projection(4, config).eval()
        with torch.no_grad():
            projection.layers[0].projection.weight.copy_(torch.eye(4))
            projection.layers[0].projection.bias.zero_()
            # Of mean 0 and variance 1, which the norm leaves as it is.
            found = projection(torch.tensor([[[1.0, -1.0, 1.0, -1.0]]]))
        torch.testing.assert_close(found[0, 0], torch.tensor(expected), atol=1e-4, rtol=0)

    def test_without_relu_refined_clips_can_be_negative(self):
        inputs = random_inputs(tiny_config())
        with_relu, without = (tiny_model(refinement_relu=value).model(**inputs) for value in (True, False))
        assert with_relu.refined_video.min() == 0 > without.refined_video.min()
        torch.testing.assert_close(with_relu.refined_video, without.refined_video.relu())

    def test_relu_behind_the_last_projection_leaves_nothing_negative(self):
        inputs = random_inputs(tiny_config())
        inner, everywhere = (tiny_model(projection_relu=value).model(**inputs) for value in ("inner", "all"))
        torch.testing.assert_close(everywhere.projected_video, inner.projected_video.relu())

    def test_a_convolution_sees_its_neighbors_and_no_padding(self):
        convolution = LocalConvolution(1, 1, 3)
        torch.nn.init.ones_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
        states = torch.tensor([[[1.0], [2.0], [4.0], [8.0]]])
        valid = torch.tensor([[True, True, True, False]])
        assert convolution(states, valid)[0, :3, 0].tolist() == [3.0, 7.0, 6.0]
        assert convolution(states)[0, :, 0].tolist() == [3.0, 7.0, 14.0, 12.0]

    def fusion_layer(self, **members):
        """A fusion layer of width 4, whose attentions give nothing and whose feed-forward network a constant."""
        layer = tiny_model(hidden_size=4, num_attention_heads=2, **members).model.fusion.layers[0]
        maps = (layer.video_from_text_proj, layer.text_from_video_proj, layer.video_from_fused_text_proj)
        for linear in (*maps, layer.feed_forward.down_proj):
            torch.nn.init.zeros_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
        with torch.no_grad():
            layer.feed_forward.down_proj.bias.copy_(torch.tensor([1.0, 1.0, -1.0, -1.0]))
        return layer

    def attended(self, layer, *arguments):
        """What a pass gives, and the queries, keys and values of its three attentions."""
        seen = []
        attentions = (layer.video_from_text, layer.text_from_video, layer.video_from_fused_text)
        hooks = [one.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[:3])) for one in attentions]
        with torch.no_grad():
            fused, _ = layer(*arguments)
        for hook in hooks:
            hook.remove()
        return fused[0, 0], [[tensor[0, 0] for tensor in inputs] for inputs in seen]

    def test_fusion_has_norm_and_residual_at_each_stage_as_printed(self):
        video, text = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]]), torch.tensor([[[2.0, -2.0, 2.0, -2.0]]])
        arguments = (video, text, torch.zeros_like(video), None, None, None)
        released, states = self.attended(self.fusion_layer(), *arguments)
        # Norm of twice the feed-forward network's (1, 1, -1, -1); the text stage has no norm.
        torch.testing.assert_close(released, torch.tensor([1.0, 1.0, -1.0, -1.0]), atol=1e-4, rtol=0)
        torch.testing.assert_close(states[2][1], text[0, 0])
        paper, states = self.attended(self.fusion_layer(fusion_form="paper"), *arguments)
        # Norm of (1, -1, 1, -1) + (1, 1, -1, -1).
        torch.testing.assert_close(paper, torch.tensor([2**0.5, 0.0, 0.0, -(2**0.5)]), atol=1e-4, rtol=0)
        torch.testing.assert_close(states[2][1], video[0, 0], atol=1e-4, rtol=0)

    def test_fusion_as_printed_trains_the_norm_of_the_text(self):
        released, paper = (tiny_model(fusion_form=form).model.fusion.layers[0] for form in ("released", "paper"))
        for layer in (released, paper):
            video, text = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
            layer(video, text, torch.zeros_like(video), None, None, None)[0].square().sum().backward()
        assert paper.norm2.weight.grad.abs().sum() > 0
        assert released.norm2.weight.grad is None

    def test_positions_reach_queries_keys_and_values_of_all_attentions_as_printed(self):
        video, text = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]]), torch.tensor([[[2.0, -2.0, 2.0, -2.0]]])
        of_video, of_text = torch.full((1, 1, 4), 10.0), torch.full((1, 1, 4), 100.0)
        arguments = (video, text, of_video, of_text, None, None)
        v, t, p_v, p_t = video[0, 0], text[0, 0], 10.0, 100.0
        _, released = self.attended(self.fusion_layer(), *arguments)
        _, paper = self.attended(self.fusion_layer(fusion_positions="all"), *arguments)
        expected = [[v + p_v, t + p_t, t], [t + p_t, v + p_v, v], [v, t, t]]
        printed = [[v + p_v, t + p_t, t + p_t], [t + p_t, v + p_v, v + p_v], [v + p_v, t + p_t, t + p_t]]
        torch.testing.assert_close(released, expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(paper, printed, atol=1e-3, rtol=0)

    def test_positions_of_clips_are_a_sine_or_rows_that_are_learned(self):
        clips = torch.zeros(1, 2, 4)
        sine, learned = (
            tiny_model(hidden_size=4, num_attention_heads=2, video_positions=kind).model
            for kind in ("sine", "learned")
        )
        # Angles pi and 2 pi, and a hundredth of them.
        angles = torch.tensor([[torch.pi, torch.pi / 100], [2 * torch.pi, torch.pi / 50]])
        expected = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)
        torch.testing.assert_close(sine.place_clips(clips, None)[0], expected, atol=1e-5, rtol=0)
        with torch.no_grad():
            learned.clip_position_embedding.weight.copy_(torch.arange(40.0).view(10, 4))
            assert learned.place_clips(clips, None)[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]

    def test_positions_of_words_are_none_or_learned(self):
        without, learned = (
            tiny_model(hidden_size=4, num_attention_heads=2, use_text_positions=value).model for value in (False, True)
        )
        inputs = random_inputs(tiny_config(), ((2, 1),))
        arguments = (inputs["video_features"], inputs["text_features"], None, None, None)
        assert without.project(*arguments)[1].position is None
        with torch.no_grad():
            words = learned.text_projection(inputs["text_features"])
            # Word and row add up to (3, -3, 3, -3), of which the norm is (1, -1, 1, -1).
            learned.text_position_embedding.position.weight[0] = torch.tensor([3.0, -3.0, 3.0, -3.0]) - words[0, 0]
            position = learned.project(*arguments)[1].position[0, 0]
        torch.testing.assert_close(position, torch.tensor([1.0, -1.0, 1.0, -1.0]), atol=1e-4, rtol=0)

    def test_learned_positions_end_with_the_model(self):
        model = tiny_model(video_positions="learned", max_video_length=7)
        inputs = random_inputs(model.config)
        model(**inputs)
        assert model.model.clip_position_embedding.weight.shape == (7, 16)
        longer = random_inputs(model.config, ((8, 3), (4, 2)))
        with pytest.raises(ValueError, match="8 clips, but the model has positions for 7"):
            model(**longer)

    def test_the_whole_form_runs_trains_and_does_not_depend_on_the_batch(self):
        model = tiny_model(formulation="paper")
        inputs = random_inputs(model.config)
        output = model(**inputs, labels=random_labels(inputs))
        output.loss.backward()
        assert torch.isfinite(output.loss)
        assert model.model.fusion.layers[0].norm2.weight.grad is not None
        alone = {name: tensor[1:2, : 3 if name.startswith("text") else 4] for name, tensor in inputs.items()}
        with torch.no_grad():
            torch.testing.assert_close(model(**alone).logits[0], model(**inputs).logits[1], atol=1e-5, rtol=1e-4)
