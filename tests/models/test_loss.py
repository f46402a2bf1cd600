import pytest
import torch

from tests.support.factories import random_inputs, random_labels, tiny_config, tiny_model
from videolights_hf.models.losses import (
    class_error,
    giou_loss,
    hard_positive_negative_loss,
    label_loss,
    margin_ranking_loss,
    matched_query_mask,
    negative_pair_loss,
    query_text_alignment_loss,
    rank_contrastive_loss,
    saliency_cosine_loss,
    span_loss,
)
from videolights_hf.models.matching import Matcher
from videolights_hf.models.spans import (
    center_width_to_start_end,
    generalized_temporal_iou,
    start_end_to_center_width,
    temporal_iou,
)


def assert_trains_finitely(model, inputs, labels):
    model.train().zero_grad()
    output = model(**inputs, labels=labels, epoch=5)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(term) for term in output.loss_dict.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_spans_convert_both_ways():
    spans = torch.rand(3, 4, 2)
    torch.testing.assert_close(start_end_to_center_width(center_width_to_start_end(spans)), spans)


def test_overlaps_match_hand_computed_values():
    a = torch.tensor([[0.0, 4.0], [2.0, 2.0]])
    b = torch.tensor([[2.0, 6.0], [8.0, 10.0], [2.0, 2.0]])
    torch.testing.assert_close(temporal_iou(a, b), torch.tensor([[2 / 6, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(generalized_temporal_iou(a, b)[0], torch.tensor([2 / 6, -0.4, 0.0]))


def test_matching_is_optimal_over_all_layers_and_ignores_padding():
    config = tiny_config(giou_cost=0.0, class_cost=0.0)
    targets = torch.tensor([[[0.2, 0.1], [0.7, 0.2], [0.0, 0.0]], [[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    predictions = torch.rand(2, 2, 4, 2)
    predictions[0, 0, 3], predictions[0, 0, 1] = targets[0, 0], targets[0, 1]
    predictions[1, 1, 2] = targets[1, 0]
    matched = Matcher(config)(torch.zeros(2, 2, 4, 2), predictions, targets, mask)
    assert matched.shape == (2, 2, 3)
    assert matched[0, 0].tolist() == [3, 1, -1]
    assert matched[1, 1].tolist() == [2, -1, -1]


def test_more_moments_than_queries_leave_the_rest_unmatched():
    config = tiny_config()
    matched = Matcher(config)(
        torch.zeros(1, 1, 2, 2), torch.rand(1, 1, 2, 2), torch.rand(1, 5, 2), torch.ones(1, 5, dtype=torch.bool)
    )
    assert sorted(matched.flatten().tolist()) == [-1, -1, -1, 0, 1]
    model = tiny_model(num_queries=2)
    inputs = random_inputs(model.config)
    assert_trains_finitely(model, inputs, random_labels(inputs, (5, 5, 5)))


def test_a_prediction_that_is_not_a_number_is_matched_last():
    predictions = torch.tensor([[[[float("nan"), 0.1], [0.9, 0.1]]]])
    matched = Matcher(tiny_config())(
        torch.zeros(1, 1, 2, 2), predictions, torch.tensor([[[0.1, 0.1]]]), torch.tensor([[True]])
    )
    assert matched.flatten().tolist() == [1]


def test_moment_terms_match_hand_computed_values():
    predictions = torch.tensor([[[0.5, 0.2], [0.1, 0.1]]])
    targets = torch.tensor([[[0.5, 0.4], [0.3, 0.3]]])
    matched = torch.tensor([[0, -1]])
    assert span_loss(predictions, targets, matched).item() == pytest.approx(0.1)
    assert giou_loss(predictions, targets, matched).item() == pytest.approx(0.5)
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])
    expected = torch.log(torch.tensor(2.0)).item() * (1 + 0.1) / 2
    assert label_loss(logits, matched, 0.1).item() == pytest.approx(expected)
    assert class_error(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), torch.tensor([[0, 1]])).item() == 50
    assert matched_query_mask(torch.tensor([[1, -1]]), 3).tolist() == [[False, True, False]]


def test_alignment_falls_when_matched_queries_point_at_the_words():
    text = torch.nn.functional.normalize(torch.tensor([[[1.0, 0.0], [1.0, 0.1]]]), dim=-1)
    queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    aligned = query_text_alignment_loss(queries, text, torch.tensor([[0]]), 0.07)
    crossed = query_text_alignment_loss(queries, text, torch.tensor([[1]]), 0.07)
    assert aligned < crossed
    assert query_text_alignment_loss(queries, text, torch.tensor([[-1]]), 0.07) == 0


def test_saliency_terms_fall_when_scores_follow_the_annotation():
    saliency = torch.tensor([[0.0, 3.0, 9.0, 0.0]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    good, bad = saliency / 3, (9 - saliency) / 3
    negatives = torch.full((1, 4), -4.0)
    assert saliency_cosine_loss(good, saliency) < 1e-6 < saliency_cosine_loss(bad, saliency)
    assert rank_contrastive_loss(good, negatives, saliency, mask) < rank_contrastive_loss(
        bad, negatives, saliency, mask
    )
    for penalty in ("squared", "absolute"):
        assert hard_positive_negative_loss(good, saliency, penalty) < hard_positive_negative_loss(
            bad, saliency, penalty
        )
    assert negative_pair_loss(negatives, mask) < negative_pair_loss(-negatives, mask)
    positive, negative = torch.tensor([[2]]), torch.tensor([[0]])
    assert margin_ranking_loss(good, positive, negative, 0.2) == 0
    assert margin_ranking_loss(bad, positive, negative, 0.2).item() == pytest.approx(2 * (0.2 + 3))


def test_negative_pairs_stay_finite_for_sure_scores():
    scores = torch.tensor([[200.0]], requires_grad=True)
    loss = negative_pair_loss(scores, torch.ones(1, 1, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(200)
    assert torch.isfinite(scores.grad).all()


def test_padding_has_no_weight_in_the_masked_terms():
    saliency, mask = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[True, True, False]])
    scores = torch.tensor([[1.0, 0.5, 0.0]])
    other = torch.tensor([[1.0, 0.5, 90.0]])
    assert torch.equal(negative_pair_loss(scores, mask), negative_pair_loss(other, mask))
    assert torch.equal(
        rank_contrastive_loss(scores, scores, saliency, mask), rank_contrastive_loss(other, other, saliency, mask)
    )


def test_the_loss_is_the_weighted_sum_of_its_terms():
    model = tiny_model(saliency_loss_coef=0.5, span_loss_coef=3.0)
    inputs = random_inputs(model.config)
    output = model(**inputs, labels=random_labels(inputs))
    config = model.config
    weights = {
        "loss_saliency": config.saliency_loss_coef,
        "loss_span": config.span_loss_coef,
        "loss_giou": config.giou_loss_coef,
        "loss_label": config.label_loss_coef,
        "loss_contrastive_align": config.contrastive_align_loss_coef,
    }
    terms = {name: term for name, term in output.loss_dict.items() if name.startswith("loss_")}
    assert {f"{name}{suffix}" for name in weights for suffix in ("", "_0")} - {"loss_saliency_0"} == set(terms)
    total = sum(weights[name.removesuffix("_0")] * term for name, term in terms.items())
    torch.testing.assert_close(output.loss.detach(), total)
    parts = [term for name, term in output.loss_dict.items() if name.startswith("saliency_")]
    torch.testing.assert_close(sum(parts), terms["loss_saliency"])


def test_coefficients_of_zero_drop_their_terms():
    model = tiny_model(cosine_similarity_loss_coef=0.0, hard_pos_neg_loss_coef=0.0, moment_to_highlight_loss_coef=0.0)
    inputs = random_inputs(model.config)
    names = set(model(**inputs, labels=random_labels(inputs)).loss_dict)
    assert names & {"saliency_cosine", "saliency_hard", "saliency_task_coupled"} == set()


def test_hard_losses_grow_with_the_epoch():
    model = tiny_model()
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    first, fifth = (model(**inputs, labels=labels, epoch=epoch).loss_dict["saliency_hard"] for epoch in (0, 4))
    torch.testing.assert_close(5 * first, fifth)


def test_loss_is_finite_without_moments():
    model = tiny_model()
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    labels["span_mask"][:] = False
    assert_trains_finitely(model, inputs, labels)


def test_loss_is_finite_with_empty_saliency():
    model = tiny_model()
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    labels["saliency"][:] = 0
    assert_trains_finitely(model, inputs, labels)


@pytest.mark.parametrize("clips", [1, 6])
def test_loss_is_finite_for_a_batch_of_one(clips):
    model = tiny_model()
    inputs = random_inputs(model.config, ((clips, 3),))
    labels = random_labels(inputs, (1,))
    labels["negative_clips"][:] = 0
    assert_trains_finitely(model, inputs, labels)
    labels["saliency"][:] = 0
    assert_trains_finitely(model, inputs, labels)


def test_clip_pairs_are_optional():
    model = tiny_model()
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    del labels["positive_clips"], labels["negative_clips"]
    assert "saliency_margin" not in model(**inputs, labels=labels).loss_dict


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"saliency": None}, "lacks saliency"),
        ({"spans": None}, "lacks spans"),
        ({"saliency": torch.zeros(3, 9)}, "saliency"),
        ({"positive_clips": None}, "negative_clips"),
        ({"spans": torch.zeros(3, 9, 2)}, "span_mask"),
    ],
)
def test_labels_that_do_not_fit_are_named(change, message):
    model = tiny_model()
    inputs = random_inputs(model.config)
    with pytest.raises(ValueError, match=message):
        model(**inputs, labels={**random_labels(inputs), **change})


def test_highlight_only_models_need_no_moments():
    model = tiny_model(highlight_only=True)
    inputs = random_inputs(model.config)
    labels = random_labels(inputs)
    output = model(**inputs, labels={"saliency": labels["saliency"]})
    torch.testing.assert_close(output.loss.detach(), output.loss_dict["loss_saliency"])
