"""The flat copy of the code that is saved with a checkpoint."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.factories import tiny_model
from tests.support.remote import run_without_package
from videolights_hf import VideoLightsForMomentRetrieval, VideoLightsProcessor, VideoMomentRetrievalPipeline
from videolights_hf.hub.code import SUFFIX, flat_files, flat_name, flatten, write_code


@pytest.fixture
def package(tmp_path):
    def write(**modules):
        root = tmp_path / "house"
        for name, text in {
            "a.entry": "",
            "b.part": "",
            **{k.replace("__", "."): v for k, v in modules.items()},
        }.items():
            path = root / f"{name.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    return write


def test_entry_files_keep_their_names_and_others_are_called_after_room_and_module():
    assert flat_name("models.videolights.modeling") == "modeling_videolights"
    assert flat_name("video.reader") == "video_reader_videolights"
    names = set(flat_files())
    assert {f"{entry}{SUFFIX}.py" for entry in ("configuration", "modeling", "processing", "pipeline")} <= names
    assert all(name.endswith(f"{SUFFIX}.py") for name in names)


def test_what_is_not_reached_is_not_copied():
    assert not [name for name in flat_files() if name.startswith(("data_", "training_", "cli_", "metrics_", "demo_"))]


def test_imports_are_followed_and_rewritten(package):
    root = package(
        a__entry="from ..b.part import (\n    value,\n)\n\n\ndef late():\n    from .near import other\n",
        a__near="from ..b.part import value\nother = value\n",
        b__part="value = 1\n",
    )
    files = flatten(root, ["a.entry"])
    assert set(files) == {f"{name}{SUFFIX}.py" for name in ("a_entry", "a_near", "b_part")}
    assert f"from .b_part{SUFFIX} import (\n" in files[f"a_entry{SUFFIX}.py"]
    assert f"    from .a_near{SUFFIX} import other\n" in files[f"a_entry{SUFFIX}.py"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from . import near", "not a package"),
        ("from ..b import part", "not a package"),
        ("from ..b.missing import x", "not a package"),
        ("import house.b.part", "by relative imports"),
        ("from house.b.part import value", "by relative imports"),
        ("import importlib\nimportlib.import_module('.part', __package__)", "by name"),
        ("from importlib import import_module\nimport_module('x')", "by name"),
        ("__import__('x')", "by name"),
        ("from ..b.part \\\n  import value", "write this import as"),
    ],
)
def test_an_import_that_cannot_be_followed_fails(package, line, message):
    root = package(a__entry=line + "\n", a__near="")
    with pytest.raises(ImportError, match=message) as error:
        flatten(root, ["a.entry"])
    assert "a.entry, line" in str(error.value)


def test_code_files_of_other_versions_are_deleted(tmp_path):
    (tmp_path / f"layers{SUFFIX}.py").write_text("old")
    (tmp_path / "notes.py").write_text("mine")
    write_code(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*flat_files(), "notes.py"}


@pytest.fixture(scope="module")
def saved_before(tmp_path_factory):
    """A checkpoint with its code files, saved when the source was flat (commit 067c346)."""
    folder = tmp_path_factory.mktemp("before")
    with zipfile.ZipFile(Path(__file__).parents[1] / "fixtures" / "checkpoint_067c346.zip") as archive:
        archive.extractall(folder)
    expected = json.loads((folder / "expected.json").read_text())
    frames = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    np.save(folder / "frames.npy", frames)
    return folder, frames, expected


def check(found, expected):
    np.testing.assert_allclose(found["saliency"], expected["saliency"], atol=1e-4)
    assert [moment["start"] for moment in found["moments"]] == [moment["start"] for moment in expected["moments"]]
    assert found["moments"][0]["score"] == pytest.approx(expected["moments"][0]["score"], abs=1e-3)


def load(folder):
    return VideoMomentRetrievalPipeline(
        model=VideoLightsForMomentRetrieval.from_pretrained(folder),
        processor=VideoLightsProcessor.from_pretrained(folder),
    )


def test_a_folder_saved_before_the_move_loads_with_the_package_and_is_saved_anew(saved_before, tmp_path):
    folder, frames, expected = saved_before
    finder = load(folder)
    check(finder(frames, "a red square", fps=2.0), expected)
    old_code = {path.name: path.read_text() for path in folder.glob(f"*{SUFFIX}.py")}
    for name, text in old_code.items():
        (tmp_path / name).write_text(text)
    finder.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.glob("*.py")} == set(flat_files())
    check(load(tmp_path)(frames, "a red square", fps=2.0), expected)


FIND = """
import numpy as np
from transformers import AutoModel, AutoProcessor, pipeline
frames = np.load(sys.argv[1] + "/frames.npy")
finder = pipeline("video-moment-retrieval", model=sys.argv[1], trust_remote_code=True)
finder.model.save_pretrained("again")
finder.processor.save_pretrained("again")
model = AutoModel.from_pretrained("again", trust_remote_code=True)
processor = AutoProcessor.from_pretrained("again", trust_remote_code=True)
inputs = processor(videos=processor.encode_video(frames, fps=2.0), text="a red square")
assert (model(**inputs).pred_spans == finder.model(**inputs).pred_spans).all()
print(json.dumps(finder(frames, "a red square", fps=2.0)))
"""


def test_a_folder_saved_before_the_move_loads_without_the_package_and_saves_its_own_code(saved_before, tmp_path):
    folder, _, expected = saved_before
    check(run_without_package(FIND, folder, tmp_path), expected)
    code = {path.name: path.read_bytes() for path in folder.glob(f"*{SUFFIX}.py")}
    again = {path.name: path.read_bytes() for path in (tmp_path / "again").glob("*.py")}
    assert again
    assert again.items() <= code.items()


def test_a_copy_that_loaded_the_model_alone_still_saves_every_code_file(tmp_path):
    tiny_model().save_pretrained(tmp_path / "saved")
    run_without_package(
        """
        from transformers import AutoModel
        AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).save_pretrained("again")
        print("{}")
        """,
        tmp_path / "saved",
        tmp_path,
    )
    assert {path.name: path.read_text() for path in (tmp_path / "again").glob("*.py")} == flat_files()
