import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from tests.support.factories import tiny_config
from videolights_hf import VideoLightsConfig


def test_defaults_are_videolights_b_on_qvhighlights():
    config = VideoLightsConfig()
    assert config.video_dim == 3586
    assert config.text_dim == 1280
    assert config.to_dict() == VideoLightsConfig.from_preset("videolights-b", "qvhighlights").to_dict()


@pytest.mark.parametrize(
    ("variant", "video_dim", "text_dim"),
    [("videolights", 2818, 512), ("videolights-b", 3586, 1280), ("videolights-i3d", 2050, 512)],
)
def test_presets_have_the_published_feature_widths(variant, video_dim, text_dim):
    config = VideoLightsConfig.from_preset(variant, "tvsum")
    assert (config.video_dim, config.text_dim) == (video_dim, text_dim)
    assert config.highlight_only
    assert config.max_video_length == 1000


@pytest.mark.parametrize(
    ("dataset", "fields"),
    [
        ("charades_sta", {"clip_length": 1.0, "contrastive_align_loss_coef": 0.3, "highlight_only": False}),
        ("tvsum", {"hard_pos_neg_loss_coef": 1.0, "contrastive_align_loss_coef": 0.8}),
        ("youtube_highlights", {"clip_length": 1.0, "highlight_only": True}),
        ("tacos", {"max_video_length": 1000, "clip_length": 2.0}),
    ],
)
def test_presets_follow_the_recipe_of_the_dataset(dataset, fields):
    config = VideoLightsConfig.from_preset("videolights-b", dataset)
    assert {name: getattr(config, name) for name in fields} == fields


def test_preset_overrides_win():
    assert VideoLightsConfig.from_preset("videolights", hidden_size=64).hidden_size == 64


@pytest.mark.parametrize(("variant", "dataset"), [("videolights-c", "tvsum"), ("videolights", "activitynet")])
def test_unknown_presets_name_the_known_ones(variant, dataset):
    with pytest.raises(ValueError, match="Unknown"):
        VideoLightsConfig.from_preset(variant, dataset)


def test_channel_order_survives_save_and_load(tmp_path):
    config = tiny_config(video_backbones=[["zeta", 3], ["alpha", 2]])
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert loaded.video_backbones == [["zeta", 3], ["alpha", 2]]
    assert loaded.to_diff_dict() == config.to_diff_dict()


def test_unknown_field_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"has no field 'hidden_width'\. Did you mean 'hidden_size'"):
        VideoLightsConfig(hidden_width=64)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 30}, "multiple of 4"),
        ({"hidden_size": 36}, "num_attention_heads"),
        ({"hidden_size": "64"}, "hidden_size"),
        ({"num_queries": 0}, "num_queries"),
        ({"dropout": 1.0}, "dropout"),
        ({"span_loss_coef": -1.0}, "span_loss_coef"),
        ({"audio_dim": -1}, "audio_dim"),
        ({"video_backbones": []}, "video_backbones"),
        ({"text_backbones": [["clip"]]}, "text_backbones"),
        ({"video_backbones": [["clip", 8], ["clip", 8]]}, "twice"),
        ({"word_correlation": "none"}, "word_correlation"),
        ({"cross_modal_fusion": "both"}, "cross_modal_fusion"),
        ({"span_cost": 0.0, "giou_cost": 0.0, "class_cost": 0.0}, "matcher"),
    ],
)
def test_values_that_make_no_model_are_refused(fields, message):
    with pytest.raises((ValueError, StrictDataclassError), match=message):
        VideoLightsConfig(**fields)


def test_pipeline_entry_is_written_with_the_code_and_dropped_on_load(tmp_path):
    config = tiny_config()
    config.auto_map = {"AutoConfig": "configuration_videolights.VideoLightsConfig"}
    config.save_pretrained(tmp_path)
    assert "video-moment-retrieval" in json.loads((tmp_path / "config.json").read_text())["custom_pipelines"]
    assert not hasattr(VideoLightsConfig.from_pretrained(tmp_path), "custom_pipelines")


def test_what_the_library_writes_into_a_config_is_let_through(tmp_path):
    config = tiny_config()
    # `Trainer` sets this on every model.
    config.use_cache = False
    config.save_pretrained(tmp_path)
    assert VideoLightsConfig.from_pretrained(tmp_path).hidden_size == config.hidden_size
