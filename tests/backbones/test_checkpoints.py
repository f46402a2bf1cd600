import pytest
import torch

from tests.support.tiny_backbones import make_tiny_clip, make_tiny_slowfast
from videolights_hf.backbones import complete_checkpoints, load_backbones
from videolights_hf.backbones.checkpoints import backbone_settings
from videolights_hf.backbones.clip import ClipBackbone


class TestCheckpoints:
    def test_given_ones_come_before_the_default_ones(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "slow").mkdir()
        completed = complete_checkpoints(["slowfast", "clip", "blip2"], {"slowfast": "slow", "clip": "me/my-clip"})
        assert list(completed.items()) == [
            ("slowfast", str(tmp_path / "slow")),
            ("clip", "me/my-clip"),
            ("blip2", "Salesforce/blip2-itm-vit-g"),
        ]

    @pytest.mark.parametrize(
        ("names", "checkpoints", "message"),
        [
            (["clap"], {}, "Unknown backbone 'clap'. Did you mean 'clip'"),
            (["clip"], {"clipp": "x"}, "Did you mean 'clip'"),
            (["i3d"], {}, "I3D features are only read"),
            (["something"], {}, "Known: clip, blip2, slowfast"),
            (["clip"], {"blip2": "x"}, "for blip2, which is not among clip"),
            ([], {}, "at least one backbone"),
            (["clip", "clip"], {}, "each once"),
        ],
    )
    def test_what_is_wrong_is_named(self, names, checkpoints, message):
        with pytest.raises(ValueError, match=message):
            complete_checkpoints(names, checkpoints)


class TestLoading:
    def test_backbones_come_in_order_and_in_the_type_asked_for(self, tmp_path):
        make_tiny_clip().save_pretrained(tmp_path / "clip")
        make_tiny_slowfast().save_pretrained(tmp_path / "slowfast")
        checkpoints = {name: str(tmp_path / name) for name in ("slowfast", "clip")}
        loaded = load_backbones(checkpoints, "cpu", torch.bfloat16)
        assert [backbone.name for backbone in loaded] == ["slowfast", "clip"]
        assert {backbone.model.dtype for backbone in loaded} == {torch.bfloat16}

    @pytest.mark.parametrize(
        "error", [OSError("Connection\nreset"), RuntimeError("peer closed connection"), EOFError()]
    )
    def test_an_interrupted_download_is_one_line_that_says_to_repeat(self, monkeypatch, error):
        def interrupt(*_, **__):
            raise error

        monkeypatch.setattr(ClipBackbone, "find", lambda *_, **__: None)
        monkeypatch.setattr(ClipBackbone, "from_pretrained", interrupt)
        with pytest.raises(OSError, match=r"'clip' cannot be loaded from me/clip: .*repeat the command") as caught:
            load_backbones({"clip": "me/clip"})
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is error

    def test_a_folder_that_does_not_exist_is_named(self, tmp_path):
        with pytest.raises(OSError, match=r"'clip' cannot be loaded from .*nowhere"):
            load_backbones({"clip": str(tmp_path / "nowhere")})

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_device_that_is_not_there_is_named(self, tmp_path):
        make_tiny_clip().save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="Cannot run on the device 'cuda'"):
            load_backbones({"clip": str(tmp_path)}, "cuda")


class TestIdentity:
    def test_weights_are_told_apart_and_recognized(self, tmp_path):
        clip = make_tiny_clip(seed=0)
        clip.save_pretrained(tmp_path)
        (again,) = load_backbones({"clip": str(tmp_path)})
        assert backbone_settings(clip, None)["weights"] == backbone_settings(again, None)["weights"]
        assert backbone_settings(make_tiny_clip(seed=1), None)["weights"] != backbone_settings(clip, None)["weights"]

    def test_one_weight_that_differs_is_enough(self):
        first, second = make_tiny_clip(), make_tiny_clip()
        second.model.visual_projection.weight.data[3, 4] += 1e-3
        assert backbone_settings(first, None)["weights"] != backbone_settings(second, None)["weights"]
