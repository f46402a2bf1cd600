"""The pipeline on exported graphs: the same call and the same results, without the networks' weights in PyTorch."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, BatchEncoding, PreTrainedConfig, PreTrainedModel

from ..backbones.checkpoints import load_backbones
from ..backbones.image_text import ImageTextBackbone
from ..backbones.registry import get_backbone_class
from ..common.files import parse_json
from ..inference.pipeline import VideoMomentRetrievalPipeline
from ..inference.processing import VideoLightsProcessor
from ..models.outputs import MomentRetrievalOutput
from .export import NOTES_FILE, PREDICTIONS, export_model
from .graphs import SUFFIXES, Graph, load_graph


class ExportedDetector(PreTrainedModel):
    """A detector whose network is a graph. It predicts, on the CPU, and cannot be trained.

    Args:
        config: The detector's configuration.
        graph: Its network.
    """

    config_class = PreTrainedConfig
    main_input_name = "video_features"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: PreTrainedConfig, graph: Graph):
        super().__init__(config)
        self._graph = graph

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of its inputs."""
        return torch.float32

    def forward(
        self,
        video_features: torch.Tensor,
        text_features: torch.Tensor,
        video_attention_mask: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
        audio_features: torch.Tensor | None = None,
    ) -> MomentRetrievalOutput:
        """Find moments and score clips; for the arguments see [`VideoLightsForMomentRetrieval`]."""
        # The masks are inputs of the graph; PyTorch takes None for "all valid".
        inputs = {
            "video_features": video_features,
            "text_features": text_features,
            "video_attention_mask": _mask_of(video_features, video_attention_mask),
            "text_attention_mask": _mask_of(text_features, text_attention_mask),
        }
        if audio_features is not None:
            inputs["audio_features"] = audio_features
        values = self._graph(**inputs)
        return MomentRetrievalOutput(
            logits=values["logits"], pred_spans=values["pred_spans"], saliency_scores=values["saliency_scores"]
        )


