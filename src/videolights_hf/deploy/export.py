"""A model folder to a folder of graphs: the detector, and the image and text sides of its backbones."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import BatchEncoding, ProcessorMixin
from transformers import __version__ as transformers_version

from ..backbones.image_text import ImageTextBackbone
from ..common.files import write_json
from ..inference.pipeline import VideoMomentRetrievalPipeline
from ..models.detector import DetectorForMomentRetrieval
from .graphs import SUFFIXES, Format, Tensors, Traced, load_graph, quantize_graph, write_graph

NOTES_FILE = "export.json"
PREDICTIONS = ("logits", "pred_spans", "saliency_scores")
# A float graph that is further from PyTorch than this is another network.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        folder: Where it lies.
        graphs: Path of each graph inside the folder.
        differences: For each graph the largest difference of any output from PyTorch, relative to outputs over 1, at
            another batch size and other lengths than it was traced with, padded.
        left_in_torch: Backbones without an image and a text side, which run in PyTorch from the folder.
    """

    folder: Path
    graphs: dict[str, str]
    differences: dict[str, float]
    left_in_torch: list[str]


@dataclass(frozen=True)
class _Part:
    """A network to export: `make(batch, long, short)` makes random inputs of a batch size and lengths."""

    traced: Traced
    axes: dict[str, tuple[int, ...]]
    make: Callable[[int, int, int], Tensors]


def export_model(
    model: str | os.PathLike[str], folder: str | os.PathLike[str], format: Format = "onnx", int8: bool = False
) -> Exported:
    """Write the detector of a model folder and its backbones as graphs, for `exported_pipeline`.

    Batch size, clips and words may have any length, and the masks are inputs. Every graph is compared with PyTorch
    before this returns.

    Args:
        model: Model folder or Hub id.
        folder: Where to write; a new or an empty folder.
        format: `"onnx"`, or `"torch"` for `torch.export`.
        int8: Round the weights of the ONNX graphs to eight bits (dynamic quantization).

    Raises:
        FileExistsError: The folder holds something.
        ValueError: The model is no trained detector, `int8` is asked of `torch.export`, or a graph computes something
            else than PyTorch.
        OSError: There is no such model.
        ImportError: The packages that write the format are not installed.
    """
    target = Path(folder)
    if int8 and format != "onnx":
        raise ValueError("int8 is for ONNX graphs: leave `format` at 'onnx'.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} is not empty: name a new folder for the export.")
    pipeline = VideoMomentRetrievalPipeline.from_pretrained(model, device="cpu", dtype=torch.float32)
    detector, processor = pipeline.model, pipeline.processor
    if not isinstance(detector, DetectorForMomentRetrieval):
        raise ValueError(f"{model} is a {type(detector).__name__}, which has no trained network to export.")

    parts = {"detector": _detector_part(detector)}
    left = []
    for name in dict(processor.video_backbones) | dict(processor.text_backbones):
        backbone = processor.get_backbone(name)
        # So that the saved processor looks for it inside the folder, wherever it came from.
        processor.set_backbone(backbone)
        place = target / "backbones" / name
        if isinstance(backbone, ImageTextBackbone):
            parts[f"{name}/image"], parts[f"{name}/text"] = _image_part(backbone), _text_part(backbone)
            _save_without_weights(backbone, place)
        else:
            backbone.save_pretrained(place)
            left.append(name)

    graphs = {name: f"graphs/{name.replace('/', '-')}{SUFFIXES[format]}" for name in parts}
    differences = {name: _write(part, target / graphs[name], int8) for name, part in parts.items()}
    config = copy.deepcopy(detector.config)
    if hasattr(config, "auto_map"):
        # No code travels with graphs.
        del config.auto_map
    config.save_pretrained(target)
    # Not the processor's own method, which would save the backbones' weights.
    ProcessorMixin.save_pretrained(processor, target)
    notes: dict[str, Any] = {
        "format": format,
        "int8": int8,
        "graphs": graphs,
        "differences": differences,
        "torch": torch.__version__,
        "transformers": transformers_version,
    }
    # The last file: a folder without it is half an export.
    write_json(target / NOTES_FILE, notes)
    return Exported(target, graphs, differences, left)


