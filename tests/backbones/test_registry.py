import pytest

from tests.support.tiny_backbones import ColorBackbone
from videolights_hf.backbones.clip import ClipBackbone
from videolights_hf.backbones.registry import BACKBONES, get_backbone_class
from videolights_hf.video.reader import FrameRequirement


def test_an_unknown_backbone_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown backbone 'slowflast'\. Did you mean 'slowfast'\? Known: .*clip"):
        get_backbone_class("slowflast")


def test_i3d_is_refused_as_precomputed_only():
    with pytest.raises(ValueError, match=r"Unknown backbone 'i3d'\..*2 x 1024 wide.* Pass precomputed features"):
        get_backbone_class("i3d")


def test_clip_is_known():
    assert get_backbone_class("clip") is ClipBackbone
    assert all(name == backbone.name for name, backbone in BACKBONES.items())


def test_a_backbone_without_text_says_so():
    with pytest.raises(ValueError, match="'color' has no text encoder"):
        ColorBackbone().encode_text(["hello"])
    assert ColorBackbone().requirement == FrameRequirement(8, 2)
