"""`videolights plot relevance`: clips and words through the stages of detectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .runs import Annotations, Dpi, Outputs, Width, check_outputs, one_path, parse_runs, save_outputs
from .terminal import quiet_transformers

if TYPE_CHECKING:
    import torch

    from videolights_hf.models.detector import DetectorForMomentRetrieval

DEFAULT_STAGES = ("projection", "refinement", "fusion", "encoder")
DEMO = "demo"


def relevance(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]MODEL",
            help="Model folders, of any of the four detectors; demo is the bundled one. They stand side by side.",
        ),
    ],
    output: Outputs,
    data: Annotated[
        str | None,
        typer.Option(metavar="PATH_OR_ID", help="Feature dataset that the query is taken from.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of --data.")] = "val",
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead of --data: a video file.", show_default=False)
    ] = None,
    query: Annotated[
        str | None, typer.Option(metavar="SENTENCE", help="The sentence for --video.", show_default=False)
    ] = None,
    annotations: Annotations = None,
    qid: Annotated[
        str | None,
        typer.Option(help="The query of --data or --annotations. Default: the first.", show_default=False),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeat for several. Default: projection, refinement, fusion and encoder; `text to video` is the first "
            "attention of Bi-CMF (Fig. 5).",
            show_default=False,
        ),
    ] = None,
    width: Width = None,
    dpi: Dpi = 200,
) -> None:
    """Draw how near each clip is to each word after each stage of detectors, with the true saliency (paper, Fig. 1, 3, 5).

    [bold]Examples[/bold]

        videolights plot relevance runs/moment-detr runs/qd-detr runs/videolights --data data/qvh --qid 2579 -o relevance.pdf

        videolights plot relevance demo --video trip.mp4 --query "a red circle" -o relevance.png
    """
    from videolights_hf.demo.bundled import demo_checkpoint
    from videolights_hf.visualization.relevance import check_stages, plot_relevance
    from videolights_hf.visualization.stages import relevance_through_stages

    check_outputs(output)
    check_stages(stage or ())
    if (data is None) == (video is None):
        raise typer.BadParameter("name the query's features by --data, or a file by --video.")
    named = [f"{DEMO}={demo_checkpoint()}" if model == DEMO else model for model in models]
    stages, maps, sample = tuple(stage or DEFAULT_STAGES), {}, None
    with quiet_transformers():
        for name, path in one_path(parse_runs(named)).items():
            model, processor = _load(path)
            if data is not None:
                sample = _from_dataset(model, (processor, path), (data, split), qid)
            else:
                row = _annotation(annotations, qid, video, query)
                sample = _from_video(model, (processor, path), Path(str(video)), row)
            maps[name] = relevance_through_stages(model, sample.inputs, stages)
    assert sample is not None
    # Models with other text encoders may have another number of tokens.
    lengths = {len(one.relevance) for own in maps.values() for one in own}
    words = sample.words if lengths == {len(sample.words)} else []
    figure = plot_relevance(
        maps, sample.duration, query=sample.query, words=words, saliency=sample.saliency, width=width
    )
    save_outputs(figure, output, dpi)


@dataclass(frozen=True)
class _Sample:
    """One video and one sentence as a model takes them."""

    inputs: Mapping[str, torch.Tensor]
    duration: float
    query: str
    words: list[str]
    saliency: Any


def _load(path: str) -> tuple[DetectorForMomentRetrieval, Any]:
    """A model, and its processor if it has one."""
    from videolights_hf.inference.processing import VideoLightsProcessor
    from videolights_hf.training.preparation import load_model

    processor = None
    if Path(path, "processor_config.json").is_file():
        processor = VideoLightsProcessor.from_pretrained(path)
    return load_model(path).eval(), processor


def _from_dataset(
    model: DetectorForMomentRetrieval, origin: tuple[Any, str], table: tuple[str, str], qid: str | None
) -> _Sample:
    from videolights_hf.data import FeatureDataset, VideoLightsDataCollator, load_feature_dataset
    from videolights_hf.visualization.truth import true_saliency

    (processor, folder), (data, split) = origin, table
    dataset = FeatureDataset.from_config(load_feature_dataset(data), split, model.config)
    rows = dataset.annotations
    index = next((i for i, row in enumerate(rows) if qid is None or str(row["qid"]) == qid), None)
    if index is None:
        raise ValueError(f"No query of {split} has the qid {qid}; the first of {len(rows)} has {rows[0]['qid']}.")
    inputs = VideoLightsDataCollator()([dataset[index]])
    row, clip_length = rows[index], model.config.clip_length
    num_clips, num_words = inputs["video_features"].shape[1], inputs["text_features"].shape[1]
    saliency = true_saliency(row, clip_length)
    return _Sample(
        inputs,
        num_clips * clip_length,
        row["query"],
        _words(processor, folder, row["query"], num_words),
        None if saliency is None else saliency[:num_clips],
    )


def _from_video(
    model: DetectorForMomentRetrieval, origin: tuple[Any, str], video: Path, row: Mapping[str, Any]
) -> _Sample:
    from videolights_hf.visualization.truth import true_saliency

    processor, folder = origin
    if processor is None:
        raise ValueError("A video needs the processor beside the model: give a folder that has processor_config.json.")
    features = processor.encode_video(str(video))
    inputs = processor(videos=features, text=row["query"])
    num_clips, num_words = inputs["video_features"].shape[1], inputs["text_features"].shape[1]
    saliency = true_saliency({"duration": features.duration, **row}, model.config.clip_length)
    return _Sample(
        inputs,
        num_clips * model.config.clip_length,
        row["query"],
        _words(processor, folder, row["query"], num_words),
        None if saliency is None else saliency[:num_clips],
    )


def _annotation(annotations: Path | None, qid: str | None, video: Path | None, query: str | None) -> Mapping[str, Any]:
    from videolights_hf.metrics import read_json_lines

    if annotations is None:
        if query is None:
            raise typer.BadParameter("--video needs --query, or --annotations with --qid.")
        return {"query": query}
    vid = Path(str(video)).stem
    rows = [row for row in read_json_lines(annotations) if row.get("vid") == vid]
    rows = [row for row in rows if qid in (None, str(row["qid"])) and query in (None, row.get("query"))]
    if not rows:
        raise ValueError(f"{annotations} has no such query of the video {vid!r}.")
    return rows[0]


def _words(processor: Any, folder: str, query: str, num_words: int) -> list[str]:
    """Names of the words of a sentence, from the text encoder's tokenizer if its folder is there; else none."""
    tokens = _tokens(processor, folder, query)[:num_words]
    if len(tokens) == num_words:
        return tokens
    # Features that were made elsewhere: the words themselves, if there is a token for each.
    words = query.split()
    return words if len(words) == num_words else []


def _tokens(processor: Any, folder: str, query: str) -> list[str]:
    if processor is None:
        return []
    name = processor.text_backbones[0][0]
    # Nothing is downloaded for names of rows. A checkpoint may be named relative to the model's folder.
    checkpoint = processor.backbone_checkpoints.get(name)
    if checkpoint is None or not Path(folder, checkpoint).is_dir():
        return []
    tokenizer = getattr(processor.get_backbone(name), "tokenizer", None)
    if tokenizer is None:
        return []
    special = {tokenizer.bos_token: "[start]", tokenizer.eos_token: "[end]"}
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(query)["input_ids"])
    return [special.get(token, token.replace("</w>", "").strip("▁Ġ")) for token in tokens]