def export_detector(detector: DetectorForMomentRetrieval, path: str | os.PathLike[str], int8: bool = False) -> float:
    """Write a detector's network alone as a graph, for features that were computed elsewhere.

    Args:
        detector: The detector, in float32 on the CPU.
        path: The file, `.onnx` or `.pt2`.
        int8: Round the weights of an ONNX graph to eight bits.

    Returns:
        The largest difference from PyTorch, as in [`Exported`].

    Raises:
        ValueError: The graph computes something else than PyTorch.
        ImportError: The packages that write the format are not installed.
    """
    return _write(_detector_part(detector.eval()), Path(path), int8)


def _write(part: _Part, path: Path, int8: bool) -> float:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # Lengths that differ from each other, so that none is taken for another.
        write_graph(part.traced, part.make(2, 7, 5), part.axes, path)
        if int8:
            quantize_graph(path)
        others = [part.make(3, 9, 4), part.make(1, 2, 3)]
    graph = load_graph(path)
    # A mask that the network does not read is no input of the graph. One that it reads shows as a difference.
    found = [graph(**{name: inputs[name] for name in graph.inputs}) for inputs in others]
    difference = max(_difference(part.traced, one, inputs) for one, inputs in zip(found, others, strict=True))
    if not int8 and not difference < _TOLERANCE:
        raise ValueError(f"The graph {path} differs from PyTorch by {difference:.1e}: it cannot be used.")
    return difference


@torch.no_grad()
def _difference(traced: Traced, found: Tensors, inputs: Tensors) -> float:
    expected = traced(**inputs)
    if found.keys() != expected.keys():
        raise ValueError(f"The graph gives {sorted(found)} instead of {sorted(expected)}.")
    return max(
        float(((found[name] - value).abs() / value.abs().clamp(min=1)).max()) for name, value in expected.items()
    )


def _detector_part(detector: DetectorForMomentRetrieval) -> _Part:
    config = detector.config

    def compute(**inputs: torch.Tensor) -> Tensors:
        outputs = detector(**inputs)
        return {name: outputs[name] for name in PREDICTIONS}

    def make(batch: int, clips: int, words: int) -> Tensors:
        inputs = {
            "video_features": torch.randn(batch, clips, config.video_dim),
            "video_attention_mask": _padded_mask(batch, clips),
            "text_features": torch.randn(batch, words, config.text_dim),
            "text_attention_mask": _padded_mask(batch, words),
        }
        if config.audio_dim:
            inputs["audio_features"] = torch.randn(batch, clips, config.audio_dim)
        return inputs

    return _Part(Traced(detector, compute), dict.fromkeys(make(1, 1, 1), (0, 1)), make)


def _image_part(backbone: ImageTextBackbone) -> _Part:
    def compute(pixel_values: torch.Tensor) -> Tensors:
        return {"features": backbone.image_features(pixel_values)}

    def make(batch: int, clips: int, words: int) -> Tensors:
        return {"pixel_values": torch.randn(batch, 3, backbone.frame_size, backbone.frame_size)}

    return _Part(Traced(backbone.model, compute), {"pixel_values": (0,)}, make)


def _text_part(backbone: ImageTextBackbone) -> _Part:
    def compute(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Tensors:
        tokens = BatchEncoding({"input_ids": input_ids, "attention_mask": attention_mask})
        return {"features": backbone.token_features(tokens)}

    def make(batch: int, clips: int, words: int) -> Tensors:
        tokens = backbone.tokenize([" ".join(["a"] * max(1, words - 3 * row)) for row in range(batch)])
        return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}

    return _Part(Traced(backbone.model, compute), {"input_ids": (0, 1), "attention_mask": (0, 1)}, make)


def _padded_mask(batch: int, length: int) -> torch.Tensor:
    """(batch, length), the first sample whole and each later one shorter."""
    lengths = (length - 2 * torch.arange(batch)).clamp(min=1)
    return (torch.arange(length) < lengths[:, None]).long()


def _save_without_weights(backbone: ImageTextBackbone, folder: Path) -> None:
    backbone.model.config.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    backbone.image_processor.save_pretrained(folder)


__all__ = ["Exported", "export_detector", "export_model"]
