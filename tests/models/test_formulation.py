"""The paper's formulation: one switch, a member for each difference, and numbers computed by hand."""

import logging

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from tests.support.factories import random_inputs, random_labels, tiny_config, tiny_model
from videolights_hf import VideoLightsConfig, VideoLightsForMomentRetrieval, convert_to_release
from videolights_hf.models.linear import LocalConvolution
from videolights_hf.models.losses import (
    SaliencyForm,
    hard_positive_negative_loss,
    query_text_alignment_loss,
    saliency_cosine_loss,
    video_text_alignment_loss,
)
from videolights_hf.models.tokens import Tokens
from videolights_hf.models.videolights.formulation import MEMBERS

PAPER_LOSS = {"loss_padding": "masked", "saliency_scaling": "none", "loss_reduction": "paper"}
WITHOUT_DROPOUT = {"dropout": 0.0, "input_dropout": 0.0, "refinement_dropout": 0.0}


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
        weights = {"qvhighlights": 1e-4, "tvsum": 1e-4, "charades_sta": 2e-3, "youtube_highlights": 2e-3}
        for dataset, weight in weights.items():
            config = VideoLightsConfig.from_preset("videolights", dataset, formulation="paper")
            assert (config.hard_pos_neg_loss_coef, config.video_positions) == (weight, "sine")

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

    def test_a_formulation_that_the_saved_members_contradict_is_refused(self, tmp_path):
        tiny_config().save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="disagrees with the saved projection_relu='inner'"):
            VideoLightsConfig.from_pretrained(tmp_path, formulation="paper")

    def test_loss_members_change_in_silence_and_others_with_a_warning_or_not_at_all(self, tmp_path, caplog):
        tiny_config().save_pretrained(tmp_path)
        with caplog.at_level(logging.WARNING, logger="videolights_hf"):
            logging.getLogger("videolights_hf").addHandler(caplog.handler)
            config = VideoLightsConfig.from_pretrained(tmp_path, **PAPER_LOSS)
            assert config.loss_padding == "masked"
            assert not caplog.records
            assert VideoLightsConfig.from_pretrained(tmp_path, fusion_form="paper").fusion_form == "paper"
        with pytest.raises(ValueError, match="convolution_kernel_size cannot change from 1 to 3"):
            VideoLightsConfig.from_pretrained(tmp_path, convolution_kernel_size=3)

    def test_the_release_has_no_counterpart(self, tmp_path):
        tiny_model(refinement_relu=False).save_pretrained(tmp_path / "model")
        with pytest.raises(ValueError, match="no counterpart of refinement_relu=False"):
            convert_to_release(tmp_path / "model", tmp_path / "release.ckpt")


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

    @pytest.mark.parametrize("members", [PAPER_LOSS, {}], ids=["paper", "released"])
    def test_half_batches_give_the_gradient_of_the_whole_by_the_papers_losses_alone(self, members):
        model = tiny_model(**WITHOUT_DROPOUT, hard_pos_neg_loss_coef=1e-3, **members).train()
        # Sentences a, b, a, b, so that both halves have the negatives of the whole.
        inputs = random_inputs(model.config, ((7, 5), (4, 3), (5, 5), (7, 3)))
        for name in ("text_features", "text_attention_mask"):
            inputs[name][2:] = inputs[name][:2]
        labels = random_labels(inputs, (1, 2, 2, 1))

        def gradient(rows):
            model.zero_grad()
            part = {name: tensor[rows] for name, tensor in inputs.items()}
            # Each half is padded to its own longest video.
            clips = int(part["video_attention_mask"].sum(1).max())
            part = {name: tensor[:, :clips] if name.startswith("video") else tensor for name, tensor in part.items()}
            targets = {name: tensor[rows] for name, tensor in labels.items()}
            targets |= {name: targets[name][:, :clips] for name in ("saliency", "relevant_clips")}
            model(**part, labels=targets).loss.backward()
            return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

        # The coupled term reads padding by the released rule for its spans, so it is left out.
        model.moment_to_highlight = None
        whole = gradient(slice(0, 4))
        halves = (gradient(slice(0, 2)) + gradient(slice(2, 4))) / 2
        error = (whole - halves).abs().max() / whole.abs().max()
        assert (error < 1e-5) == bool(members), error


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

    def test_fusion_as_printed_keeps_the_path_around_the_feed_forward(self):
        released, paper = (tiny_model(fusion_form=form).model.fusion.layers[0] for form in ("released", "paper"))
        for layer in (released, paper):
            torch.nn.init.zeros_(layer.feed_forward.down_proj.weight)
            torch.nn.init.zeros_(layer.feed_forward.down_proj.bias)
        video, text = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
        arguments = (video, text, torch.zeros_like(video), None, None, None)
        # A feed-forward network of zero leaves nothing of its input as released.
        assert released(*arguments)[0].abs().max() == 0
        assert paper(*arguments)[0].abs().max() > 0.5
        video.requires_grad_()
        paper(video, *arguments[1:])[0].square().sum().backward()
        assert paper.norm2.weight.grad.abs().sum() > 0
        assert released.norm2.weight.grad is None

    def test_positions_reach_values_only_in_the_papers_form(self):
        # One clip and one word: each attends to the other wholly, whatever the positions of queries and keys.
        video, text, position = torch.randn(1, 1, 16), torch.randn(1, 1, 16), torch.randn(1, 1, 16)
        changes = []
        for positions in ("queries_keys", "all"):
            layer = tiny_model(fusion_positions=positions).model.fusion.layers[0]
            seen = [layer(video, text, position * scale, None, None, None)[0] for scale in (0, 1)]
            changes.append((seen[0] - seen[1]).abs().max())
        assert changes[0] < 1e-6 < 1e-3 < changes[1]

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
