import pytest

from videolights_hf.data.provenance import (
    BACKBONES_FILE,
    extracted_checkpoints,
    read_backbone_checkpoints,
    write_backbone_checkpoints,
)


def test_folders_are_noted_absolute_and_hub_ids_as_they_are(tmp_path, monkeypatch):
    (tmp_path / "clip").mkdir()
    monkeypatch.chdir(tmp_path)
    write_backbone_checkpoints(tmp_path, {"clip": "clip", "blip2": "owner/blip2"})
    monkeypatch.chdir("/")
    assert read_backbone_checkpoints(tmp_path) == {"clip": str(tmp_path / "clip"), "blip2": "owner/blip2"}


def test_folders_of_extracted_features_tell_their_checkpoint(tmp_path):
    for name, noted in (
        ("slowfast", '{"checkpoint": "owner/slowfast"}'),
        ("clip", '{"checkpoint": null}'),
        ("blip2", None),
    ):
        (tmp_path / name).mkdir()
        if noted is not None:
            (tmp_path / name / "extraction.json").write_text(noted)
    folders = {name: tmp_path / name for name in ("slowfast", "clip", "blip2")}
    assert extracted_checkpoints(folders) == {"slowfast": "owner/slowfast"}


@pytest.mark.parametrize("name", ["", "nowhere", "owner/dataset"])
def test_a_dataset_without_notes_has_none(tmp_path, name):
    assert read_backbone_checkpoints(f"{tmp_path}/{name}") == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"clip": 3}'])
def test_damaged_notes_are_an_error(tmp_path, content):
    (tmp_path / BACKBONES_FILE).write_text(content)
    with pytest.raises(ValueError, match=BACKBONES_FILE):
        read_backbone_checkpoints(tmp_path)
