import argparse
import errno
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from tests.support.factories import random_inputs, tiny_model
from tests.support.golden import golden_path
from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsProcessor, convert_checkpoint, convert_to_release
from videolights_hf.convert.checkpoints import read_release_checkpoint
from videolights_hf.convert.release_options import config_from_release, options_of_release


@pytest.fixture
def released():
    return golden_path("base") / "model_best.ckpt"


def rewrite(source, target, change):
    state_dict, options = read_release_checkpoint(source)
    checkpoint = {"model": dict(state_dict), "opt": options}
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


@pytest.mark.parametrize(
    "case",
    [
        "base",
        "no_fra",
        "highlight_only",
        "uni_cmf",
        "detectors/moment_detr/base",
        "detectors/qd_detr/base",
        "detectors/qd_detr/variant",
        "detectors/tr_detr/base",
    ],
)
def test_conversion_there_and_back_loses_nothing(case, tmp_path):
    source = golden_path(case) / "model_best.ckpt"
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


@pytest.mark.parametrize("family", ["moment_detr", "qd_detr", "tr_detr"])
def test_it_is_told_by_the_names_whose_checkpoint_it_is(family, tmp_path):
    model = convert_checkpoint(golden_path(f"detectors/{family}/base") / "model_best.ckpt", tmp_path)
    assert model.config.model_type == family
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is type(model)
    VideoLightsProcessor.from_pretrained(tmp_path).check_compatible(loaded.config)
    assert (tmp_path / f"modeling_{family}_videolights.py").is_file()


def test_options_of_lighthouse_are_read_where_its_dictionary_class_is_not_installed(tmp_path, monkeypatch):
    source = golden_path("detectors/qd_detr/base") / "model_best.ckpt"
    state_dict, options = read_release_checkpoint(source)
    easydict = types.ModuleType("easydict")
    # As the package does, keeps its items as attributes too.
    easydict.EasyDict = type("EasyDict", (dict,), {"__module__": "easydict"})
    monkeypatch.setitem(sys.modules, "easydict", easydict)
    saved = easydict.EasyDict(options)
    vars(saved).update(options)
    torch.save({"model": state_dict, "opt": saved}, tmp_path / "lighthouse.ckpt")
    monkeypatch.delitem(sys.modules, "easydict")
    read, found = read_release_checkpoint(tmp_path / "lighthouse.ckpt")
    assert found == options
    assert config_from_release(found, read).model_type == "qd_detr"


def test_published_feature_sets_are_recognized_by_their_width(released):
    state_dict, options = read_release_checkpoint(released)
    state_dict["input_vid_proj.0.LayerNorm.weight"] = torch.zeros(3586)
    state_dict["input_txt_proj.0.LayerNorm.weight"] = torch.zeros(1280)
    config = config_from_release(options, state_dict)
    assert config.video_backbones == [["slowfast", 2304], ["clip", 512], ["blip2", 768]]
    assert config.text_backbones == [["clip", 512], ["blip2", 768]]


@pytest.mark.parametrize(
    ("folders", "order"),
    [
        (["features/QVHighlight/clip", "features/QVHighlight/slowfast"], ["clip", "slowfast"]),
        (["../features/slowfast_features/", "../features/clip_features"], ["slowfast", "clip"]),
        (["features/clip_slowfast", "features/x"], ["slowfast", "clip"]),
        (["features/clip"], ["slowfast", "clip"]),
        ("clip", ["slowfast", "clip"]),
        ([1, 2], ["slowfast", "clip"]),
        (None, ["slowfast", "clip"]),
    ],
)
def test_the_order_of_the_features_is_that_of_the_folders(released, folders, order):
    state_dict, options = read_release_checkpoint(released)
    state_dict["input_vid_proj.0.LayerNorm.weight"] = torch.zeros(2818)
    config = config_from_release(options | {"v_feat_dirs": folders}, state_dict)
    assert [name for name, _ in config.video_backbones] == order
    again = config_from_release(options_of_release(config), state_dict)
    assert again.video_backbones == config.video_backbones


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
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file"):
        read_release_checkpoint(tmp_path / "none.ckpt")
    whole = released.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello there, world")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read_release_checkpoint(tmp_path / name)


