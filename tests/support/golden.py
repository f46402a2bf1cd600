"""Golden numbers of the released code: one case is bundled, the full set is read from `VIDEOLIGHTS_GOLDEN_ROOT`."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from videolights_hf.convert.checkpoints import config_from_release, convert_state_dict, read_release_checkpoint
from videolights_hf.models.videolights.modeling import VideoLightsForMomentRetrieval

BUNDLED = Path(__file__).parents[1] / "fixtures" / "golden"


def golden_folder(name: str) -> Path:
    """Folder of a golden case; skips the test where the case is not at hand."""
    root = os.environ.get("VIDEOLIGHTS_GOLDEN_ROOT")
    for folder in [BUNDLED / name] + ([Path(root) / "golden" / name] if root else []):
        if folder.is_dir():
            return folder
    pytest.skip("set VIDEOLIGHTS_GOLDEN_ROOT to run the full golden set")


def load_release_model(checkpoint: Path) -> VideoLightsForMomentRetrieval:
    state_dict, options = read_release_checkpoint(checkpoint)
    config = config_from_release(options, state_dict)
    model = VideoLightsForMomentRetrieval(config)
    model.load_state_dict(convert_state_dict(state_dict, config))
    return model


def pad_spans(tensors: dict[str, torch.Tensor], prefix: str = "targets.span_labels.") -> dict[str, torch.Tensor]:
    rows = [tensors[f"{prefix}{i}"] for i in range(sum(name.startswith(prefix) for name in tensors))]
    spans = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return {"spans": spans, "span_mask": torch.arange(spans.shape[1]) < lengths[:, None]}


def golden_batch(tensors: dict[str, torch.Tensor], prefix: str = "") -> dict:
    """The arguments of `forward` for a golden batch."""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {
        "video_features": tensors["inputs.src_vid"],
        "text_features": tensors["inputs.src_txt"],
        "video_attention_mask": tensors["inputs.src_vid_mask"],
        "text_attention_mask": tensors["inputs.src_txt_mask"],
        "labels": {
            **pad_spans(tensors),
            "saliency": tensors["targets.saliency_all_labels"],
            "positive_clips": tensors["targets.saliency_pos_labels"],
            "negative_clips": tensors["targets.saliency_neg_labels"],
        },
    }


class GoldenCase:
    """A golden model, its batch, and what the release computed of them."""

    def __init__(self, name: str):
        folder = golden_folder(name)
        self.checkpoint = folder / "model_best.ckpt"
        self.model = load_release_model(self.checkpoint).eval()
        self.tensors = load_file(folder / "case.safetensors")
        self.batch = golden_batch(self.tensors)
        self.losses = json.loads((folder / "losses.json").read_text())
        self.gradients = load_file(folder / "grads_epoch3.safetensors")
        self.valid = self.tensors["inputs.src_vid_mask"].bool()
