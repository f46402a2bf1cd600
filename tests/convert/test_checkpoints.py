import argparse
import os
import pickle

import pytest
import torch

from tests.support.factories import random_inputs, tiny_model
from tests.support.golden import golden_folder
from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsProcessor, convert_checkpoint, convert_to_release
from videolights_hf.convert.checkpoints import config_from_release, read_release_checkpoint


@pytest.fixture
def released():
    return golden_folder("base") / "model_best.ckpt"


def rewrite(source, target, change):
    state_dict, options = read_release_checkpoint(source)
    checkpoint = {"model": state_dict, "opt": options}
    change(checkpoint)
    checkpoint["opt"] = argparse.Namespace(**checkpoint["opt"])
    torch.save(checkpoint, target)
    return target


def test_a_released_checkpoint_becomes_a_folder_that_loads(released, tmp_path):
    model = convert_checkpoint(released, tmp_path)
    loaded = VideoLightsForMomentRetrieval.from_pretrained(tmp_path)
    inputs = random_inputs(model.config)
    torch.testing.assert_close(model(**inputs).logits, loaded(**inputs).logits)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    VideoLightsProcessor.from_pretrained(tmp_path).check_compatible(loaded.config)


@pytest.mark.parametrize("case", ["base", "no_fra", "highlight_only"])
def test_conversion_there_and_back_loses_nothing(case, tmp_path):
    source = golden_folder(case) / "model_best.ckpt"
    convert_checkpoint(source, tmp_path / "folder")
    convert_to_release(tmp_path / "folder", tmp_path / "back.ckpt")
    before, options = read_release_checkpoint(source)
    after, new_options = read_release_checkpoint(tmp_path / "back.ckpt")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert config_from_release(options, before).to_dict() == config_from_release(new_options, after).to_dict()


@pytest.mark.parametrize(
    "overrides",
    [{"cross_modal_fusion": "uni"}, {"cross_modal_fusion": "none"}, {"use_text_positions": True}, {"audio_dim": 6}],
)
def test_other_architectures_pass_through_the_release_names(overrides, tmp_path):
    model = tiny_model(**overrides)
    model.save_pretrained(tmp_path / "ours")
    convert_to_release(tmp_path / "ours", tmp_path / "release.ckpt")
    converted = convert_checkpoint(
        tmp_path / "release.ckpt", tmp_path / "again", model.config.video_backbones, model.config.text_backbones
    )
    assert converted.config.to_diff_dict() == model.config.to_diff_dict() | {
        "auto_map": converted.config.auto_map,
        "custom_pipelines": converted.config.to_dict()["custom_pipelines"],
    }
    inputs = random_inputs(model.config)
    torch.testing.assert_close(converted(**inputs).logits, model(**inputs).logits)


def test_published_feature_sets_are_recognised_by_their_width(released):
    state_dict, options = read_release_checkpoint(released)
    state_dict["input_vid_proj.0.LayerNorm.weight"] = torch.zeros(3586)
    state_dict["input_txt_proj.0.LayerNorm.weight"] = torch.zeros(1280)
    config = config_from_release(options, state_dict)
    assert config.video_backbones == [["slowfast", 2304], ["clip", 512], ["blip2", 768]]
    assert config.text_backbones == [["clip", 512], ["blip2", 768]]


def test_backbones_that_do_not_add_up_are_refused(released, tmp_path):
    with pytest.raises(ValueError, match="video features of width 22"):
        convert_checkpoint(released, tmp_path / "out", video_backbones=[["clip", 512]])
    assert not (tmp_path / "out").exists()


def test_release_options_reach_the_configuration(released, tmp_path):
    def change(checkpoint):
        checkpoint["opt"] |= {"hard_pos_neg_loss": False, "dset_name": "tvsum", "device": torch.device("cuda")}

    config = convert_checkpoint(rewrite(released, tmp_path / "a.ckpt", change), tmp_path / "out").config
    assert config.hard_pos_neg_loss_coef == 0
    assert config.highlight_only
    assert (config.hidden_size, config.num_queries, config.contrastive_hidden_size) == (32, 5, 16)


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_checkpoint_fails_and_runs_nothing(tmp_path, legacy):
    marker, path = tmp_path / "was-run", tmp_path / "hostile.ckpt"
    checkpoint = {"model": {}, "opt": Hostile(marker)}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match="Refused to load"):
        convert_checkpoint(path, tmp_path / "out")
    path.write_bytes(pickle.dumps(checkpoint))
    with pytest.raises(ValueError, match=r"Refused to load|damaged"):
        convert_checkpoint(path, tmp_path / "out")
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def test_other_classes_are_named_and_refused(tmp_path):
    torch.save({"model": {}, "opt": pytest.param}, tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match=r"Refused to load .* an object of type"):
        read_release_checkpoint(tmp_path / "odd.ckpt")


def test_broken_files_are_refused_clearly(released, tmp_path):
    with pytest.raises(FileNotFoundError, match="No such checkpoint"):
        read_release_checkpoint(tmp_path / "none.ckpt")
    whole = released.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello there, world")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read_release_checkpoint(tmp_path / name)


def test_other_torch_files_are_refused(tmp_path):
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="no released VideoLights checkpoint"):
        read_release_checkpoint(tmp_path / "other.ckpt")
    torch.save({"model": {"weight": torch.zeros(1)}, "opt": argparse.Namespace()}, tmp_path / "detr.ckpt")
    with pytest.raises(ValueError, match="Not a VideoLights checkpoint"):
        convert_checkpoint(tmp_path / "detr.ckpt", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"].pop("class_embed.bias"), "missing class_head.bias"),
        (lambda c: c["model"].update(extra=torch.zeros(1)), "keys that VideoLights does not have: extra"),
        (lambda c: c["model"].update({"class_embed.bias": torch.zeros(3)}), r"class_head.bias has shape \(3,\)"),
        (lambda c: c["opt"].update(pre_norm=True), "pre_norm"),
        (lambda c: c["opt"].update(dec_layers=3), "missing model.decoder.layers.2"),
    ],
)
def test_every_key_is_accounted_for(released, tmp_path, change, message):
    path = rewrite(released, tmp_path / "changed.ckpt", change)
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_reversing_needs_a_saved_model_that_the_release_can_hold(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        convert_to_release(tmp_path, tmp_path / "a.ckpt")
    tiny_model(word_correlation="attended").save_pretrained(tmp_path / "attended")
    with pytest.raises(ValueError, match="attended"):
        convert_to_release(tmp_path / "attended", tmp_path / "b.ckpt")
    assert not (tmp_path / "b.ckpt").exists()
