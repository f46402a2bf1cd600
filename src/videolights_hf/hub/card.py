"""Model cards from recorded facts: what is not known is left out, and nothing is made up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from .card_template import FEATURES_EXAMPLE, TEMPLATE, VIDEO_EXAMPLE

TASK = "video-moment-retrieval"
PAPER = "https://arxiv.org/abs/2412.01558"

_TITLES = {
    "qvhighlights": "QVHighlights",
    "charades_sta": "Charades-STA",
    "tacos": "TACoS",
    "tvsum": "TVSum",
    "youtube_highlights": "YouTube Highlights",
}
_DATA_LICENSES = {"qvhighlights": "CC BY-NC-SA 4.0"}
_PROTOCOLS = {
    "qvhighlights": "moments clamped to 0-150 s and rounded to clips; highlights at rating Very Good (4)",
    "charades_sta": "moments clamped to 0-150 s and rounded to clips",
    "tvsum": "top-5 mAP per domain",
    "youtube_highlights": "mAP per domain",
}


@dataclass(frozen=True)
class ReportedMetric:
    """One number of an evaluation.

    Attributes:
        name: The metric's name in the evaluation's details, such as `MR-full-R1@0.7`.
        value: In percent, or seconds per query for times.
    """

    name: str
    value: float


# What JSON gives for the fields of a record, by the first word of their types.
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "Mapping": (dict,),
    "Sequence": (list, tuple),
}


@dataclass(frozen=True)
class TrainingRecord:
    """What happened in a training run; `None` and empty fields are not known.

    Attributes:
        dataset: Key of the dataset, such as `qvhighlights`.
        train_split: Name of the training split.
        eval_split: Name of the split that `metrics` come from; training chose the checkpoint on it.
        num_train_queries: Queries of the training split.
        num_eval_queries: Queries of the evaluation split.
        domain: The one domain that was trained on (TVSum, YouTube Highlights).
        recipe: Name of the recipe.
        changed_settings: What was set differently from the recipe.
        initialized_from: Checkpoint that training started from.
        backbone_revisions: For backbones of the Hub the commit that was in the cache of the machine.
        seed: Seed of weights, order, dropout and label draws.
        seconds: Duration of the run.
        hardware: What it ran on.
        versions: Versions of the libraries, by name.
        date: Day on which the run ended, `YYYY-MM-DD`.
        metrics: Headline metrics of the saved checkpoint.
        details_file: File beside the weights that holds every metric.
        limits: Further limits of the model.
        source: Who reported the metrics, where that is not this run.
        code_license: License of the code that trained it, where that is not this package.
        protocol: How the metrics were measured; by default that of the dataset's benchmark.
        origin: Where the weights come from, in Markdown, where that is not this run.
    """

    dataset: str | None = None
    train_split: str | None = None
    eval_split: str | None = None
    num_train_queries: int | None = None
    num_eval_queries: int | None = None
    domain: str | None = None
    recipe: str | None = None
    changed_settings: Mapping[str, Any] = field(default_factory=dict)
    initialized_from: str | None = None
    backbone_revisions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    seconds: float | None = None
    hardware: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str | None = None
    metrics: Sequence[ReportedMetric] = ()
    details_file: str | None = None
    limits: Sequence[str] = ()
    source: str | None = None
    code_license: str | None = None
    protocol: str | None = None
    origin: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` reads them."""
        content = {name: value for name, value in asdict(self).items() if value not in (None, {}, (), [])}
        content["metrics"] = [asdict(metric) for metric in self.metrics]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrainingRecord:
        """The record that `to_dict` wrote.

        Raises:
            ValueError: The content is not one.
        """
        try:
            types = {known.name: str(known.type).split("[")[0].split()[0] for known in fields(cls)}
            for name, value in content.items():
                kinds = _KINDS[types[name]]
                if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                    raise TypeError(f"{name!r} is {value!r}")
            metrics = tuple(ReportedMetric(str(row["name"]), float(row["value"])) for row in content["metrics"])
            if not all(math.isfinite(metric.value) for metric in metrics):
                raise ValueError("a metric is no finite number")
            return cls(**{**content, "metrics": metrics, "limits": tuple(content.get("limits") or ())})
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"Not a training record ({type(error).__name__}: {error}).") from error


@dataclass(frozen=True)
class CardSettings:
    """What only the owner of a model can say in its card.

    Attributes:
        weights_license: License of the weights, an identifier of the Hub; `None`: none has been named.
        tags: Tags beside those that every card has.
        benchmark_id: Id of the benchmark's dataset on the Hub, to which results are reported in `.eval_results`.
    """

    weights_license: str | None = None
    tags: Sequence[str] = ()
    benchmark_id: str | None = None


