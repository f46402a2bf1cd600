"""A saved folder loads with its own code in a process where this package is not installed."""

import sys

import numpy as np
import pytest
import torch

from tests.support.factories import random_inputs, tiny_detector, tiny_model
from tests.support.remote import run_without_package
from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf import (
    MomentDetrForMomentRetrieval,
    QDDetrForMomentRetrieval,
    TRDetrForMomentRetrieval,
    VideoFeatures,
    VideoLightsProcessor,
    VideoMomentRetrievalPipeline,
)
from videolights_hf.hub.code import flat_files


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    clip = make_tiny_clip()
    model = tiny_model(video_backbones=[["clip", clip.video_dim]], text_backbones=[["clip", clip.text_dim]])
    processor = VideoLightsProcessor.from_config(model.config)
    processor.set_backbone(clip)
    folder = tmp_path_factory.mktemp("checkpoint")
    VideoMomentRetrievalPipeline(model=model, processor=processor).save_pretrained(folder)
    return folder, model, processor


def test_auto_classes_load_the_folder_and_agree_with_the_package(checkpoint, tmp_path):
    folder, model, processor = checkpoint
    rng = np.random.default_rng(0)
    video, text = rng.standard_normal((9, 24)), rng.standard_normal((4, 32))
    np.savez(tmp_path / "features.npz", video=video, text=text)
    found = run_without_package(
        """
        import numpy as np
        from transformers import AutoConfig, AutoModel, AutoProcessor
        folder = sys.argv[1]
        config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        model = AutoModel.from_pretrained(folder, trust_remote_code=True)
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        processor.check_compatible(config)
        arrays = np.load("features.npz")
        inputs = processor(videos={"clip": arrays["video"]}, text={"clip": arrays["text"]})
        output = model(**inputs)
        print(json.dumps({
            "names": [type(part).__name__ for part in (config, model, processor)],
            "spans": output.pred_spans.tolist(),
            "sentence": [list(x["clip"].shape) for x in processor.encode_text(["a red square"])],
        }))
        """,
        folder,
        tmp_path,
    )
    assert found["names"] == ["VideoLightsConfig", "VideoLightsForMomentRetrieval", "VideoLightsProcessor"]
    inputs = processor(videos={"clip": video}, text={"clip": text})
    torch.testing.assert_close(torch.tensor(found["spans"]), model(**inputs).pred_spans)
    assert found["sentence"] == [list(processor.encode_text("a red square")[0]["clip"].shape)]


@pytest.mark.parametrize(
    "detector", [MomentDetrForMomentRetrieval, QDDetrForMomentRetrieval, TRDetrForMomentRetrieval]
)
def test_another_detector_loads_with_its_own_code_and_saves_it_again(detector, tmp_path):
    model = tiny_detector(detector, use_feature_refinement=True)
    folder = tmp_path / "saved"
    model.save_pretrained(folder)
    names = {path.name for path in folder.glob("*.py")}
    assert names == set(flat_files(model.config.model_type))
    inputs = random_inputs(model.config)
    np.savez(tmp_path / "inputs.npz", **{name: tensor.numpy() for name, tensor in inputs.items()})
    found = run_without_package(
        """
        import numpy as np, torch
        from transformers import AutoModel
        model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
        model.save_pretrained("again")
        again = AutoModel.from_pretrained("again", trust_remote_code=True)
        inputs = {name: torch.from_numpy(array) for name, array in np.load("inputs.npz").items()}
        print(json.dumps({"name": type(again).__name__, "spans": again(**inputs).pred_spans.tolist()}))
        """,
        folder,
        tmp_path,
    )
    assert found["name"] == detector.__name__
    torch.testing.assert_close(torch.tensor(found["spans"]), model(**inputs).pred_spans)
    assert {path.name for path in (tmp_path / "again").glob("*.py")} == names


def test_the_pipeline_loads_from_the_folder(checkpoint, tmp_path):
    folder, model, processor = checkpoint
    frames = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    found = run_without_package(
        """
        import numpy as np
        from transformers import pipeline
        finder = pipeline("video-moment-retrieval", model=sys.argv[1], trust_remote_code=True)
        print(json.dumps(finder(np.load("frames.npy"), "a red square", fps=2.0)))
        """,
        folder,
        tmp_path,
    )
    expected = VideoMomentRetrievalPipeline(model=model, processor=processor)(frames, "a red square", fps=2.0)
    assert found["query"] == "a red square"
    assert found["duration"] == expected["duration"]
    np.testing.assert_allclose(found["saliency"], expected["saliency"], atol=1e-4)
    assert isinstance(processor.encode_video(frames, fps=2.0), VideoFeatures)


def test_a_loaded_copy_saves_a_folder_that_loads_again(checkpoint, tmp_path):
    folder, _, _ = checkpoint
    found = run_without_package(
        """
        import os
        from transformers import AutoModel, AutoProcessor
        model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
        processor = AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
        model.save_pretrained("again")
        processor.save_pretrained("again")
        again = AutoModel.from_pretrained("again", trust_remote_code=True)
        AutoProcessor.from_pretrained("again", trust_remote_code=True).check_compatible(again.config)
        same = all((a == b).all() for a, b in zip(model.state_dict().values(), again.state_dict().values()))
        print(json.dumps({"same": bool(same), "auto_map": json.load(open("again/config.json"))["auto_map"]}))
        """,
        folder,
        tmp_path,
    )
    assert found["same"]
    assert set(found["auto_map"]) == {"AutoConfig", "AutoModel", "AutoProcessor"}


def test_files_of_the_checkpoint_import_only_what_they_may():
    import ast

    from videolights_hf.hub.code import flat_files

    allowed = {"torch", "transformers", "huggingface_hub", "numpy", "scipy", *sys.stdlib_module_names}
    files = flat_files("videolights")
    for name, text in files.items():
        tree = ast.parse(text)
        soft = {id(node) for guard in ast.walk(tree) if isinstance(guard, ast.Try) for node in ast.walk(guard)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, (name, node.module)
                assert f"{node.module}.py" in files, (name, node.module)
            elif isinstance(node, ast.ImportFrom) and id(node) not in soft:
                assert node.module.split(".")[0] in allowed, (name, node.module)
            elif isinstance(node, ast.Import) and id(node) not in soft:
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, name
