"""What a saved processor names is trusted less than what the user gives."""

import json
import shutil

import pytest

from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf import VideoLightsProcessor
from videolights_hf.backbones.store import BackboneStore

WIDTHS = ([["clip", 24]], [["clip", 32]])


def store(checkpoint, home=None, **arguments):
    made = BackboneStore(*WIDTHS, {"clip": checkpoint})
    if home is not None:
        made.set_home(home, arguments)
    return made


@pytest.fixture
def clip(tmp_path):
    make_tiny_clip().save_pretrained(tmp_path / "other" / "clip")
    return tmp_path / "other" / "clip"


@pytest.fixture
def home(tmp_path):
    """A processor saved without its backbone."""
    VideoLightsProcessor(*WIDTHS, backbone_checkpoints={"clip": "owner/clip"}).save_pretrained(tmp_path / "home")
    return tmp_path / "home"


def name_checkpoint(home, checkpoint):
    path = home / "processor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "backbone_checkpoints": {"clip": checkpoint}}))


@pytest.mark.parametrize("checkpoint", ["../other/clip", "backbones/../../other/clip", "..\\other\\clip"])
def test_a_saved_path_that_leads_out_of_its_folder_is_refused_and_not_copied(home, clip, tmp_path, checkpoint):
    name_checkpoint(home, checkpoint)
    processor = VideoLightsProcessor.from_pretrained(home)
    with pytest.raises(ValueError, match="which is outside of it: name a checkpoint that you trust"):
        processor.encode_text("a dog")
    processor.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again" / "backbones").exists()


def test_the_same_path_counts_where_the_user_gives_it(home, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    processor = VideoLightsProcessor.from_pretrained(home, backbone_checkpoints={"clip": "../other/clip"})
    assert len(processor.encode_text("a dog")) == 1
    processor.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "backbones" / "clip" / "config.json").is_file()


def test_a_saved_absolute_path_counts_in_a_local_folder(home, clip):
    name_checkpoint(home, str(clip))
    assert len(VideoLightsProcessor.from_pretrained(home).encode_text("a dog")) == 1


def test_a_hub_repository_names_no_folder_of_this_machine(clip, tmp_path):
    theirs = store(str(clip), "owner/model")
    with pytest.raises(ValueError, match=r"owner/model names .* outside of it: .*--backbone clip=PATH_OR_ID"):
        theirs.get("clip")
    # It is not copied either.
    theirs.save_pretrained(tmp_path / "saved")
    assert theirs.saved_checkpoints == {"clip": str(clip)}
    assert not (tmp_path / "saved").exists()
    assert store(str(clip), "owner/model", backbone_checkpoints={"clip": str(clip)}).get("clip").video_dim == 24


def test_links_inside_a_folder_may_lead_anywhere(home, clip):
    """The snapshots of the Hub's cache are links to its blobs."""
    (home / "backbones" / "clip").mkdir(parents=True)
    for path in clip.iterdir():
        (home / "backbones" / "clip" / path.name).symlink_to(path)
    name_checkpoint(home, "backbones/clip")
    assert len(VideoLightsProcessor.from_pretrained(home).encode_text("a dog")) == 1


def test_a_relative_checkpoint_in_a_subfolder_of_the_hub_is_asked_for_there():
    path, arguments = store("backbones/clip", "owner/model", subfolder="a", revision="v1", token="t")._locate("clip")
    assert (path, arguments) == ("owner/model", {"subfolder": "a/backbones/clip", "revision": "v1", "token": "t"})


def test_a_folder_without_weights_is_found_before_it_is_loaded(home, clip, tmp_path):
    shutil.copytree(clip, home / "backbones" / "clip")
    name_checkpoint(home, "backbones/clip")
    (home / "backbones" / "clip" / "model.safetensors").unlink()
    with pytest.raises(
        OSError, match=r"'clip' cannot be loaded from .*holds no weights: there is no model\.safetensors"
    ):
        VideoLightsProcessor.from_pretrained(home).find_backbones()


def test_a_token_and_a_cache_reach_backbones_in_repositories_of_their_own():
    arguments = {"token": "t", "cache_dir": "c", "local_files_only": True, "revision": "v1", "subfolder": "a"}
    assert store("owner/clip", "owner/model", **arguments)._locate("clip") == (
        "owner/clip",
        {"cache_dir": "c", "local_files_only": True, "token": "t"},
    )