def make_model_card(
    config: Any,
    repo_id: str,
    *,
    record: TrainingRecord | None = None,
    backbone_checkpoints: Mapping[str, str] | None = None,
    settings: CardSettings | None = None,
    example: str | None = None,
) -> ModelCard:
    """Card of a model.

    Args:
        config: The model's configuration.
        repo_id: Where the model is, for the code example: a Hub repository, or a folder.
        record: How it was trained and what it reached, as far as that is known.
        backbone_checkpoints: For each backbone the checkpoint that computed the features.
        settings: What only the model's owner can say.
        example: A program that uses the model; by default one that loads it from `repo_id`.
    """
    record = record or TrainingRecord()
    settings = settings or CardSettings()
    name = repo_id.rstrip("/").rpartition("/")[2]
    dataset = _TITLES.get(record.dataset or "", record.dataset)
    return ModelCard.from_template(
        _card_data(config, name, record, settings),
        template_str=TEMPLATE,
        title=name,
        task=TASK,
        repo_id=repo_id,
        summary=_summary(config, dataset, record),
        properties=_properties(config, backbone_checkpoints or {}, record.backbone_revisions),
        example=example or _example(config, repo_id, backbone_checkpoints),
        training=_training_lines(record, dataset),
        changed=sorted(record.changed_settings.items()),
        results=record.metrics,
        results_heading=_results_heading(record, dataset),
        details=record.details_file,
        limits=[*_limits(config, dataset), *record.limits],
        licenses=_licenses(record, settings),
    )


def load_or_make_model_card(
    config: Any,
    repo_id: str,
    *,
    backbone_checkpoints: Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
    token: str | None = None,
) -> ModelCard:
    """The card that a repository has, with more tags; or a new one, as `make_model_card` makes it."""
    try:
        card = ModelCard.load(repo_id, token=token)
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError):
        settings = CardSettings(tags=tags)
        return make_model_card(config, repo_id, backbone_checkpoints=backbone_checkpoints, settings=settings)
    card.data.tags = list(dict.fromkeys([*(card.data.tags or []), *tags]))
    return card


def _card_data(config: Any, name: str, record: TrainingRecord, settings: CardSettings) -> ModelCardData:
    dataset = record.dataset or "unknown"
    results = [
        EvalResult(
            task_type=TASK,
            task_name="Moment retrieval and highlight detection",
            dataset_type=dataset,
            dataset_name=_TITLES.get(dataset, dataset),
            dataset_split=record.eval_split,
            metric_type=metric.name,
            metric_name=metric.name,
            # numpy's numbers would be written as Python objects.
            metric_value=float(metric.value),
        )
        for metric in record.metrics
    ]
    tags = ["video", "moment-retrieval", "highlight-detection", "temporal-grounding", config.model_type]
    return ModelCardData(
        model_name=name,
        library_name="transformers",
        license=settings.weights_license,
        language="en",
        tags=list(dict.fromkeys([*tags, *settings.tags])),
        datasets=[settings.benchmark_id] if settings.benchmark_id else None,
        eval_results=results or None,
    )


# The detectors that VideoLights is compared with; FRA before them is VideoLights'.
_DETECTORS = {
    "moment_detr": "[Moment-DETR](https://arxiv.org/abs/2107.09609)",
    "qd_detr": "[QD-DETR](https://arxiv.org/abs/2303.13874)",
    "tr_detr": "[TR-DETR](https://arxiv.org/abs/2401.02309)",
}


def _summary(config: Any, dataset: str | None, record: TrainingRecord) -> str:
    task = "scores every clip of it as a highlight"
    if not config.highlight_only:
        task = f"finds the moments that the sentence describes and {task}"
    where = f" It was trained on {dataset}{f' ({record.domain})' if record.domain else ''}." if dataset else ""
    detector = _DETECTORS.get(config.model_type, f"[VideoLights]({PAPER})")
    return f"Given a video and a sentence, this model {task} ({detector}).{where}"


def describe_checkpoint(checkpoint: str, revision: str | None) -> str:
    """A checkpoint in Markdown, with the beginning of its commit if that is known."""
    return f"`{checkpoint}`" + (f", revision `{revision[:12]}`" if revision else "")


