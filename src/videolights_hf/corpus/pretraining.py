"""From a folder of videos to a synthetic corpus and the dataset that pretraining and finetuning read."""

from __future__ import annotations

import dataclasses
import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..backbones.checkpoints import load_backbones
from ..data.annotations import read_annotations
from ..data.specs import DatasetSpec, get_dataset_spec
from ..extraction.dataset import DatasetTarget, collect_queries, extract_feature_dataset
from ..extraction.settings import ExtractionSettings
from ..extraction.sources import find_videos
from ..extraction.summary import ExtractionSummary
from ..video.reader import VideoSource
from .captioning import Captioner
from .corpus import CorpusSummary, generate_corpus
from .exclusion import LeftOut, candidate_videos, leave_out, read_vids
from .models import DEFAULT_BATCH_SIZE
from .scoring import Scorer, get_scorer_class
from .settings import CorpusSettings

if TYPE_CHECKING:
    from datasets import DatasetDict

PRETRAINING_SPLIT = "pretrain"
TRAINING_SPLIT = "train"
DATASET_FOLDER = "dataset"
FEATURES_FOLDER = "features"


@dataclass(frozen=True)
class PretrainingSources:
    """The videos to caption, and the annotated data that the model will be finetuned and evaluated on.

    Args:
        videos: Folder, pattern or list of videos (`find_videos`).
        annotations: Split name to annotation file. Videos of all splits but `train` are not captioned.
        exclude: Annotation files whose videos are not captioned either.
        dataset: How annotations are read and labeled: a key of `DATASETS`, or a spec.
    """

    videos: str | os.PathLike
    annotations: Mapping[str, str | os.PathLike] = field(default_factory=dict)
    exclude: Sequence[str | os.PathLike] = ()
    dataset: str | DatasetSpec = "custom"


@dataclass(frozen=True)
class CorpusModels:
    """The models that caption and score.

    Args:
        captioner: Folder or Hub id; by default the form's.
        scorer: Folder or Hub id; by default the form's.
        prompt: Text that captions continue; what a chat model is asked. By default the form's, for BLIP and BLIP-2.
        generation: Arguments of `generate`, on top of the form's.
        batch_size: Frames captioned or scored at once.
        compute_dtype: Floating-point type that the models compute in.
    """

    captioner: str | os.PathLike | None = None
    scorer: str | os.PathLike | None = None
    prompt: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = DEFAULT_BATCH_SIZE
    compute_dtype: torch.dtype = torch.float32

    def load(self, corpus: CorpusSettings, device: str | torch.device) -> tuple[Captioner, Scorer]:
        """Load both.

        Raises:
            OSError: One cannot be loaded.
            ValueError: One is of the wrong kind, or an argument of `generate` does not exist.
        """
        rules = corpus.rules
        captioner = Captioner.from_pretrained(
            self.captioner or rules.captioner,
            device,
            self.compute_dtype,
            prompt=self.prompt,
            generation={**rules.generation, **self.generation},
            batch_size=self.batch_size,
        )
        if self.prompt is None and captioner.continues_prompts:
            captioner.prompt = rules.prompt
        scorer = get_scorer_class(rules.scoring).from_pretrained(
            self.scorer or rules.scorer, device, self.compute_dtype, batch_size=self.batch_size
        )
        return captioner, scorer


@dataclass(frozen=True)
class PretrainingData:
    """What was made.

    Attributes:
        corpus: What became of the captioned videos.
        left_out: Videos that were not captioned, because the model will be evaluated on them.
        features: What became of the videos' features; `None` without backbones.
        tables: The dataset, in the main process; `None` in the others, and without backbones.
    """

    corpus: CorpusSummary
    left_out: LeftOut
    features: ExtractionSummary | None = None
    tables: DatasetDict | None = None


