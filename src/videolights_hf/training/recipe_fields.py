"""The keys that a recipe may have, and the values that fit them."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
import reprlib
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from ..common.messages import did_you_mean, unknown_name

SECTIONS = ("data", "model", "training")
HEADER = {"extends": str, "description": str, "variant": str, "dataset": str, "pretrained": bool}

# YAML 1.1 reads `1e-4` as text, which nobody means.
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list",
          tuple: "a list", dict: "a mapping", type(None): "null"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What a run takes from its feature dataset.

    Args:
        train_split: Name of the training split.
        eval_split: Name of the split that is evaluated while training.
        by_domain: Train and score one model per domain (TVSum, YouTube Highlights).
        text_dropout: Share of a training query's tokens whose features are set to zero.
        windows: See long videos in overlapping windows, in training and evaluation, instead of only their first clips.
    """

    train_split: str = "train"
    eval_split: str = "val"
    by_domain: bool = False
    text_dropout: float = 0.0
    windows: bool = False


def fields_of(section: str) -> dict[str, Any]:
    """Names of the fields of a section, with their types; `object` where a type is unknown."""
    if section == "model":
        from transformers import PreTrainedConfig

        from ..models.families import CONFIGS

        # Of all detectors: the configuration itself refuses a field that its detector does not have.
        known: dict[str, Any] = {}
        for config in CONFIGS.values():
            names = config.__dataclass_fields__.keys() - PreTrainedConfig.__dataclass_fields__.keys()
            known |= _types(config, names)
        return dict(sorted(known.items()))
    if section == "training":
        from .arguments import VideoLightsTrainingArguments

        names = VideoLightsTrainingArguments.__dataclass_fields__.keys() - {"output_dir", "resume_from_checkpoint"}
        return _types(VideoLightsTrainingArguments, names)
    return _types(DataSettings, DataSettings.__dataclass_fields__)


def _types(owner: type, names: Iterable[str]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for ancestor in reversed(owner.__mro__):
        hints |= _annotations(ancestor)
    return {name: hints.get(name, object) for name in sorted(names)}


def _annotations(owner: type) -> dict[str, Any]:
    """The types of the fields that a class itself declares."""
    hints = {}
    for name, hint in vars(owner).get("__annotations__", {}).items():
        if isinstance(hint, str):
            try:
                hint = eval(hint, vars(sys.modules[owner.__module__]))
            except NameError:  # imported for type checkers alone
                hint = object
        hints[name] = hint
    return hints


def is_outbound(field: str) -> bool:
    """Whether a training argument sends something to another machine, which the user alone may turn on."""
    return field == "report_to" or field.startswith(("push_", "hub_", "trackio_"))


def parse_override(override: str) -> tuple[str, str, Any]:
    """Section, key and value of `key=value` or `section.key=value`, checked.

    Raises:
        ValueError: Unknown key, or a value that does not fit it.
    """
    import yaml

    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"{override!r} sets nothing: write key=value.")
    sections = {section: fields_of(section) for section in SECTIONS}
    section, dot, field = key.strip().rpartition(".")
    if dot and section not in sections:
        raise ValueError(unknown_name("section", section, sections))
    if not dot:
        section = next((name for name, fields in sections.items() if field in fields), "")
    if not section or field not in sections[section]:
        _refuse_key(field, sections[section] if section else [name for fields in sections.values() for name in fields])
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{override!r}: the value is not YAML ({one_line(error)}).") from error
    value = plain_value(sections[section][field], value)
    check_value(f"{section}.{field}", sections[section][field], value)
    return section, field, value


def check_keys(where: str, content: Mapping[Any, Any], known: Iterable[str]) -> None:
    """Check that every key is known.

    Raises:
        ValueError: One is not; the nearest known key is named.
    """
    names = list(known)
    for key in content:
        if key not in names:
            _refuse_key(str(key), names, f"{where}: ")


def check_value(where: str, hint: Any, value: Any) -> None:
    """Check that a value is of the kind that a field takes.

    Raises:
        ValueError: It is not.
    """
    if not _fits(hint, value):
        raise ValueError(f"{where} must be {_describe(hint)}, got {reprlib.repr(value)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number, got {value!r}.")


def plain_value(hint: Any, value: Any) -> Any:
    """A value as its author meant it, where YAML reads it differently: `1e-4` is a number, and `no` a strategy's name."""
    if isinstance(value, str) and _FLOAT.fullmatch(value.strip()):
        return float(value)
    if value is False and any(isinstance(kind, type) and issubclass(kind, enum.Enum) for kind in _members(hint)):
        return "no"
    return value


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split())


def _refuse_key(key: str, known: Iterable[str], where: str = "") -> NoReturn:
    # All known keys are too many to help.
    raise ValueError(f"{where}Unknown key {key!r}.{did_you_mean(key, known)}")


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _fits(hint: Any, value: Any) -> bool:
    return any(_fits_one(member, value) for member in _members(hint))


def _fits_one(member: Any, value: Any) -> bool:
    if get_origin(member) is Literal:
        return value in get_args(member)
    kind = get_origin(member) or member
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(kind, type):
        return True
    # Names of an enumeration are checked by the class that has the field.
    return isinstance(value, str if issubclass(kind, enum.Enum) else kind)


def _describe(hint: Any) -> str:
    kinds = []
    for member in _members(hint):
        if get_origin(member) is Literal:
            kinds += [repr(choice) for choice in get_args(member)]
        else:
            kind = get_origin(member) or member
            kinds.append(_KINDS.get(kind, "text"))
    if "a number" in kinds:
        kinds = [kind for kind in kinds if kind != "a whole number"]
    return " or ".join(dict.fromkeys(kinds))
