"""A trained folder holds, or names, the backbones that computed its training features."""

import pytest

from tests.support.tiny_backbones import make_tiny_clip
from tests.support.training import brief, make_tables, run_data
from videolights_hf import VideoLightsProcessor
from videolights_hf.data.provenance import write_backbone_checkpoints
from videolights_hf.training import RunData, VideoLightsTrainer, train_recipe


class TestBackbones:
    """The data has CLIP features 4 wide on both sides."""

    ONLY_CLIP = ("video_backbones=[[clip, 4]]", "text_backbones=[[clip, 4]]")

    @pytest.fixture
    def clip(self, tmp_path):
        make_tiny_clip(width=4, projection_dim=4).save_pretrained(tmp_path / "clip")
        return tmp_path / "clip"

    def test_in_folders_are_copied_beside_the_model(self, tmp_path, clip):
        recipe = brief("qvhighlights/videolights", *self.ONLY_CLIP)
        train_recipe(recipe, run_data(backbone_checkpoints={"clip": str(clip)}), tmp_path / "run")
        clip.rename(tmp_path / "gone")
        processor = VideoLightsProcessor.from_pretrained(tmp_path / "run")
        assert processor.backbone_checkpoints == {"clip": "backbones/clip"}
        assert processor.get_backbone("clip").video_dim == 4

    def test_on_the_hub_are_named_and_those_that_the_model_does_not_use_are_not(self, tmp_path):
        checkpoints = {"clip": "owner/clip", "blip2": "owner/blip2", "slowfast": "owner/slowfast"}
        train_recipe(brief(), run_data(backbone_checkpoints=checkpoints), tmp_path)
        processor = VideoLightsProcessor.from_pretrained(tmp_path)
        assert processor.backbone_checkpoints == {"clip": "owner/clip", "slowfast": "owner/slowfast"}

    def test_that_do_not_fit_or_are_gone_are_found_before_training(self, tmp_path, monkeypatch):
        monkeypatch.setattr(VideoLightsTrainer, "train", lambda *_, **__: pytest.fail("it is too late"))
        make_tiny_clip(width=8, projection_dim=4).save_pretrained(tmp_path / "other")
        recipe = brief("qvhighlights/videolights", *self.ONLY_CLIP)
        for path, error, message in (
            (
                tmp_path / "other",
                ValueError,
                "text features of the backbone 'clip' are 8 wide, the processor expects 4",
            ),
            (tmp_path / "gone", FileNotFoundError, r"no longer in .*gone: give its present folder"),
        ):
            with pytest.raises(error, match=message):
                train_recipe(recipe, run_data(backbone_checkpoints={"clip": str(path)}), tmp_path / "run")

    def test_of_the_data_are_taken_unless_others_are_named(self, tmp_path, clip):
        make_tables().save_to_disk(tmp_path / "data")
        write_backbone_checkpoints(tmp_path / "data", {"clip": "owner/clip", "slowfast": "owner/slowfast"})
        data = RunData.load(str(tmp_path / "data"))
        assert data.backbone_checkpoints == {"clip": "owner/clip", "slowfast": "owner/slowfast"}
        data = RunData.load(str(tmp_path / "data"), None, {"clip": str(clip)})
        assert data.backbone_checkpoints == {"clip": str(clip), "slowfast": "owner/slowfast"}
