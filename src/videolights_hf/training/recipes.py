"""The published runs as YAML files, and settings changed on top of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..common.messages import unknown_name

if TYPE_CHECKING:
    from ..models.videolights.configuration import VideoLightsConfig
    from .arguments import VideoLightsTrainingArguments

_FOLDER = Path(str(files(__package__) / "recipes"))
_SECTIONS = ("data", "model", "training")
_HEADER = ("extends", "description", "variant", "dataset", "pretrained")
# YAML 1.1 takes `1e-4` for text; nobody who writes it means that.
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What a run takes of its feature dataset.

    Args:
        train_split: Name of the training split.
        eval_split: Name of the split that is evaluated while training.
        by_domain: Train and score a model for each domain (TVSum, YouTube Highlights).
        text_dropout: Share of a training query's tokens whose features are set to zero.
    """

    train_split: str = "train"
    eval_split: str = "val"
    by_domain: bool = False
    text_dropout: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A run: what model on which data, trained how.

    Args:
        name: Path of the file below the packaged recipes, without ending, or of the user's own.
        description: One sentence.
        variant: Features and defaults of the model, see `VideoLightsConfig.from_preset`.
        dataset: Settings of the dataset, see `VideoLightsConfig.from_preset`.
        pretrained: Whether the run starts from a pretrained checkpoint.
        data: What the run takes of its feature dataset.
        model: Fields of `VideoLightsConfig` that differ from the preset's.
        training: Fields of `VideoLightsTrainingArguments` that differ from the defaults.
    """

    name: str
    description: str
    variant: str
    dataset: str
    pretrained: bool
    data: DataSettings
    model: Mapping[str, Any]
    training: Mapping[str, Any]

    def model_config(self, **overrides: Any) -> VideoLightsConfig:
        """The model's configuration; `overrides` are set on top of the recipe's fields."""
        from ..models.videolights.configuration import VideoLightsConfig

        return VideoLightsConfig.from_preset(self.variant, self.dataset, **{**self.model, **overrides})

    def training_arguments(self, output_dir: str | Path, **overrides: Any) -> VideoLightsTrainingArguments:
        """The arguments of the trainer; `overrides` are set on top of the recipe's."""
        from .arguments import VideoLightsTrainingArguments

        return VideoLightsTrainingArguments(output_dir=str(output_dir), **{**self.training, **overrides})


def list_recipes() -> list[str]:
    """Names of the packaged recipes, such as `"qvhighlights/videolights-b"`."""
    names = (path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith("_"))


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: A packaged recipe (see `list_recipes`), or the path of a YAML file of one's own. In such a file,
            `extends` names the recipe that it starts from; the sections `data`, `model` and `training` hold fields of
            `DataSettings`, `VideoLightsConfig` and `VideoLightsTrainingArguments`.
        overrides: Settings on top, as `"key=value"` with a field of one of the sections and a value in YAML, such as
            `"learning_rate=2e-4"`; the section may be named, as in `"training.learning_rate=2e-4"`.

    Raises:
        ValueError: For a recipe or key that does not exist (with the nearest one that does), a value of the wrong
            kind, an override without `=`, or a file that is not a recipe.
        FileNotFoundError: If there is no such file.
    """
    content = _read(str(name))
    for override in overrides:
        section, key, value = _parse_override(override)
        _check_value(f"{section}.{key}", _fields_of(section)[key], value)
        content.setdefault(section, {})[key] = value
    return Recipe(
        name=str(name),
        description=content.get("description", ""),
        variant=content.get("variant", "videolights-b"),
        dataset=content.get("dataset", "qvhighlights"),
        pretrained=content.get("pretrained", False),
        data=DataSettings(**content.get("data", {})),
        model=content.get("model", {}),
        training=content.get("training", {}),
    )


def _read(name: str, extending: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a recipe, with what it extends filled in."""
    if name in extending:
        raise ValueError(f"Recipes extend each other in a circle: {' -> '.join((*extending, name))}.")
    path = _find(name)
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a recipe: a mapping with {', '.join((*_HEADER, *_SECTIONS))} is needed.")
    _check_keys(path, content, (*_HEADER, *_SECTIONS))
    for section in _SECTIONS:
        fields = content.setdefault(section, {})
        if not isinstance(fields, dict):
            raise ValueError(f"{path}: `{section}` must hold `key: value` lines, got {fields!r}.")
        _check_keys(path, fields, _fields_of(section))
        content[section] = {key: _number(value) for key, value in fields.items()}
        for key, value in content[section].items():
            _check_value(f"{path}: {section}.{key}", _fields_of(section)[key], value)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    inherited = _read(parent, (*extending, name))
    return {**inherited, **content} | {section: inherited[section] | content[section] for section in _SECTIONS}


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise FileNotFoundError(f"There is no recipe file {name}.")
        return path
    if name != "_base" and name not in list_recipes():
        raise ValueError(unknown_name("recipe", name, list_recipes()))
    return _FOLDER / f"{name}.yaml"


def _check_keys(path: Path, content: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in content:
        if key not in known:
            raise ValueError(f"{path}: {_unknown_key(str(key), known)}")


def _unknown_key(key: str, known: Iterable[str]) -> str:
    # The message for a name that does not exist lists all that do; here these are too many to help.
    return unknown_name("key", key, known).split(" Known: ")[0]


def _fields_of(section: str) -> dict[str, Any]:
    """Names of the fields of a section, with their defaults."""
    if section == "model":
        from transformers import PreTrainedConfig

        from ..models.videolights.configuration import VideoLightsConfig

        own = set(VideoLightsConfig.__dataclass_fields__) - set(PreTrainedConfig.__dataclass_fields__)
        return {name: getattr(VideoLightsConfig, name, None) for name in sorted(own)}
    if section == "training":
        from .arguments import VideoLightsTrainingArguments

        kept_apart = {"output_dir", "resume_from_checkpoint"}
        fields = dataclasses.fields(VideoLightsTrainingArguments)
        return {field.name: field.default for field in fields if field.name not in kept_apart}
    return {field.name: field.default for field in dataclasses.fields(DataSettings)}


def _parse_override(override: str) -> tuple[str, str, Any]:
    """Section, key and value of `key=value`."""
    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"{override!r} sets nothing: write key=value.")
    sections = {section: _fields_of(section) for section in _SECTIONS}
    section, dot, field = key.strip().rpartition(".")
    if dot:
        if section not in sections:
            raise ValueError(unknown_name("section", section, sections))
        if field not in sections[section]:
            raise ValueError(_unknown_key(field, sections[section]))
    else:
        section = next((name for name, fields in sections.items() if field in fields), "")
        if not section:
            raise ValueError(_unknown_key(field, [name for fields in sections.values() for name in fields]))
    try:
        return section, field, _number(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"{override!r}: the value is not YAML ({error}).") from error


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _FLOAT.fullmatch(value.strip()) else value


def _check_value(where: str, default: Any, value: Any) -> None:
    """A number stays a number and a switch a switch; everything else is checked by the class that takes it."""
    if isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, (int, float)):
        fits, wanted = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
    else:
        return
    if not fits:
        raise ValueError(f"{where} must be {wanted}, got {value!r}.")