def is_exported(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds what `export_model` wrote."""
    return Path(folder, NOTES_FILE).is_file()


def exported_pipeline(
    folder: str | os.PathLike[str], *, threads: int | None = None, batch_size: int | None = None
) -> VideoMomentRetrievalPipeline:
    """The pipeline on the graphs of a folder that `export_model` wrote.

    Args:
        folder: The folder.
        threads: CPU threads of each graph on ONNX Runtime; by default as many as there are cores.
        batch_size: Default of the calls.

    Raises:
        FileNotFoundError: The folder holds no export, or a part of it is missing.
        ValueError: The notes of the export or a graph are damaged.
        ImportError: ONNX Runtime is needed and not installed.
    """
    path = Path(folder)
    files = _read_notes(path)
    try:
        graphs = {
            name: load_graph(file, threads, PREDICTIONS if name == "detector" else ("features",))
            for name, file in files.items()
        }
        processor = VideoLightsProcessor.from_pretrained(path)
        for name in {side.partition("/")[0] for side in graphs} - {"detector"}:
            processor.set_backbone(_exported_backbone(name, path / "backbones" / name, graphs))
        detector = ExportedDetector(AutoConfig.from_pretrained(path), graphs["detector"])
        settings = {} if batch_size is None else {"batch_size": batch_size}
        return VideoMomentRetrievalPipeline(detector, processor, device="cpu", **settings)
    except (OSError, ValueError, ImportError, MemoryError):
        raise
    # What a damaged file raises depends on the libraries below.
    except Exception as error:
        raise ValueError(f"The export {path} cannot be loaded: {error}. Export the model again.") from error


def load_pipeline(
    model: str | os.PathLike[str],
    *,
    backend: Literal["onnx"] | None = None,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    backbone_checkpoints: Mapping[str, str] | None = None,
) -> VideoMomentRetrievalPipeline:
    """The pipeline of a model folder or Hub id, or of a folder of exported graphs.

    Args:
        model: Folder or Hub id.
        backend: `"onnx"` runs the model on ONNX Runtime. What is not exported yet is exported first, to a temporary
            folder: about a minute, which `export_model` saves the next time. By default models run in PyTorch, and
            exported graphs on what they were exported for.
        device: Where to run; graphs run on the CPU alone.
        dtype: Floating-point type; graphs have their own.
        backbone_checkpoints: For some of the model's backbones a folder or Hub id to load it from, in place of the one
            that the model names.

    Raises:
        ValueError: Graphs are asked for on another device, in another type or with other backbones, those of the folder
            are not ONNX, the model is of another kind, or it has no such backbone or one of other widths.
        OSError: There is no such model or backbone.
        ImportError: The packages that write or run graphs are not installed.
    """
    exported = is_exported(model)
    if not exported and backend is None:
        pipeline = VideoMomentRetrievalPipeline.from_pretrained(model, device=device, dtype=dtype)
        for backbone in load_backbones(backbone_checkpoints or {}):
            pipeline.processor.set_backbone(backbone)
        return pipeline
    if backbone_checkpoints:
        raise ValueError(f"Graphs of {model} hold its backbones: export the model with others.")
    if device not in (None, "cpu") or dtype not in (None, torch.float32):
        raise ValueError(f"Graphs of {model} run on the CPU in their own type: leave device and type out.")
    if exported:
        graphs = _read_notes(Path(model))
        if backend is not None and graphs["detector"].suffix != SUFFIXES[backend]:
            raise ValueError(f"{model} holds graphs of another format: export the model to {backend}.")
        return exported_pipeline(model)
    # It lives as long as the pipeline, which loads backbones from it when they are needed.
    folder = tempfile.TemporaryDirectory(prefix="videolights-")
    export_model(model, folder.name)
    pipeline = exported_pipeline(folder.name)
    weakref.finalize(pipeline, folder.cleanup)
    return pipeline


def _read_notes(folder: Path) -> dict[str, Path]:
    """Path of each graph."""
    if not is_exported(folder):
        raise FileNotFoundError(
            f"{folder} holds no export: there is no {NOTES_FILE}. `videolights export MODEL {folder}` writes one."
        )
    try:
        graphs = parse_json((folder / NOTES_FILE).read_text(encoding="utf-8"))["graphs"]
        if "detector" not in graphs:
            raise KeyError("detector")
        return {name: folder / "graphs" / Path(file).name for name, file in graphs.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / NOTES_FILE} is damaged ({type(error).__name__}). Export again.") from error


class _Standing(nn.Module):
    """Stands in for a backbone's weights: it says where and in which type the graphs run."""

    device = torch.device("cpu")
    dtype = torch.float32


class _GraphSides:
    """Mixin of a backbone that runs its image and text sides as graphs."""

    image_graph: Graph
    text_graph: Graph
    folder: Path

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features (B, video_dim) of normalized pixels."""
        return self.image_graph(pixel_values=pixels)["features"]

    def token_features(self, tokens: BatchEncoding) -> torch.Tensor:
        """Features (B, N, text_dim) of tokenized sentences."""
        # SigLIP reads no mask, and so its graph takes none.
        return self.text_graph(**{name: tokens[name] for name in self.text_graph.inputs})["features"]

    def to(self, device: Any = None, dtype: Any = None) -> _GraphSides:
        """The backbone as it is: graphs stay where they are."""
        return self

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Copy the settings; the graphs are saved with the export."""
        shutil.copytree(self.folder, save_directory, dirs_exist_ok=True)


def _exported_backbone(name: str, folder: Path, graphs: dict[str, Graph]) -> ImageTextBackbone:
    backbone_class = cast("type[ImageTextBackbone]", get_backbone_class(name))
    model_class = backbone_class.model_class
    # Its modules tell widths and sizes; without weights they take no memory.
    with torch.device("meta"):
        model = model_class(model_class.config_class.from_pretrained(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    image_processor = backbone_class.load_image_processor(str(folder))
    graph_class: Any = type(f"Exported{backbone_class.__name__}", (_GraphSides, backbone_class), {})
    backbone = graph_class(model, tokenizer, image_processor)
    backbone.model = _Standing()
    backbone.image_graph, backbone.text_graph = graphs[f"{name}/image"], graphs[f"{name}/text"]
    backbone.folder = folder
    return backbone


def _mask_of(features: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return torch.ones(features.shape[:2], dtype=torch.long) if mask is None else mask


__all__ = ["ExportedDetector", "exported_pipeline", "is_exported", "load_pipeline"]
