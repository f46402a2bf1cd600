"""The published runs as YAML files, and settings changed on top of them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..common.files import write_text
from ..common.messages import unknown_name
from .fetching import local_checkpoint
from .recipe_fields import (
    HEADER,
    SECTIONS,
    DataSettings,
    check_keys,
    check_value,
    fields_of,
    is_outbound,
    one_line,
    parse_override,
    plain_value,
)

if TYPE_CHECKING:
    from ..models.configuration import DetectorConfig
    from .arguments import VideoLightsTrainingArguments

RECIPE_FILE = "recipe.yaml"

_FOLDER = Path(str(files(__package__) / "recipes"))


@dataclass(frozen=True)
class Recipe:
    """A run: which model on which data, trained how.

    Args:
        name: Path of the file below the packaged recipes, without its extension, or of the user's own file.
        description: One sentence.
        variant: Which detector, with which features: a name in the `variants` of a configuration class.
        dataset: Settings of the dataset, see `DetectorConfig.from_preset`.
        pretrained: Whether the run starts from a pretrained checkpoint.
        data: What the run takes from its feature dataset.
        model: Fields of the detector's configuration that differ from the preset's.
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

    def model_config(self, **overrides: Any) -> DetectorConfig:
        """The model's configuration, with `overrides` on top of the recipe's fields.

        Raises:
            ValueError: The configuration refuses a value.
        """
        from huggingface_hub.errors import StrictDataclassError

        from ..models.families import config_from_preset

        try:
            return config_from_preset(self.variant, self.dataset, **{**self.model, **overrides})
        except (StrictDataclassError, TypeError, AttributeError) as error:
            raise ValueError(f"Recipe {self.name}, model: {one_line(error)}") from error

    def training_arguments(self, output_dir: str | Path, **overrides: Any) -> VideoLightsTrainingArguments:
        """The arguments of the trainer, with `overrides` on top of the recipe's.

        Raises:
            ValueError: The arguments refuse a value.
        """
        from .arguments import VideoLightsTrainingArguments

        try:
            return VideoLightsTrainingArguments(output_dir=str(output_dir), **{**self.training, **overrides})
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"Recipe {self.name}, training: {one_line(error)}") from error


def list_recipes() -> list[str]:
    """Names of the packaged recipes, such as `"qvhighlights/videolights-b"`."""
    names = (path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.yaml"))
    return sorted(name for name in names if not name.startswith("_"))


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: A packaged recipe (see `list_recipes`), or the path of your own YAML file. In such a file, `extends`
            names the recipe that it starts from; the sections `data`, `model` and `training` hold fields of
            `DataSettings`, the detector's configuration and `VideoLightsTrainingArguments`.
        overrides: Settings on top, as `"key=value"` with a field of one of the sections and a value in YAML, such as
            `"learning_rate=2e-4"`. The section may be named, as in `"training.learning_rate=2e-4"`.

    Raises:
        ValueError: Unknown recipe or key (the message gives the nearest one), a value of the wrong kind, an override
            without `=`, or a file that is not a recipe.
        OSError: The file cannot be read.
    """
    content = _read(str(name))
    for override in overrides:
        section, key, value = parse_override(override)
        content[section][key] = value
    return Recipe(
        name=str(name),
        description=content.get("description", ""),
        variant=content.get("variant", "videolights-b"),
        dataset=content.get("dataset", "qvhighlights"),
        pretrained=content.get("pretrained", False),
        data=DataSettings(**content["data"]),
        model=content["model"],
        training=content["training"],
    )


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe with all that it inherited and that was set on top; `load_recipe` reads it.

    What sends something to another machine is left out: whoever repeats the run decides that.
    """
    content = {key: value for key, value in asdict(recipe).items() if key != "name"}
    content["training"] = {key: value for key, value in recipe.training.items() if not is_outbound(key)}
    write_text(path, f"# From {recipe.name}\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}")


def recipe_of_checkpoint(checkpoint: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a checkpoint was trained with.

    Args:
        checkpoint: The output folder of a training run, a checkpoint in it, or the id of a trained model on the Hub.
        overrides: Settings on top, see `load_recipe`.

    Raises:
        FileNotFoundError: There is no such checkpoint, or it was saved without a recipe.
    """
    folder = local_checkpoint(checkpoint)
    candidates = [folder / RECIPE_FILE, folder.parent / RECIPE_FILE, *sorted(folder.glob(f"*/{RECIPE_FILE}"))]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{checkpoint} has no {RECIPE_FILE}: name the recipe to evaluate it with.")
    return load_recipe(str(found), overrides)


def _read(name: str, extending: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a recipe, with what it extends filled in; every section is there."""
    if name in extending:
        raise ValueError(f"Recipes extend each other in a circle: {' -> '.join((*extending, name))}.")
    path = _find(name)
    content = _read_yaml(path)
    check_keys(str(path), content, (*HEADER, *SECTIONS))
    for key in HEADER.keys() & content.keys():
        check_value(f"{path}: {key}", HEADER[key], content[key])
    for section in SECTIONS:
        content[section] = _read_section(path, section, content.get(section) or {})
    parent = content.pop("extends", None)
    if parent is None:
        return content
    inherited = _read(parent, (*extending, name))
    return {**inherited, **content} | {section: inherited[section] | content[section] for section in SECTIONS}


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise FileNotFoundError(f"There is no recipe file {name}.")
        return path
    if name != "_base" and name not in list_recipes():
        raise ValueError(unknown_name("recipe", name, list_recipes()))
    return _FOLDER / f"{name}.yaml"


def _read_yaml(path: Path) -> dict[Any, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a recipe: a mapping with {', '.join((*HEADER, *SECTIONS))} is needed.")
    return content


def _read_section(path: Path, section: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{path}: `{section}` must hold `key: value` lines, got {reprlib.repr(content)}.")
    known = fields_of(section)
    check_keys(str(path), content, known)
    values = {key: plain_value(known[key], value) for key, value in content.items()}
    for key, value in values.items():
        check_value(f"{path}: {section}.{key}", known[key], value)
        if section == "training" and is_outbound(key):
            raise ValueError(
                f"{path}: `{key}` sends data to another machine, which a recipe file cannot turn on. Remove it; set it "
                "on top of the recipe if you want it."
            )
    return values
