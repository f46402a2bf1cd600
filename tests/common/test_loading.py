"""A checkpoint's weights are all there, whole and finite, or it is refused in one line."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf.common import loading
from videolights_hf.common.loading import find_model, load_complete_model


@pytest.fixture
def folder(tmp_path):
    make_tiny_clip().model.save_pretrained(tmp_path)
    return tmp_path


def change(folder, name, tensor):
    weights = load_file(folder / "model.safetensors")
    if tensor is None:
        del weights[name]
    else:
        weights[name] = tensor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("visual_projection.weight", None, r"lacks 1 weight \(visual_projection\.weight\) of CLIPModel"),
        ("logit_scale", torch.tensor(float("nan")), r"holds NaN or infinity in 1 weight \(logit_scale\)"),
        ("logit_scale", torch.tensor(float("-inf")), r"holds NaN or infinity in 1 weight \(logit_scale\)"),
        ("text_projection.weight", torch.zeros(3, 5), r"text_projection\.weight \(3, 5\) instead of \(24, 32\)"),
    ],
)
def test_a_weight_that_is_wrong_is_named_in_one_line(folder, name, tensor, message, caplog):
    change(folder, name, tensor)
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match=message) as error:
        load_complete_model(CLIPModel, folder)
    assert "\n" not in str(error.value)
    assert not any("LOAD REPORT" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[]", "damaged or cut short|config"),
        ("model.safetensors", "", "damaged or cut short"),
        ("model.safetensors.index.json", "{}", "index.json is damaged"),
        ("model.safetensors.index.json", json.dumps({"weight_map": {"a": "../x"}}), r"names the weight file '\.\./x'"),
        (
            "model.safetensors.index.json",
            json.dumps({"weight_map": {"a": "/etc/x"}}),
            "names the weight file '/etc/x'",
        ),
        ("model.safetensors.index.json", json.dumps({"weight_map": {"a": 5}}), "names the weight file 5"),
    ],
)
def test_a_damaged_file_is_one_line(folder, file, content, message):
    (folder / file).write_text(content)
    with pytest.raises(OSError, match=message) as error:
        load_complete_model(CLIPModel, folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("text_config", "num_hidden_layers", 10**8),
        ("vision_config", "hidden_size", 10**9),
        (None, "projection_dim", 10**9),
    ],
)
def test_declared_sizes_are_checked_before_they_are_believed(folder, part, key, value):
    config = json.loads((folder / "config.json").read_text())
    (config if part is None else config[part])[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=rf"declares {key} = {value:,}, more than the limit"):
        load_complete_model(CLIPModel, folder)


def test_nothing_is_logged_about_whole_weights(folder):
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        load_complete_model(CLIPModel, folder)
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == []


class TestHub:
    @pytest.fixture
    def cache(self, tmp_path):
        """A repository in the cache, of which only the configuration was downloaded."""
        repository = tmp_path / "models--owner--clip"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("abc")
        (repository / "snapshots" / "abc").mkdir(parents=True)
        (repository / "snapshots" / "abc" / "config.json").write_text('{"model_type": "clip"}')
        return tmp_path

    def test_weights_that_are_not_in_the_cache_are_missed_offline(self, cache):
        with pytest.raises(FileNotFoundError, match="weights of owner/clip are not in the cache"):
            find_model("owner/clip", cache_dir=cache, local_files_only=True)
        (cache / "models--owner--clip" / "snapshots" / "abc" / "model.safetensors").write_bytes(b"x")
        find_model("owner/clip", cache_dir=cache, local_files_only=True)

    @pytest.mark.parametrize("name", ["./gone", "/gone/away", "a/b/c"])
    def test_a_path_of_no_folder_is_not_asked_of_the_hub(self, name):
        with pytest.raises(FileNotFoundError, match="There is no folder"):
            find_model(name)

    @pytest.mark.parametrize(
        ("size", "told"), [(605_000_000, ["Downloading owner/clip (605 MB) to the cache, once."]), (10, [])]
    )
    def test_a_large_download_is_announced(self, cache, monkeypatch, caplog, size, told):
        monkeypatch.setattr(loading, "get_hf_file_metadata", lambda *_, **__: SimpleNamespace(size=size))
        loading._announce_download("owner/clip", {"cache_dir": cache})
        assert [record.getMessage() for record in caplog.records] == told


def test_an_empty_pickle_is_one_line(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(OSError, match="damaged or cut short"):
        load_complete_model(CLIPModel, folder)
