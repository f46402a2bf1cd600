"""A checkpoint's weights are all there, whole and finite, or it is refused in one line."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

from tests.support.tiny_backbones import make_tiny_clip
from videolights_hf.common.loading import load_complete_model


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


def test_an_empty_pickle_is_one_line(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(OSError, match="damaged or cut short"):
        load_complete_model(CLIPModel, folder)
