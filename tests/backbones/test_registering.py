"""Backbones that others add: registered in the process, found in installed packages, or in a module that the user names."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support.tiny_backbones import ColorBackbone, make_tiny_clip, save_tiny_siglip
from tests.support.training import SMALL
from tests.support.videos import numbered_frames, write_video
from videolights_hf import FeatureBackbone, VideoLightsProcessor
from videolights_hf.backbones import known_backbones, registry
from videolights_hf.backbones.modules import import_backbone_module
from videolights_hf.backbones.registry import get_backbone_class, register_backbone
from videolights_hf.cli.main import app
from videolights_hf.data import load_feature_dataset

SIGLIP = Path(__file__).parents[2] / "examples" / "siglip2_backbone.py"
WIDTHS = ([["siglip2", 16]], [["siglip2", 16]])


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """What a test registers is unknown to the next one."""
    monkeypatch.setattr(registry, "BACKBONES", dict(registry.BACKBONES))
    monkeypatch.setattr(registry, "_origins", {})
    yield
    sys.modules.pop("siglip2_backbone", None)


@pytest.fixture
def siglip_folder(tmp_path):
    return save_tiny_siglip(tmp_path / "siglip")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that provides the SigLIP 2 backbone."""
    site = tmp_path / "site"
    (site / "clip_zoo-1.0.dist-info").mkdir(parents=True)
    (site / "clip_zoo-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: clip-zoo\nVersion: 1.0\n")
    entry = site / "clip_zoo-1.0.dist-info" / "entry_points.txt"
    entry.write_text("[videolights_hf.backbones]\nsiglip2 = siglip2_backbone:Siglip2Backbone\n")
    (site / "siglip2_backbone.py").write_text(SIGLIP.read_text())
    monkeypatch.syspath_prepend(site)
    return entry


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class TestRegistering:
    def test_siglip_gives_one_feature_for_each_frame_and_token(self, siglip_folder, tmp_path):
        import_backbone_module(str(SIGLIP))
        siglip = get_backbone_class("siglip2").from_pretrained(siglip_folder)
        frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
        assert siglip.encode_frames(frames).shape == (5, 16)
        tokens = siglip.encode_text(["ab", "a b c"])
        assert [len(states) for states in tokens] == [2, 5]
        # Lower case, and with the padding in view, as it was trained.
        np.testing.assert_array_equal(siglip.encode_text(["AB"])[0], tokens[0])
        padded = siglip.tokenizer(
            ["ab"], padding="max_length", max_length=32, padding_side="right", return_tensors="pt"
        )
        with torch.inference_mode():
            states = siglip.model.text_model(input_ids=padded["input_ids"]).last_hidden_state
        np.testing.assert_allclose(tokens[0], states[0, :2].numpy(), atol=1e-6)
        siglip.save_pretrained(tmp_path / "again")
        again = get_backbone_class("siglip2").from_pretrained(tmp_path / "again")
        np.testing.assert_array_equal(again.encode_frames(frames), siglip.encode_frames(frames))

    def test_its_default_checkpoint_is_that_of_the_class(self):
        import_backbone_module(str(SIGLIP))
        assert VideoLightsProcessor(*WIDTHS).backbone_checkpoints == {"siglip2": "google/siglip2-base-patch16-224"}

    def test_a_class_that_is_made_anew_replaces_itself(self):
        def make():
            class Named(ColorBackbone):
                name = "named"

            return Named

        register_backbone(make())
        newer = register_backbone(make())
        assert get_backbone_class("named") is newer

    def test_names_that_are_taken_or_lead_out_of_a_folder_are_refused(self):
        for name, message in (
            ("clip", "belongs to videolights_hf"),
            ("../x", "a folder can have"),
            ("", "has the name"),
        ):
            other = type("Other", (ColorBackbone,), {"name": name})
            with pytest.raises(ValueError, match=message):
                register_backbone(other)
        with pytest.raises(TypeError, match="not a subclass of FeatureBackbone"):
            register_backbone(str)
        with pytest.raises(ValueError, match="has the name None"):
            register_backbone(type("Nameless", (FeatureBackbone,), {}))


class TestPackages:
    def test_a_backbone_of_an_installed_package_needs_no_import(self, package):
        assert "siglip2_backbone" not in sys.modules
        assert known_backbones() == ["clip", "blip2", "slowfast", "similarity", "siglip2"]
        assert get_backbone_class("siglip2").__name__ == "Siglip2Backbone"

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ("siglip2 = siglip2_backbone:Missing", r"package clip-zoo cannot be used \(AttributeError"),
            ("siglip2 = no_module:X", r"package clip-zoo cannot be used \(ModuleNotFoundError"),
            (
                "siglib2 = siglip2_backbone:Siglip2Backbone",
                "registers the backbone 'siglip2' under the name 'siglib2'",
            ),
        ],
    )
    def test_a_broken_package_is_named(self, package, entry, message):
        package.write_text(f"[videolights_hf.backbones]\n{entry}\n")
        with pytest.raises(ValueError, match=message):
            get_backbone_class(entry.partition(" ")[0])

    def test_a_package_cannot_replace_the_own_backbones(self, package):
        package.write_text("[videolights_hf.backbones]\nclip = siglip2_backbone:Siglip2Backbone\n")
        assert get_backbone_class("clip").__name__ == "ClipBackbone"
        assert "siglip2_backbone" not in sys.modules