def _properties(config: Any, checkpoints: Mapping[str, str], revisions: Mapping[str, str]) -> list[tuple[str, str]]:
    def described(name: str, width: int) -> str:
        known = [describe_checkpoint(checkpoints[name], revisions.get(name))] if name in checkpoints else []
        return f"{name} ({', '.join([f'{width} wide', *known])})"

    def listed(backbones: Sequence[Sequence[Any]]) -> str:
        return ", ".join(described(name, width) for name, width in backbones)

    rows = [
        ("architecture", f"`{config.model_type}`"),
        ("video features", listed(config.video_backbones)),
        ("text features", listed(config.text_backbones)),
        ("clip length", f"{config.clip_length:g} s"),
        ("clips at once", f"{config.max_video_length} ({config.max_video_length * config.clip_length:g} s)"),
    ]
    return rows + ([("audio features", f"{config.audio_dim} wide, precomputed")] if config.audio_dim else [])


def _example(config: Any, repo_id: str, checkpoints: Mapping[str, str] | None) -> str:
    """A program that runs as it stands with what the repository holds."""
    used = {name for name, _ in [*config.video_backbones, *config.text_backbones]}
    if checkpoints is not None and used <= checkpoints.keys() and not config.audio_dim:
        return VIDEO_EXAMPLE.format(task=TASK, repo_id=repo_id)
    features = {"video_features": config.video_dim, "text_features": config.text_dim}
    if config.audio_dim:
        features["audio_features"] = config.audio_dim
    lengths = {"text_features": 8}
    arguments = "".join(
        f"\n    {name}=torch.randn(1, {lengths.get(name, config.max_video_length)}, {width}),"
        for name, width in features.items()
    )
    return FEATURES_EXAMPLE.format(repo_id=repo_id, arguments=arguments)


def _training_lines(record: TrainingRecord, dataset: str | None) -> list[str]:
    def split(name: str | None, count: int | None) -> str | None:
        return f"`{name}`" + (f" ({count:,} queries)" if count else "") if name else None

    train_split = split(record.train_split, record.num_train_queries)
    rows = [
        ("Weights", record.origin),
        ("Data", f"{dataset}, split {train_split}" if dataset and train_split else dataset),
        ("Domain", record.domain),
        ("Evaluated on", split(record.eval_split, record.num_eval_queries)),
        ("Recipe", f"`{record.recipe}`" if record.recipe else None),
        ("Started from", f"`{record.initialized_from}`" if record.initialized_from else None),
        ("Seed", record.seed),
        ("Hardware", record.hardware),
        ("Time", _duration(record.seconds) if record.seconds else None),
        ("Date", record.date),
        ("Versions", ", ".join(f"{name} {version}" for name, version in record.versions.items()) or None),
    ]
    return [f"{name}: {value}" for name, value in rows if value is not None]


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _results_heading(record: TrainingRecord, dataset: str | None) -> str:
    where = f" on {dataset}" if dataset else ""
    split = f", split `{record.eval_split}`" if record.eval_split else ""
    protocol = record.protocol or _PROTOCOLS.get(record.dataset or "")
    source = f" As reported by {record.source}; not measured again." if record.source else ""
    return f"Percent{where}{split}{f' ({protocol})' if protocol else ''}.{source}"


def _limits(config: Any, dataset: str | None) -> list[str]:
    seconds = config.max_video_length * config.clip_length
    limits = [
        f"The model sees {seconds:g} s at once; longer videos are searched in overlapping windows, and a sentence about "
        "relations across windows is not understood.",
        "It knows what its frozen features carry: what can be seen in single frames or short clips"
        + (", and the audio features it was given." if config.audio_dim else "; it hears nothing."),
        "The backbones bring their own biases.",
    ]
    if dataset:
        limits.append(f"It was measured on {dataset} alone; expect less on other subjects and styles of video.")
    if config.highlight_only:
        limits.append("It was trained for highlights alone and predicts no moments.")
    return limits


def _licenses(record: TrainingRecord, settings: CardSettings) -> list[tuple[str, str]]:
    rows = [
        ("Code", "Apache-2.0"),
        ("Weights", settings.weights_license or "no license has been named for these weights"),
    ]
    if record.code_license:
        rows.insert(1, ("The authors' code, which trained it", record.code_license))
    if record.dataset in _TITLES:
        data = _DATA_LICENSES.get(record.dataset, "see its authors' page")
        rows.append((f"Training data ({_TITLES[record.dataset]} annotations)", data))
    return rows


__all__ = [
    "CardSettings",
    "ReportedMetric",
    "TrainingRecord",
    "describe_checkpoint",
    "load_or_make_model_card",
    "make_model_card",
]