def test_other_torch_files_are_refused(tmp_path):
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="not a released checkpoint"):
        read_release_checkpoint(tmp_path / "other.ckpt")
    torch.save({"model": {"weight": torch.zeros(1)}, "opt": argparse.Namespace()}, tmp_path / "detr.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint of VideoLights"):
        convert_checkpoint(tmp_path / "detr.ckpt", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"].pop("class_embed.bias"), "missing class_head.bias"),
        (lambda c: c["model"].update(extra=torch.zeros(1)), "keys that this detector does not have: extra"),
        (lambda c: c["model"].update({"class_embed.bias": torch.zeros(3)}), r"class_head.bias has shape \(3,\)"),
        (lambda c: c["opt"].update(pre_norm=True), "pre_norm"),
        (lambda c: c["opt"].update(bicmf_layers="x"), "option bicmf_layers is 'x'"),
        (lambda c: c["opt"].update(bicmf_layers=-1), "option bicmf_layers is -1"),
        (lambda c: c["opt"].update(a_feat_dim=[]), r"option a_feat_dim is \[\]"),
        (lambda c: c["opt"].update(dropout="much"), "no valid configuration: .*dropout"),
        (lambda c: c["opt"].update(nheads=0), "no valid configuration: .*num_attention_heads"),
        # Sizes that would take all memory are compared before it is taken.
        (lambda c: c["opt"].update(enc_layers=10**9), "option enc_layers is 1000000000, but it holds"),
        (lambda c: c["opt"].update(dim_feedforward=10**9), "does not fit its options"),
        (lambda c: c["opt"].update(dim_feedforward=2**63), "declare sizes that no model has"),
        (lambda c: c["model"].update({"class_embed.bias": 3}), "'class_embed.bias' holds int"),
        (lambda c: c["model"].update({"class_embed.bias": None}), "'class_embed.bias' holds NoneType"),
        (lambda c: c["model"].update({"class_embed.bias": torch.zeros(2, dtype=torch.int64)}), "holds torch.int64"),
        (lambda c: c["model"].update({"class_embed.bias": torch.zeros(2).to_sparse()}), "dense floating-point"),
        (lambda c: c["model"].update({7: torch.zeros(2)}), "parameter 7 holds"),
        (
            lambda c: c["model"].update({"class_embed.bias": torch.tensor([0, torch.nan])}),
            "class_embed.bias holds NaN",
        ),
        (lambda c: c["model"].update({"class_embed.bias": torch.tensor([0, 1e39]).double()}), "holds NaN or infinite"),
        (lambda c: c["model"].update({"class_embed.bias": torch.zeros(1).expand(2**40)}), "without the values for it"),
        (lambda c: c["opt"].update(dec_layers=3), "option dec_layers is 3, but it holds 2 layers"),
    ],
)
def test_every_key_is_accounted_for(released, tmp_path, change, message):
    path = rewrite(released, tmp_path / "changed.ckpt", change)
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(path, tmp_path / "out")
    assert os.listdir(tmp_path) == ["changed.ckpt"]


def test_reversing_needs_a_saved_model_that_the_release_can_hold(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        convert_to_release(tmp_path, tmp_path / "a.ckpt")
    tiny_model(word_correlation="attended").save_pretrained(tmp_path / "attended")
    with pytest.raises(ValueError, match="attended"):
        convert_to_release(tmp_path / "attended", tmp_path / "b.ckpt")
    assert not (tmp_path / "b.ckpt").exists()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_training_wrappers_are_removed(released, tmp_path, prefix):
    def wrap(checkpoint):
        checkpoint["model"] = {prefix + key: tensor for key, tensor in checkpoint["model"].items()}

    wrapped = convert_checkpoint(rewrite(released, tmp_path / "wrapped.ckpt", wrap), tmp_path / "out")
    plain = convert_checkpoint(released, tmp_path / "plain")
    assert all(torch.equal(tensor, wrapped.state_dict()[name]) for name, tensor in plain.state_dict().items())


def test_a_flipped_bit_is_found_by_the_checksum(released, tmp_path):
    content = bytearray(released.read_bytes())
    content[len(content) // 2] ^= 0x40
    (tmp_path / "damaged.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        read_release_checkpoint(tmp_path / "damaged.ckpt")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(ValueError, match=r"holds a compressed member \(archive/data.pkl\)"):
        read_release_checkpoint(tmp_path / "bomb.ckpt")


@pytest.mark.parametrize("content", [{"model": {}, "opt": None}, {"model": None, "opt": {}}, [], 3])
def test_a_file_of_another_layout_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="it must hold parameters as `model` and options as `opt`"):
        read_release_checkpoint(tmp_path / "other.ckpt")


def test_a_full_disk_leaves_the_older_results(released, tmp_path, monkeypatch):
    convert_checkpoint(released, tmp_path / "folder")
    convert_to_release(tmp_path / "folder", tmp_path / "back.ckpt")
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(VideoLightsProcessor, "save_pretrained", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="The disk is full"):
        convert_checkpoint(released, tmp_path / "folder")
    with pytest.raises(OSError, match="The disk is full"):
        convert_to_release(tmp_path / "folder", tmp_path / "back.ckpt")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