class TestCheckpoints:
    def test_a_saved_processor_tells_what_to_install_and_imports_nothing(
        self, siglip_folder, package, tmp_path, monkeypatch
    ):
        processor = VideoLightsProcessor(*WIDTHS, backbone_checkpoints={"siglip2": str(siglip_folder)})
        processor.save_pretrained(tmp_path / "saved")
        saved = json.loads((tmp_path / "saved" / "processor_config.json").read_text())
        assert saved["backbone_origins"] == {"siglip2": "clip-zoo"}
        assert len(VideoLightsProcessor.from_pretrained(tmp_path / "saved").encode_text("a dog")) == 1

        monkeypatch.setattr(registry, "BACKBONES", {})
        package.unlink()
        sys.modules.pop("siglip2_backbone")
        loaded = VideoLightsProcessor.from_pretrained(tmp_path / "saved")
        with pytest.raises(
            ValueError, match=r"'siglip2' is not installed\. clip-zoo provides it: install it \(pip"
        ) as error:
            loaded.encode_text("a dog")
        assert "\n" not in str(error.value)
        assert "siglip2_backbone" not in sys.modules
        # Saved again where the backbone is unknown, the settings still tell.
        assert loaded.to_dict()["backbone_origins"] == {"siglip2": "clip-zoo"}

    def test_an_origin_that_is_no_name_is_not_shown(self):
        with pytest.raises(ValueError, match="Unknown backbone 'x'"):
            get_backbone_class("x", origin="y; rm -rf /")


class TestCommands:
    def test_a_users_module_serves_extraction_training_and_prediction(self, siglip_folder, tmp_path):
        videos = tmp_path / "videos"
        videos.mkdir()
        rows = []
        for index in range(4):
            write_video(videos / f"v{index}.mp4", numbered_frames(range(60)), 5)
            rows.append(
                {"qid": index, "query": "a b", "vid": f"v{index}", "duration": 12, "relevant_windows": [[2, 6]]}
            )
        for split in ("train", "test"):
            (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        module = ["--backbone-module", SIGLIP]
        files = [f"--annotations={split}={tmp_path / split}.jsonl" for split in ("train", "test")]
        result = run(
            "extract", videos, tmp_path / "features", "--backbone", f"siglip2={siglip_folder}", *module, *files,
            "--dataset-output", tmp_path / "data", "--device", "cpu", "--dataset", "charades_sta", "--clip-length", 1,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert load_feature_dataset(tmp_path / "data")["videos"].num_rows == 4

        settings = {f"model.{name}": value for name, value in SMALL.items()}
        settings |= {"video_backbones": "[[siglip2, 16]]", "text_backbones": "[[siglip2, 16]]"}
        settings |= {"num_train_epochs": 1, "eval_epochs": 1, "use_cpu": "true"}
        result = run(
            "train", "--recipe", "charades_sta/videolights", "--data", tmp_path / "data", "--output", tmp_path / "run",
            *module, *[f"--set={name}={value}" for name, value in settings.items()],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        processor = json.loads((tmp_path / "run" / "processor_config.json").read_text())
        assert processor["backbone_checkpoints"] == {"siglip2": "backbones/siglip2"}
        assert processor["backbone_origins"] == {"siglip2": "siglip2_backbone"}

        predict = ["predict", videos / "v0.mp4", "a b", "--model", tmp_path / "run", "--device", "cpu"]
        result = run(*predict, *module)
        assert result.exit_code == 0, result.output
        registry.BACKBONES.pop("siglip2")
        result = run(*predict)
        assert result.exit_code == 1
        assert "The backbone 'siglip2' is not installed" in result.output

    @pytest.mark.parametrize(
        ("module", "content", "message"),
        [
            ("gone.py", None, "There is no backbone module"),
            ("broken.py", "1 / 0", "cannot be imported (ZeroDivisionError"),
            ("json.py", "", "another module is called json"),
        ],
    )
    def test_a_module_that_cannot_be_imported_is_one_line(self, tmp_path, module, content, message):
        path = tmp_path / module
        if content is not None:
            path.write_text(content)
        result = run("predict", tmp_path / "v.mp4", "a dog", "--model", tmp_path, "--backbone-module", path)
        assert result.exit_code == 1
        assert message in result.output.replace("\n", "")
        assert "broken" not in sys.modules


def test_all_backbones_are_looked_for_before_the_first_is_loaded(tmp_path, monkeypatch):
    make_tiny_clip().save_pretrained(tmp_path / "clip")
    monkeypatch.setattr(get_backbone_class("clip"), "from_pretrained", lambda *_, **__: pytest.fail("too early"))
    checkpoints = {"clip": str(tmp_path / "clip"), "slowfast": str(tmp_path / "gone")}
    processor = VideoLightsProcessor(
        [["clip", 24], ["slowfast", 80]], [["clip", 32]], backbone_checkpoints=checkpoints
    )
    with pytest.raises(OSError, match=r"'slowfast' cannot be loaded from .*gone: There is no folder"):
        processor.encode_video(write_video(tmp_path / "v.mp4", numbered_frames(range(20)), 5))
