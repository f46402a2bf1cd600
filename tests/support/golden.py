"""Golden numbers of the released code: one case is bundled, the full set is read from `VIDEOLIGHTS_GOLDEN_ROOT`."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from videolights_hf.convert.checkpoints import load_release
from videolights_hf.convert.release_names import convert_state_dict, revert_state_dict
from videolights_hf.models.detector import DetectorForMomentRetrieval
from videolights_hf.models.matching import Matcher

BUNDLED = Path(__file__).parents[1] / "fixtures" / "golden"


def golden_path(name: str) -> Path:
    """A golden case's folder, or a file; skips the test where it is not at hand."""
    root = os.environ.get("VIDEOLIGHTS_GOLDEN_ROOT")
    for path in [BUNDLED / name] + ([Path(root) / "golden" / name] if root else []):
        if path.exists():
            return path
    pytest.skip("set VIDEOLIGHTS_GOLDEN_ROOT to run the full golden set")


def load_release_model(checkpoint: Path) -> DetectorForMomentRetrieval:
    return load_release(checkpoint).train()


def pad_spans(tensors: dict[str, torch.Tensor], prefix: str = "targets.span_labels.") -> dict[str, torch.Tensor]:
    rows = [tensors[f"{prefix}{i}"] for i in range(sum(name.startswith(prefix) for name in tensors))]
    if not rows:
        return {}
    spans = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return {"spans": spans, "span_mask": torch.arange(spans.shape[1]) < lengths[:, None]}


def golden_batch(tensors: dict[str, torch.Tensor], prefix: str = "") -> dict:
    """The arguments of `forward` for a golden batch."""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    labels = {
        **pad_spans(tensors),
        "saliency": tensors["targets.saliency_all_labels"],
        "positive_clips": tensors["targets.saliency_pos_labels"],
        "negative_clips": tensors["targets.saliency_neg_labels"],
        "relevant_clips": tensors.get("targets.src_pos_mask"),
    }
    batch = {
        "video_features": tensors["inputs.src_vid"],
        "text_features": tensors["inputs.src_txt"],
        "video_attention_mask": tensors["inputs.src_vid_mask"],
        "text_attention_mask": tensors["inputs.src_txt_mask"],
        "audio_features": tensors.get("inputs.src_aud"),
        "labels": {name: tensor for name, tensor in labels.items() if tensor is not None},
    }
    return {name: value for name, value in batch.items() if value is not None}


def in_double(values: dict) -> dict:
    """A batch with its floating-point tensors in float64, those of its labels too."""
    return {
        name: in_double(value) if isinstance(value, dict) else value.double() if value.is_floating_point() else value
        for name, value in values.items()
    }


def double_batch(batch: dict) -> dict:
    """A golden batch in float64; masks stay as they are, since the releases keep them in float32."""
    return {name: value if name.endswith("mask") else in_double({name: value})[name] for name, value in batch.items()}


def assert_relative(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Within a share of the expected tensor's largest value."""
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


def assert_gradients(model: DetectorForMomentRetrieval, expected: dict[str, torch.Tensor]) -> None:
    """The gradients of all parameters are those of the release, and zero where it has none."""
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }
    gradients = revert_state_dict(gradients, model.config)
    for name, value in expected.items():
        difference = (gradients.pop(name) - value).abs().max()
        assert difference <= 1e-3 * value.abs().max() + 1e-6, name
    assert all(not gradient.any() for gradient in gradients.values())


def assert_matching(model: DetectorForMomentRetrieval, batch: dict, expected: list) -> None:
    """The last layer's queries are matched to the moments as by the release."""
    output = model(**batch)
    spans, span_mask = batch["labels"]["spans"], batch["labels"]["span_mask"]
    matched = Matcher(model.config)(output.logits[None], output.pred_spans[None], spans, span_mask)[0]
    for row, (queries, moments) in zip(matched, expected):
        assert {m: q for m, q in enumerate(row.tolist()) if q >= 0} == dict(zip(moments, queries))


def follow_trajectory(folder: Path, loss_tolerance: float, weight_tolerance: float) -> None:
    """Train as the release did, without dropout, and compare every step's loss and gradient, and the end weights."""
    recorded = json.loads((folder / "trajectory.json").read_text())
    batches = load_file(folder / "batches.safetensors")
    options = recorded["opt"]
    model = load_release_model(folder / "model_start.ckpt")
    # The recorded options set every dropout to 0 but that of the refinement, which the releases keep apart; it was 0.
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=options["lr"], weight_decay=options["wd"])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, options["lr_drop"])
    for entry in recorded["log"]:
        batch = golden_batch(batches, f"batch{entry['step'] % recorded['batches_per_epoch']}.")
        loss = model(**batch, epoch=entry["epoch"]).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), options["grad_clip"])
        assert loss.item() == pytest.approx(entry["loss"], rel=loss_tolerance)
        assert norm.item() == pytest.approx(entry["grad_norm"], rel=1e-3)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(entry["lr"])
        optimizer.step()
        if (entry["step"] + 1) % recorded["batches_per_epoch"] == 0:
            scheduler.step()
    end = convert_state_dict(load_file(folder / "model_end.safetensors"), model.config)
    for name, parameter in model.state_dict().items():
        assert (parameter - end[name]).abs().max() <= weight_tolerance, name


class GoldenCase:
    """A golden model, its batch, and what the release computed of them."""

    def __init__(self, name: str):
        folder = golden_path(name)
        self.checkpoint = folder / "model_best.ckpt"
        self.model = load_release_model(self.checkpoint).eval()
        self.tensors = load_file(folder / "case.safetensors")
        self.batch = golden_batch(self.tensors)
        self.losses = json.loads((folder / "losses.json").read_text())
        self.gradients = load_file(next(folder.glob("grads*.safetensors")))
        self.valid = self.tensors["inputs.src_vid_mask"].bool()
