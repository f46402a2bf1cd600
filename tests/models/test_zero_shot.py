import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from videolights_hf.models.zero_shot.configuration import ZeroShotConfig
from videolights_hf.models.zero_shot.modeling import ZeroShotForMomentRetrieval, moments_of_curve


def make_model(width=4, **settings):
    pairs = [["similarity", width]]
    return ZeroShotForMomentRetrieval(
        ZeroShotConfig(video_backbones=pairs, text_backbones=pairs, similarity_scale=10.0, **settings)
    )


def moments(curve, **settings):
    """(first clip, clip after the last, score) of the moments of a curve."""
    found = moments_of_curve(np.array(curve, dtype=np.float32), make_model(**settings).config)
    count = len(curve)
    return [(round((c - w / 2) * count), round((c + w / 2) * count), round(float(s), 3)) for c, w, s in found]


def test_saliency_is_the_scaled_cosine():
    video = torch.tensor([[[2.0, 0, 0, 0, 0.0, 0.5], [1.0, 1.0, 0, 0, 0.5, 1.0]]])
    output = make_model()(video, torch.tensor([[[3.0, 0, 0, 0]]]))
    torch.testing.assert_close(output.saliency_scores, torch.tensor([[10.0, 10 / 2**0.5]]))
    assert output.logits.shape == (1, 50, 2)
    assert output.pred_spans.shape == (1, 50, 2)


def test_moments_are_the_parts_above_the_threshold_with_their_contrast_as_score():
    curve = [0.0] * 4 + [3.0] * 4 + [0.0] * 8 + [2.0] * 4
    first = float(np.tanh((3 - 8 / 16) / 2))
    second = float(np.tanh((2 - 12 / 16) / 2))
    assert moments(curve, smoothing=1) == [(4, 8, round(first, 3)), (16, 20, round(second, 3))]


def test_smoothing_takes_out_single_clips():
    curve = [0.0] * 5 + [2.0] + [0.0] * 5 + [3.0] * 5 + [0.0] * 5
    assert [found[:2] for found in moments(curve, smoothing=1)] == [(11, 16), (5, 6)]
    assert [found[:2] for found in moments(curve, smoothing=3)] == [(11, 16)]


def test_short_gaps_are_bridged():
    curve = [0.0] * 8 + [3.0, 3.0, 0.0, 3.0, 3.0] + [0.0] * 8
    assert [found[:2] for found in moments(curve, smoothing=1, max_gap=1)] == [(8, 13)]
    assert [found[:2] for found in moments(curve, smoothing=1, max_gap=0)] == [(8, 10), (11, 13)]


def test_a_flat_curve_has_no_moment():
    assert moments([1.0] * 10) == []
    assert moments([1.0]) == []


def test_only_the_best_are_kept():
    curve = ([0.0] * 4 + [3.0] * 2 + [0.0] * 4) * 5
    assert len(moments(curve, smoothing=1, num_queries=3)) == 3


def test_padding_counts_for_nothing():
    model = make_model()
    generator = torch.Generator().manual_seed(0)
    video, text = torch.randn(1, 7, 6, generator=generator), torch.randn(1, 1, 4, generator=generator)
    alone = model(video, text)
    padded = torch.cat((video, torch.randn(1, 3, 6, generator=generator)), dim=1)
    mask = torch.tensor([[1] * 7 + [0] * 3])
    output = model(padded, text, video_attention_mask=mask)
    torch.testing.assert_close(output.pred_spans, alone.pred_spans)
    torch.testing.assert_close(output.logits, alone.logits)


def test_labels_and_wrong_widths_are_refused():
    with pytest.raises(ValueError, match="nothing is learned"):
        make_model()(torch.zeros(1, 2, 6), torch.zeros(1, 1, 4), labels={})
    with pytest.raises(ValueError, match="5 and 4 wide"):
        make_model()(torch.zeros(1, 2, 5), torch.zeros(1, 1, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smoothing": 2}, "smoothing"),
        ({"relative_threshold": 1.0}, "relative_threshold"),
        ({"num_queries": 0}, "num_queries"),
        ({"text_backbones": [["similarity", 3]]}, "one backbone"),
        ({"smothing": 3}, "smoothing"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(Exception, match=message):
        ZeroShotConfig(**settings)


def test_it_is_saved_with_its_scale_and_loaded_by_the_auto_classes(tmp_path):
    make_model().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, ZeroShotForMomentRetrieval)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), ZeroShotConfig)
    assert loaded.similarity_scale.item() == 10.0