def generate_pretraining_data(
    sources: PretrainingSources,
    output_dir: str | os.PathLike,
    corpus: CorpusSettings | None = None,
    models: CorpusModels | None = None,
    settings: ExtractionSettings | None = None,
    *,
    overwrite: bool = False,
    report: Callable[[str], None] = print,
) -> PretrainingData:
    """Caption videos, extract the features of videos and sentences, and gather them in a dataset.

    Videos of every annotated split but `train`, and those of `exclude`, are not captioned. The dataset has the splits
    `pretrain` and those of the annotations. Calling again continues an interrupted run.

    Args:
        sources: Videos and annotations.
        output_dir: Gets the corpus, and in its folders `features` and `dataset` the rest.
        corpus: How videos are cut and looked at; by default as in the release.
        models: The models that caption and score; by default the form's.
        settings: How features are extracted. The backbones are those of `checkpoints`, in this order; without any, the
            corpus alone is written. The clip length is the dataset's by default.
        overwrite: Replace a dataset of another corpus.
        report: Called with lines about what was done, in the main process.

    Raises:
        ValueError: Nothing to learn from; annotations contradict each other; a split is called `pretrain`; see also
            `generate_corpus` and `extract_feature_dataset`.
        OSError: A file or model cannot be read, or the output not be written.
    """
    corpus, models = corpus or CorpusSettings(), models or CorpusModels()
    settings = settings or ExtractionSettings()
    plan = _Plan(sources, settings.clip_length)
    processes = settings.connect()
    settings = dataclasses.replace(settings, clip_length=plan.spec.clip_length, processes=processes)

    def tell(line: str) -> None:
        if processes.is_main:
            report(line)

    tell(f"{len(plan.videos)} videos in {os.fspath(sources.videos)}; {plan.left_out}")
    if not plan.to_caption:
        raise ValueError(f"All {len(plan.videos)} videos are left out: there is nothing to learn from.")
    summary = generate_corpus(plan.to_caption, output_dir, *models.load(corpus, processes.device), corpus, settings)
    for failure in summary.failed:
        tell(f"not captioned: {failure.vid}: {failure.error}")
    tell(f"{summary.path}: {summary}")
    if not summary.num_captions:
        raise ValueError(f"None of {len(plan.to_caption)} videos has a caption.")
    if not settings.checkpoints:
        return PretrainingData(summary, plan.left_out)

    # The backbones need the memory that captioner and scorer held.
    gc.collect()
    torch.cuda.empty_cache()
    target = DatasetTarget(
        folder=Path(output_dir, DATASET_FOLDER),
        annotations={PRETRAINING_SPLIT: summary.path, **sources.annotations},
        dataset={PRETRAINING_SPLIT: corpus.dataset, **dict.fromkeys(sources.annotations, plan.spec)},
        overwrite=overwrite,
    )
    backbones = load_backbones(settings.checkpoints, processes.device, models.compute_dtype)
    tables, features = extract_feature_dataset(
        target, plan.videos, Path(output_dir, FEATURES_FOLDER), backbones, settings
    )
    tell(f"Features: {features}")
    if tables is not None:
        tell(f"{target.folder}: " + ", ".join(f"{len(table)} {name}" for name, table in tables.items()))
    return PretrainingData(summary, plan.left_out, features, tables)


class _Plan:
    """Which videos are captioned and which are encoded; finds faults in the sources before the long work."""

    def __init__(self, sources: PretrainingSources, clip_length: float | None):
        if PRETRAINING_SPLIT in sources.annotations:
            raise ValueError(f"The split {PRETRAINING_SPLIT!r} is made here: give the annotated one another name.")
        self.spec = get_dataset_spec(sources.dataset)
        if clip_length is not None:
            self.spec = dataclasses.replace(self.spec, clip_length=float(clip_length))
        rows = {split: read_annotations(path, self.spec) for split, path in sources.annotations.items()}
        collect_queries(rows)
        excluded = {vid for path in sources.exclude for vid in read_vids(path)}
        excluded |= {row["vid"] for split, members in rows.items() if split != TRAINING_SPLIT for row in members}
        wanted = {row["vid"] for members in rows.values() for row in members}
        annotated = find_videos(sources.videos, wanted) if wanted else {}
        self.videos: dict[str, VideoSource] = candidate_videos(find_videos(sources.videos), annotated)
        self.left_out: LeftOut
        self.to_caption, self.left_out = leave_out(self.videos, excluded)
